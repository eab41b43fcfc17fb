import CSIMD
import MMQBase

extension WeightRounding {
    /// Seconds that a layer takes, from a trial of each of its parts on small matrices, which takes
    /// some tenths of a second. Large moments lie in memory where the trial's lie in a cache: expect
    /// this to be short by a part.
    public func secondsALayer() throws -> Double {
        guard let layer = decoder.layers.first else { return 0 }
        let trial = try RoundingTrial()
        let (attention, mlp) = (layer.attention, layer.mlp)
        let tokens = Double(positions)
        var seconds = 0.0
        for first in [attention.query, attention.output, mlp.gate, mlp.down] {
            let n = Double(first.inputs)
            seconds += trial.moments * tokens * n * n + trial.splitting * n * n * n
        }
        var passes: [String: Double] = [:]
        // Once for the moments of `down`, once for the next layer.
        for twice in [mlp.gate, mlp.up] { passes[twice.name ?? ""] = 2 }
        for product in layer.products {
            guard let type = types[product.name ?? ""]?.kernelType else { continue }
            let weights = Double(product.inputs * product.outputs)
            let cost = try trial.cost(of: type)
            seconds +=
                weights
                * (cost.rounding + tokens * (passes[product.name ?? ""] ?? 1) * cost.product)
            if RoundedMatrix.takes(type) {
                seconds += weights * Double(product.inputs) / 2 * trial.carrying
            }
        }
        return seconds
    }
}

/// What the parts of rounding take here, in seconds.
private final class RoundingTrial {
    /// Of a token's moments, for each pair of inputs.
    let moments: Double
    /// Of n x n moments, over n^3.
    let splitting: Double
    /// Of an error that is carried to one later column of its row.
    let carrying: Double
    private let split: SplitMoments
    private let values: FloatBuffer
    private var costs: [UInt32: (rounding: Double, product: Double)] = [:]

    private static let side = 1024, rows = 64

    init() throws {
        let side = Self.side
        values = FloatBuffer(count: side * side)
        var state: UInt32 = 1
        for i in 0..<values.count {
            state = state &* 1_664_525 &+ 1_013_904_223
            values.pointer[i] = Float(state >> 8) / Float(1 << 24) - 0.5
        }
        let second = SecondMoments(inputs: side)
        let rows = Rows(values.pointer, count: side, width: side)
        let cube = Double(side * side * side)
        second.add(rows) { _ in 0 }  // what a first call takes beside
        moments = Self.seconds { second.add(rows) { _ in 1 } } / cube
        var made: SplitMoments?
        splitting =
            try Self.seconds { made = try second.split(damping: 1, of: "trial", in: "") } / cube
        guard let made else { preconditionFailure() }
        split = made
        carrying = Self.product(
            csimd_matrix(
                type: CSIMD_F32, data: values.pointer, rows: Int(CSIMD_BLOCK), cols: side),
            values, tokens: side)
    }

    /// Of a type: to round a weight, what is carried left out, and to multiply it with a token.
    func cost(of type: csimd_type) throws -> (rounding: Double, product: Double) {
        if let cost = costs[type.rawValue] { return cost }
        let (rows, side) = (Self.rows, Self.side)
        let source = csimd_matrix(type: CSIMD_F32, data: values.pointer, rows: rows, cols: side)
        var rounded: RoundedMatrix?
        let whole = try Self.seconds {
            rounded = try RoundedMatrix(
                rounding: source, to: type, by: split, name: "trial", in: "")
        }
        let carried = RoundedMatrix.takes(type) ? Double(side) / 2 * carrying : 0
        guard let rounded else { preconditionFailure() }
        let cost = (
            rounding: max(0, whole / Double(rows * side) - carried),
            product: withExtendedLifetime(rounded) {
                Self.product(rounded.matrix, values, tokens: side)
            }
        )
        costs[type.rawValue] = cost
        return cost
    }

    /// Of a weight with a token.
    private static func product(
        _ matrix: csimd_matrix, _ values: FloatBuffer, tokens: Int
    ) -> Double {
        let out = FloatBuffer(count: tokens * matrix.rows)
        let integers = UnsafeMutableRawPointer.allocate(
            byteCount: csimd_quantized_bytes(tokens, matrix.cols, CSIMD_INT8), alignment: 64)
        defer { integers.deallocate() }
        var matrix = matrix
        var input = csimd_input(
            x: values.pointer, tokens: tokens, cols: matrix.cols, stride: matrix.cols,
            integers: CSIMD_INT8, quantized: integers)
        csimd_quantize_activations(&input)
        csimd_matmul(&matrix, nil, &input, out.pointer, matrix.rows)
        let taken = seconds { csimd_matmul(&matrix, nil, &input, out.pointer, matrix.rows) }
        return taken / Double(tokens * matrix.rows * matrix.cols)
    }

    private static func seconds(_ work: () throws -> Void) rethrows -> Double {
        let clock = ContinuousClock(), start = clock.now
        try work()
        return clock.seconds(since: start)
    }
}
