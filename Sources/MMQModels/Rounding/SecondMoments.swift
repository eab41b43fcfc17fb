import CSIMD
import MMQBase

/// The second moments of what goes into a product, H = sum of w x x^T over rows x [inputs], in f64.
final class SecondMoments {
    let inputs: Int
    /// [inputs, inputs], filled above the diagonal.
    private var sums: UnsafeMutablePointer<Double>?
    /// Rows [inputs, depth] and their products [tile, inputs]; nil once the moments are split.
    private var scratch: (transposed: FloatBuffer, products: FloatBuffer)?

    /// Rows that are multiplied at a time, and inputs.
    private static let depth = 1024, tile = 128

    init(inputs: Int) {
        self.inputs = inputs
        let sums = UnsafeMutablePointer<Double>.allocate(capacity: inputs * inputs)
        sums.initialize(repeating: 0, count: inputs * inputs)
        self.sums = sums
        scratch = (
            FloatBuffer(count: inputs * Self.depth), FloatBuffer(count: Self.tile * inputs)
        )
    }

    deinit { sums?.deallocate() }

    /// Bytes that moments of so many inputs take while rows are added.
    static func bytes(inputs: Int) -> Int { inputs * (inputs * 8 + (depth + tile) * 4) }

    /// Bytes that they take while they are split.
    static func splittingBytes(inputs: Int) -> Int { inputs * inputs * 14 }

    /// Adds rows, each with the weight of that index.
    func add(_ rows: Rows, weight: (Int) -> Float) {
        guard let sums, let (transposed, products) = scratch else {
            preconditionFailure("moments that were split")
        }
        precondition(rows.width == inputs)
        for first in stride(from: 0, to: rows.count, by: Self.depth) {
            let count = min(Self.depth, rows.count - first)
            for row in 0..<count {
                let factor = weight(first + row).squareRoot()
                let x = rows[first + row]
                for i in 0..<inputs { transposed.pointer[i * count + row] = factor * x[i] }
            }
            add(transposed, depth: count, products, to: sums)
        }
    }

