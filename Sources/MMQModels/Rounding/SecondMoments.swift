import CSIMD
import MMQBase

/// The second moments of what goes into a product, H = sum of w x x^T over rows x [inputs], in f64.
final class SecondMoments {
    let inputs: Int
    /// [inputs, inputs], filled above the diagonal.
    private let sums: UnsafeMutablePointer<Double>
    private let transposed: FloatBuffer
    private let products: FloatBuffer

    /// Rows that are multiplied at a time, and inputs.
    private static let depth = 1024, tile = 128

    init(inputs: Int) {
        self.inputs = inputs
        sums = .allocate(capacity: inputs * inputs)
        sums.initialize(repeating: 0, count: inputs * inputs)
        transposed = FloatBuffer(count: inputs * Self.depth)
        products = FloatBuffer(count: Self.tile * inputs)
    }

    deinit { sums.deallocate() }

    /// Bytes that moments of so many inputs take at most, with what is made of them.
    static func bytes(inputs: Int) -> Int {
        inputs * inputs * 12 + inputs * (depth + tile) * 4
    }

    /// Adds rows, each with the weight of that index.
    func add(_ rows: Rows, weight: (Int) -> Float) {
        precondition(rows.width == inputs)
        for first in stride(from: 0, to: rows.count, by: Self.depth) {
            let count = min(Self.depth, rows.count - first)
            for row in 0..<count {
                let factor = weight(first + row).squareRoot()
                let x = rows[first + row]
                for i in 0..<inputs { transposed.pointer[i * count + row] = factor * x[i] }
            }
            add(depth: count)
        }
    }

    /// Adds the products of `transposed` [inputs, depth].
    private func add(depth: Int) {
        for first in stride(from: 0, to: inputs, by: Self.tile) {
            let count = min(Self.tile, inputs - first), width = inputs - first
            let x = transposed.pointer + first * depth
            var matrix = csimd_matrix(type: CSIMD_F32, data: x, rows: width, cols: depth)
            var input = csimd_input(
                x: x, tokens: count, cols: depth, stride: depth, integers: CSIMD_INT8,
                quantized: nil)
            csimd_matmul(&matrix, nil, &input, products.pointer, width)
            for row in 0..<count {
                let target = sums + (first + row) * inputs + first
                let product = products.pointer + row * width
                for i in row..<width { target[i] += Double(product[i]) }
            }
        }
    }

    /// Splits them; they are gone then.
    ///
    /// - Parameters:
    ///   - damping: what part of its own each input's moment grows by, as if noise came with it.
    ///   - name: the weight's, for the error.
    ///   - file: where it lies.
    /// - Throws: `InputError` if nothing finite passed through the product.
    func split(damping: Double, of name: String, in file: String) throws -> SplitMoments {
        let diagonal = (0..<inputs).map { sums[$0 * inputs + $0] }
        let mean = diagonal.reduce(0, +) / Double(inputs)
        for i in 0..<inputs {
            // An input that is always zero keeps what no rounding depends on.
            sums[i * inputs + i] += damping * diagonal[i] + 1e-9 * mean
        }
        let feedback = FloatBuffer(count: inputs * inputs)
        let weights = FloatBuffer(count: inputs)
        guard mean > 0, mean.isFinite,
            csimd_split_moments(sums, inputs, feedback.pointer, weights.pointer)
        else {
            throw InputError(
                .nonFinite, file: file, item: "what goes into '\(name)'",
                expected: "finite activations that are not all zero over the samples")
        }
        return SplitMoments(
            inputs: inputs, feedback: feedback, weights: weights.array,
            squares: diagonal.map { Float($0) })
    }
}

/// What errors of earlier columns add to later ones, and how much each column counts then.
struct SplitMoments {
    let inputs: Int
    /// [inputs, inputs], below the diagonal: of column j what an error of column k < j adds.
    let feedback: FloatBuffer
    /// [inputs].
    let weights: [Float]
    /// [inputs]: the moments' diagonal, the importance of each column alone.
    let squares: [Float]
}
