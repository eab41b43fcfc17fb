import CSIMD
import MMQBase
import MMQFormats

/// A weight in memory, in blocks as a file has them.
final class RoundedMatrix {
    let type: csimd_type
    let rows: Int
    let cols: Int
    let bytes: UnsafeMutableRawBufferPointer

    init(type: csimd_type, rows: Int, cols: Int) {
        (self.type, self.rows, self.cols) = (type, rows, cols)
        bytes = .allocate(byteCount: csimd_row_bytes(type, cols) * rows, alignment: 64)
    }

    deinit { bytes.deallocate() }

    /// The matrix for products; valid as long as this object lives.
    var matrix: csimd_matrix {
        csimd_matrix(type: type, data: bytes.baseAddress, rows: rows, cols: cols)
    }

    /// Whether errors of this type's values can make up for each other.
    static func takes(_ type: csimd_type) -> Bool {
        [CSIMD_Q4_0, CSIMD_IQ4_NL, CSIMD_Q5_0, CSIMD_Q8_0].contains(type)
    }

    /// Rounds a weight so that the product's outputs change least over inputs of these moments, once
    /// it makes up for what has changed before; types that this is not known for are searched by the
    /// importance of each input. `refinements`: how often all levels are gone over again.
    convenience init(
        rounding source: csimd_matrix, to type: csimd_type, by moments: SplitMoments,
        change: InputChange? = nil, refinements: Int, name: String, in file: String
    ) throws {
        self.init(type: type, rows: source.rows, cols: source.cols)
        let weights = FloatBuffer(count: rows * cols)
        let sourceRow = csimd_row_bytes(source.type, cols)
        for row in 0..<rows {
            csimd_dequantize_row(
                source.type, source.data + row * sourceRow, weights.pointer + row * cols, cols)
        }
        guard Self.takes(type) else {
            let rowBytes = csimd_row_bytes(type, cols)
            try GGUFTensorType.computable.first { $0.kernelType == type }?.requireStorable(
                weights.pointer, weights.count, from: 0, of: name, [rows, cols], in: file)
            for row in 0..<rows {
                csimd_quantize_row(
                    type, weights.pointer + row * cols, moments.squares,
                    bytes.baseAddress.map { $0 + row * rowBytes }, cols)
            }
            return
        }
        change?.correct(weights, rows: rows, by: moments)
        guard round(weights, by: moments, refinements: refinements) else {
            throw InputError(
                .nonFinite, file: file, item: "tensor '\(name)'",
                expected: "weights that can be stored",
                found: "a block beyond the range of half floats")
        }
    }

    /// Block by block of 32 columns.
    private func round(
        _ weights: FloatBuffer, by moments: SplitMoments, refinements: Int
    ) -> Bool {
        let block = Int(CSIMD_BLOCK), rowBytes = csimd_row_bytes(type, cols)
        let errors = FloatBuffer(count: rows * cols)
        let within = FloatBuffer(count: block * block)
        defer { withExtendedLifetime((errors, within)) {} }
        let isStored = moments.forEachBlock(of: errors, rows: rows) { first, base in
            // The weights and what the errors so far add.
            for row in 0..<rows {
                csimd_add(
                    base.pointer + row * block, weights.pointer + row * cols + first, block)
            }
            moments.copyBlock(first, transposed: true, to: within)
            return moments.weights.withUnsafeBufferPointer { counts in
                var how = csimd_rounding(
                    type: type, feedback: within.pointer,
                    weights: counts.baseAddress.map { $0 + first })
                return csimd_round_block(
                    &how, weights.pointer + first, base.pointer, rows, cols,
                    errors.pointer + first,
                    bytes.baseAddress.map { $0 + first / block * (rowBytes / (cols / block)) },
                    rowBytes)
            }
        }
        guard isStored else { return false }
        for again in 0..<refinements {
            refine(weights, errors, by: moments, scales: again == 0)
        }
        return true
    }

    /// Goes over all levels once, and over all scales.
    private func refine(
        _ weights: FloatBuffer, _ errors: FloatBuffer, by moments: SplitMoments, scales: Bool
    ) {
        let gradients = FloatBuffer(count: rows * SplitMoments.panel)
        for first in stride(from: 0, to: cols, by: SplitMoments.panel) {
            let count = min(SplitMoments.panel, cols - first)
            var matrix = csimd_matrix(
                type: CSIMD_F32, data: moments.moments.pointer + first * cols, rows: count,
                cols: cols)
            var input = csimd_input(
                x: errors.pointer, tokens: rows, cols: cols, stride: cols, integers: CSIMD_INT8,
                quantized: nil)
            csimd_matmul(&matrix, nil, &input, gradients.pointer, count)
            var how = csimd_refinement(
                type: type, rows: rows, n: cols, first: first, count: count, scales: scales,
                h: moments.moments.pointer, weights: weights.pointer, errors: errors.pointer,
                blocks: bytes.baseAddress, row_bytes: bytes.count / max(rows, 1))
            csimd_refine_panel(&how, gradients.pointer)
        }
    }
}