    /// Adds the products of `transposed` [inputs, depth].
    private func add(
        _ transposed: FloatBuffer, depth: Int, _ products: FloatBuffer,
        to sums: UnsafeMutablePointer<Double>
    ) {
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
    /// - Throws: `InputError` if nothing finite passed through the product, or too little for so little
    ///   damping.
    func split(damping: Double, of name: String, in file: String) throws -> SplitMoments {
        guard let sums else { preconditionFailure("moments that were split") }
        scratch = nil
        let diagonal = (0..<inputs).map { sums[$0 * inputs + $0] }
        let mean = diagonal.reduce(0, +) / Double(inputs)
        for i in 0..<inputs {
            // An input that is always zero keeps what no rounding depends on.
            sums[i * inputs + i] += damping * diagonal[i] + 1e-9 * mean
        }
        // Row by row from the diagonal on, as the split leaves nothing of them.
        let upper = FloatBuffer(count: inputs * (inputs + 1) / 2)
        var place = 0
        for i in 0..<inputs {
            for j in i..<inputs {
                upper.pointer[place] = Float(sums[i * inputs + j])
                place += 1
            }
        }
        let feedback = FloatBuffer(count: inputs * inputs)
        let weights = FloatBuffer(count: inputs)
        guard mean > 0, mean.isFinite else {
            throw InputError(
                .nonFinite, file: file, item: "what goes into '\(name)'",
                expected: "finite activations that are not all zero over the samples, also as "
                    + "--image-weight weighs them")
        }
        guard csimd_split_moments(sums, inputs, feedback.pointer, weights.pointer) else {
            throw InputError(
                .badInput, file: file, item: "what goes into '\(name)'",
                "too few samples to tell its \(inputs) inputs apart with a --damping of "
                    + "\(damping): raise one of them")
        }
        sums.deallocate()
        self.sums = nil
        return SplitMoments(
            inputs: inputs, feedback: feedback, weights: weights.array, moments: square(of: upper),
            squares: diagonal.map { Float($0) })
    }

    /// All of a symmetric matrix from what lies above its diagonal, tile by tile.
    private func square(of upper: FloatBuffer) -> FloatBuffer {
        let square = FloatBuffer(count: inputs * inputs), side = 64
        for first in stride(from: 0, to: inputs, by: side) {
            for column in stride(from: first, to: inputs, by: side) {
                for i in first..<min(first + side, inputs) {
                    let row = upper.pointer + (i * inputs - i * (i - 1) / 2 - i)
                    for j in max(i, column)..<max(i, min(column + side, inputs)) {
                        square.pointer[i * inputs + j] = row[j]
                        square.pointer[j * inputs + i] = row[j]
                    }
                }
            }
        }
        return square
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
    /// [inputs, inputs]: H itself, in f32.
    let moments: FloatBuffer
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

    /// What values in some columns add to others, sums [rows, others]; backwards where those come
    /// before: each then gives them what it would take of them.
    private func carry(
        _ values: FloatBuffer, rows: Int, from: Range<Int>, to: Range<Int>, in sums: FloatBuffer
    ) {
        guard !from.isEmpty else {
            return sums.pointer.update(repeating: 0, count: rows * to.count)
        }
        let count = from.count
        let factors = FloatBuffer(count: to.count * count)
        defer { withExtendedLifetime(factors) {} }
        if from.lowerBound < to.lowerBound {
            for (k, column) in to.enumerated() {
                (factors.pointer + k * count).update(
                    from: feedback.pointer + column * inputs + from.lowerBound, count: count)
            }
        } else {
            for (j, column) in from.enumerated() {
                let row = feedback.pointer + column * inputs + to.lowerBound
                for i in 0..<to.count { factors.pointer[i * count + j] = row[i] }
            }
        }
        var matrix = csimd_matrix(
            type: CSIMD_F32, data: factors.pointer, rows: to.count, cols: count)
        var input = csimd_input(
            x: values.pointer + from.lowerBound, tokens: rows, cols: count, stride: inputs,
            integers: CSIMD_INT8, quantized: nil)
        csimd_matmul(&matrix, nil, &input, sums.pointer, to.count)
    }

    /// Columns that what comes of all before them is carried to at once.
    static let panel = 256

    /// Bytes that carrying takes.
    static func carryingBytes(inputs: Int, rows: Int) -> Int {
        panel * (inputs + rows) * 4 + rows * Int(CSIMD_BLOCK) * 4
    }

    /// Calls `body` with one block of 32 columns after the other, from the last one `backwards`, and
    /// with what the values [rows, inputs] of the columns that had their turn add to it, [rows, 32].
    /// `body` leaves the block's own values.
    func forEachBlock(
        of values: FloatBuffer, rows: Int, backwards: Bool = false,
        _ body: (Int, FloatBuffer) -> Bool
    ) -> Bool {
        let side = Int(CSIMD_BLOCK)
        let far = FloatBuffer(count: rows * Self.panel), sums = FloatBuffer(count: rows * side)
        func inOrder(_ range: Range<Int>, by step: Int) -> [Range<Int>] {
            let parts = stride(from: range.lowerBound, to: range.upperBound, by: step).map {
                $0..<min($0 + step, range.upperBound)
            }
            return backwards ? parts.reversed() : parts
        }
        for panel in inOrder(0..<inputs, by: Self.panel) {
            let done = backwards ? panel.upperBound..<inputs : 0..<panel.lowerBound
            carry(values, rows: rows, from: done, to: panel, in: far)
            for block in inOrder(panel, by: side) {
                let near =
                    backwards
                    ? block.upperBound..<panel.upperBound : panel.lowerBound..<block.lowerBound
                carry(values, rows: rows, from: near, to: block, in: sums)
                for row in 0..<rows {
                    let from = row * panel.count + block.lowerBound - panel.lowerBound
                    csimd_add(sums.pointer + row * side, far.pointer + from, side)
                }
                guard body(block.lowerBound, sums) else { return false }
            }
        }
        return true
    }

    /// Rows c [rows, inputs], whole blocks of 32, become c H^-1.
    func solve(_ c: FloatBuffer, rows: Int) {
        let side = Int(CSIMD_BLOCK)
        let block = FloatBuffer(count: side * side)
        /// The block at `first` less `sums`, over the columns' weights going forward.
        func solve(_ first: Int, _ sums: FloatBuffer, backwards: Bool) -> Bool {
            for row in 0..<rows {
                let target = c.pointer + row * inputs + first, sum = sums.pointer + row * side
                for i in 0..<side {
                    target[i] = (backwards ? target[i] : target[i] / weights[first + i]) - sum[i]
                }
            }
            copyBlock(first, transposed: !backwards, to: block)
            csimd_solve_block(block.pointer, backwards, c.pointer + first, inputs, rows)
            return true
        }
        // H = M D M^T: M^T from the last column on, then M D from the first.
        for backwards in [true, false] {
            _ = forEachBlock(of: c, rows: rows, backwards: backwards) {
                solve($0, $1, backwards: backwards)
            }
        }
    }
}
