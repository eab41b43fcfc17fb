import CSIMD
import MMQBase

/// The second moments of what goes into a product, H = sum of w x x^T over rows x [inputs], in f64.
final class SecondMoments {
    let inputs: Int
    /// [inputs, inputs], filled above the diagonal.
    private var sums: UnsafeMutablePointer<Double>?
    private let transposed: FloatBuffer
    private let products: FloatBuffer

    /// Rows that are multiplied at a time, and inputs.
    private static let depth = 1024, tile = 128

    init(inputs: Int) {
        self.inputs = inputs
        let sums = UnsafeMutablePointer<Double>.allocate(capacity: inputs * inputs)
        sums.initialize(repeating: 0, count: inputs * inputs)
        self.sums = sums
        transposed = FloatBuffer(count: inputs * Self.depth)
        products = FloatBuffer(count: Self.tile * inputs)
    }

    deinit { sums?.deallocate() }

    /// Bytes that moments of so many inputs take while rows are added.
    static func bytes(inputs: Int) -> Int { inputs * (inputs * 8 + (depth + tile) * 4) }

    /// Bytes that they take while they are split.
    static func splittingBytes(inputs: Int) -> Int { inputs * inputs * 12 }

    /// Adds rows, each with the weight of that index.
    func add(_ rows: Rows, weight: (Int) -> Float) {
        guard let sums else { preconditionFailure("moments that were split") }
        precondition(rows.width == inputs)
        for first in stride(from: 0, to: rows.count, by: Self.depth) {
            let count = min(Self.depth, rows.count - first)
            for row in 0..<count {
                let factor = weight(first + row).squareRoot()
                let x = rows[first + row]
                for i in 0..<inputs { transposed.pointer[i * count + row] = factor * x[i] }
            }
            add(depth: count, to: sums)
        }
    }

    /// Adds the products of `transposed` [inputs, depth].
    private func add(depth: Int, to sums: UnsafeMutablePointer<Double>) {
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
        guard let sums else { preconditionFailure("moments that were split") }
        defer {
            sums.deallocate()
            self.sums = nil
        }
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

/// What errors of earlier columns add to later ones, and how much each column counts then: the moments
/// H as M D M^T.
struct SplitMoments {
    let inputs: Int
    /// [inputs, inputs], M's transpose below the diagonal: of column j what an error of column k < j adds.
    let feedback: FloatBuffer
    /// [inputs], D.
    let weights: [Float]
    /// [inputs]: the moments' diagonal, the importance of each column alone.
    let squares: [Float]

    /// The feedback among the 32 columns from `first` on, [32, 32]: what column k takes of column i
    /// before it at k * 32 + i, transposed at i * 32 + k.
    func copyBlock(_ first: Int, transposed: Bool, to block: FloatBuffer) {
        let side = Int(CSIMD_BLOCK)
        for k in 0..<side {
            let row = feedback.pointer + (first + k) * inputs + first
            for i in 0..<side { block.pointer[transposed ? i * side + k : k * side + i] = row[i] }
        }
    }

    /// What values in the columns before `first` add to its block of 32, sums [rows, 32].
    func carry(_ values: FloatBuffer, rows: Int, to first: Int, in sums: FloatBuffer) {
        let side = Int(CSIMD_BLOCK)
        let before = FloatBuffer(count: side * first)
        defer { withExtendedLifetime(before) {} }
        for k in 0..<side {
            (before.pointer + k * first).update(
                from: feedback.pointer + (first + k) * inputs, count: first)
        }
        multiply(before, values.pointer, columns: first, rows: rows, in: sums)
    }

    /// What values in the columns behind the block of 32 at `first` add to it, sums [rows, 32], where
    /// each gives to the columns before it what it would take of them.
    private func carryBack(_ values: FloatBuffer, rows: Int, to first: Int, in sums: FloatBuffer) {
        let side = Int(CSIMD_BLOCK), end = first + side, count = inputs - end
        let behind = FloatBuffer(count: side * count)
        defer { withExtendedLifetime(behind) {} }
        for j in 0..<count {
            let row = feedback.pointer + (end + j) * inputs + first
            for i in 0..<side { behind.pointer[i * count + j] = row[i] }
        }
        multiply(behind, values.pointer + end, columns: count, rows: rows, in: sums)
    }

    private func multiply(
        _ factors: FloatBuffer, _ values: UnsafePointer<Float>, columns: Int, rows: Int,
        in sums: FloatBuffer
    ) {
        let side = Int(CSIMD_BLOCK)
        guard columns > 0 else {
            return sums.pointer.update(repeating: 0, count: rows * side)
        }
        var matrix = csimd_matrix(
            type: CSIMD_F32, data: factors.pointer, rows: side, cols: columns)
        var input = csimd_input(
            x: values, tokens: rows, cols: columns, stride: inputs, integers: CSIMD_INT8,
            quantized: nil)
        csimd_matmul(&matrix, nil, &input, sums.pointer, side)
    }

    /// Rows c [rows, inputs], whole blocks of 32, become c H^-1.
    func solve(_ c: FloatBuffer, rows: Int) {
        let side = Int(CSIMD_BLOCK), starts = stride(from: 0, to: inputs, by: side)
        let sums = FloatBuffer(count: rows * side), block = FloatBuffer(count: side * side)
        defer { withExtendedLifetime((sums, block)) {} }
        /// c less `sums`, the block at `first`.
        func subtract(at first: Int) {
            for row in 0..<rows {
                let target = c.pointer + row * inputs + first, sum = sums.pointer + row * side
                for i in 0..<side { target[i] -= sum[i] }
            }
        }
        // H = M D M^T: from the last column on what M^T leaves, then from the first on.
        for first in starts.reversed() {
            carryBack(c, rows: rows, to: first, in: sums)
            subtract(at: first)
            copyBlock(first, transposed: false, to: block)
            csimd_solve_block(block.pointer, true, c.pointer + first, inputs, rows)
        }
        for first in starts {
            for row in 0..<rows {
                let target = c.pointer + row * inputs + first
                for i in 0..<side { target[i] /= weights[first + i] }
            }
            carry(c, rows: rows, to: first, in: sums)
            subtract(at: first)
            copyBlock(first, transposed: true, to: block)
            csimd_solve_block(block.pointer, false, c.pointer + first, inputs, rows)
        }
    }
}
