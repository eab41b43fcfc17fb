import CSIMD
import MMQBase

/// What the rounding of earlier weights does to what goes into a product, and to what its outputs
/// are added to. A part of it is made up for before the product's own weights are rounded: with x the
/// inputs as they are and d what they lack to be those of the model that is not rounded, W d is what
/// the outputs lack, and W (sum d x^T) H^-1 what predicts it from x by least squares, H being the
/// damped moments of x (GPTAQ, Li et al., ICML 2025, which takes all of it, undamped). Where
/// outputs are added to the residual stream, what that lacks is predicted likewise.
///
/// All of it would fit errors that calibration has and other text has not: half of it leaves less
/// (docs/fidelity.md).
final class InputChange {
    /// What part is made up for.
    private let part: Float
    /// [inputs, inputs]: sum of w x d^T.
    private let inputs: CrossMoments
    /// [inputs, outputs]: the same of the stream.
    private let stream: CrossMoments?

    /// - Parameters:
    ///   - inputs: of the products.
    ///   - outputs: of the product that adds to the residual stream, if it does.
    ///   - part: of the change that is made up for.
    init(inputs: Int, outputs: Int?, part: Float) {
        self.part = part
        self.inputs = CrossMoments(inputs: inputs, changes: inputs)
        stream = outputs.map { CrossMoments(inputs: inputs, changes: $0) }
    }

    /// Bytes that changes of so many inputs take where so many outputs are added to the stream.
    static func bytes(inputs: Int, outputs: Int) -> Int { inputs * (inputs + outputs) * 4 }

    /// Bytes that adding rows takes besides.
    static func scratch(inputs: Int, outputs: Int) -> Int {
        CrossMoments.scratch(inputs: inputs, changes: max(inputs, outputs))
    }

    /// Rows that go in, as they are and as they would be.
    func add(_ x: Rows, exact: Rows, weight: (Int) -> Float) {
        inputs.add(x, from: x, to: exact, weight: weight)
    }

    /// Rows of the stream that outputs of `x` are added to, as they are and as they would be.
    func addStream(_ x: Rows, from stream: Rows, to exact: Rows, weight: (Int) -> Float) {
        self.stream?.add(x, from: stream, to: exact, weight: weight)
    }

    /// Adds to weights [rows, inputs] what makes up for the change.
    func correct(_ weights: FloatBuffer, rows: Int, by moments: SplitMoments) {
        let n = moments.inputs
        let added = FloatBuffer(count: rows * n)
        defer { withExtendedLifetime(added) {} }
        var matrix = csimd_matrix(
            type: CSIMD_F32, data: inputs.sums.pointer, rows: n, cols: n)
        var input = csimd_input(
            x: weights.pointer, tokens: rows, cols: n, stride: n, integers: CSIMD_INT8,
            quantized: nil)
        csimd_matmul(&matrix, nil, &input, added.pointer, n)
        for row in 0..<rows {
            let target = added.pointer + row * n
            if let stream {
                for i in 0..<n { target[i] += stream.sums.pointer[i * rows + row] }
            }
            for i in 0..<n { target[i] *= part }
        }
        moments.solve(added, rows: rows)
        csimd_add(weights.pointer, added.pointer, rows * n)
    }
}

/// The sum of w x d^T over rows x [inputs] and what other rows lack, d [changes], in f32.
private final class CrossMoments {
    private let inputs: Int, changes: Int
    /// [inputs, changes].
    let sums: FloatBuffer

    /// Rows that are multiplied at a time, and inputs.
    private static let depth = 512, tile = 128

    init(inputs: Int, changes: Int) {
        (self.inputs, self.changes) = (inputs, changes)
        sums = FloatBuffer(count: inputs * changes)
        sums.pointer.update(repeating: 0, count: sums.count)
    }

    static func scratch(inputs: Int, changes: Int) -> Int {
        ((inputs + changes) * depth + tile * changes) * 4
    }

    /// d = exact - now.
    func add(_ x: Rows, from now: Rows, to exact: Rows, weight: (Int) -> Float) {
        precondition(x.width == inputs && now.width == changes && exact.width == changes)
        let columns = FloatBuffer(count: inputs * Self.depth)
        let lacks = FloatBuffer(count: changes * Self.depth)
        let products = FloatBuffer(count: Self.tile * changes)
        defer { withExtendedLifetime((columns, lacks, products)) {} }
        for first in stride(from: 0, to: x.count, by: Self.depth) {
            let depth = min(Self.depth, x.count - first)
            for row in 0..<depth {
                let factor = weight(first + row), x = x[first + row]
                let now = now[first + row], exact = exact[first + row]
                for i in 0..<inputs { columns.pointer[i * depth + row] = factor * x[i] }
                for i in 0..<changes { lacks.pointer[i * depth + row] = exact[i] - now[i] }
            }
            var matrix = csimd_matrix(
                type: CSIMD_F32, data: lacks.pointer, rows: changes, cols: depth)
            for tile in stride(from: 0, to: inputs, by: Self.tile) {
                let count = min(Self.tile, inputs - tile)
                var input = csimd_input(
                    x: columns.pointer + tile * depth, tokens: count, cols: depth, stride: depth,
                    integers: CSIMD_INT8, quantized: nil)
                csimd_matmul(&matrix, nil, &input, products.pointer, changes)
                csimd_add(sums.pointer + tile * changes, products.pointer, count * changes)
            }
        }
    }
}
