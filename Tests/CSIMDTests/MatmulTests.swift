import CSIMD
import Foundation
import Support
import Testing

/// Products with weights through the public calls: every type, instruction set, number of threads
/// and split into calls.
@Suite(.serialized) struct MatmulTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let type: csimd_type
        let rows: Int
        let cols: Int
        var integers = CSIMD_INT8
        /// Beside a block of tokens some of another; with many columns more than are few. Many rows
        /// are for one token at a time.
        var tokens: Int { rows > 1000 ? 2 : cols > 4096 ? 67 : 53 }
        /// Whether activations are taken in integers at all.
        var takesIntegers: Bool { csimd_row_bytes(type, 1) == 0 && cols >= 1024 }
        var testDescription: String {
            "type \(type.rawValue), \(rows) x \(cols), integers \(integers.rawValue)"
        }
    }

    /// Rows that are no whole panels, columns below and above where int8 begins and more than one
    /// chunk of a panel, blocks that are no whole group of eight. With 130 rows every thread has
    /// streams of its own, with 1,537 of 1,024 columns they would begin at the same place of a page
    /// if none were left over.
    static let shapes: [Shape] = [
        CSIMD_F32, CSIMD_F16, CSIMD_BF16, CSIMD_Q8_0, CSIMD_Q4_0, CSIMD_IQ4_NL, CSIMD_Q4_1,
        CSIMD_Q5_0, CSIMD_Q5_1, CSIMD_Q4_K, CSIMD_Q5_K, CSIMD_Q6_K,
    ].flatMap { type in
        let sizes =
            switch type {
            case CSIMD_Q4_1, CSIMD_Q5_0, CSIMD_Q5_1: [(48, 96), (37, 1120)]
            case CSIMD_Q4_K:
                [(37, 768), (37, 1280), (130, 1280), (1537, 1024), (19, 4608)]
            case CSIMD_Q5_K, CSIMD_Q6_K: [(37, 768), (37, 1280), (130, 1280), (19, 4608)]
            case CSIMD_Q4_0:
                [
                    (5, 64), (48, 96), (83, 512), (37, 1120), (130, 2080), (1537, 1024), (19, 4384),
                ]
            default: [(5, 64), (48, 96), (83, 512), (37, 1120), (130, 2080)]
            }
        return sizes.flatMap { rows, cols in
            let shape = Shape(type: type, rows: rows, cols: cols)
            let wide = Shape(type: type, rows: rows, cols: cols, integers: CSIMD_INT16)
            return shape.takesIntegers ? [shape, wide] : [shape]
        }
    }

    /// Weights [rows, cols] in their type, and what they stand for.
    private func weights(_ shape: Shape, seed: UInt64) -> (bytes: [UInt8], values: [Float]) {
        var random = SeededRandom(seed: seed)
        let values = random.normals(shape.rows * shape.cols, deviation: 0.05)
        let rowBytes = csimd_row_bytes(shape.type, shape.cols)
        var bytes = [UInt8](repeating: 0, count: rowBytes * shape.rows)
        var stored = [Float](repeating: 0, count: values.count)
        for row in 0..<shape.rows {
            let part = Array(values[row * shape.cols..<(row + 1) * shape.cols])
            var line = [UInt8](repeating: 0, count: rowBytes)
            var back = [Float](repeating: 0, count: shape.cols)
            #expect(csimd_quantize_row(shape.type, part, nil, &line, shape.cols))
            #expect(csimd_dequantize_row(shape.type, line, &back, shape.cols))
            bytes.replaceSubrange(row * rowBytes..<(row + 1) * rowBytes, with: line)
            stored.replaceSubrange(row * shape.cols..<(row + 1) * shape.cols, with: back)
        }
        return (bytes, stored)
    }

    /// y [tokens, rows], `step` tokens to a call.
    private func product(
        _ shape: Shape, _ bytes: [UInt8], _ x: [Float], tokens: Int, step: Int, few: Bool
    ) -> [Float] {
        let bias = (0..<shape.rows).map { Float($0) * 0.01 }
        var y = [Float](repeating: .nan, count: tokens * shape.rows)
        bytes.withUnsafeBytes { bytes in
            var matrix = csimd_matrix(
                type: shape.type, data: bytes.baseAddress, rows: shape.rows, cols: shape.cols)
            x.withUnsafeBufferPointer { x in
                y.withUnsafeMutableBufferPointer { y in
                    guard let x = x.baseAddress, let y = y.baseAddress else {
                        Issue.record("no tokens or no rows")
                        return
                    }
                    for first in stride(from: 0, to: tokens, by: step) {
                        let count = min(step, tokens - first)
                        let size = max(
                            csimd_quantized_bytes(count, shape.cols, shape.integers), 64)
                        let quantized = UnsafeMutableRawPointer.allocate(
                            byteCount: size, alignment: 64)
                        defer { quantized.deallocate() }
                        var input = csimd_input(
                            x: x + first * shape.cols, tokens: count, cols: shape.cols,
                            stride: shape.cols, integers: shape.integers, quantized: quantized)
                        csimd_quantize_activations(&input)
                        let to = y + first * shape.rows
                        if few {
                            csimd_matvec(&matrix, bias, &input, to, shape.rows)
                        } else {
                            csimd_matmul(&matrix, bias, &input, to, shape.rows)
                        }
                    }
                }
            }
        }
        return y
    }

    @Test(arguments: shapes)
    func agreesWithDoubles(_ shape: Shape) throws {
        let tokens = shape.tokens
        let (bytes, values) = weights(shape, seed: 3)
        var random = SeededRandom(seed: 4)
        let x = random.normals(tokens * shape.cols)
        var exact = [Double](repeating: 0, count: tokens * shape.rows)
        var bounds = exact
        // Half a step of what activations are rounded to, next to the greatest of their block.
        let step = shape.integers == CSIMD_INT8 ? 1.0 / 254 : 1.0 / 32638
        for token in 0..<tokens {
            for row in 0..<shape.rows {
                var sum = 0.01 * Double(row)
                var magnitude = 0.0
                var rounding = 0.0
                for block in stride(from: 0, to: shape.cols, by: 32) {
                    let range = block..<block + 32
                    let greatest = range.map { abs(x[token * shape.cols + $0]) }.max() ?? 0
                    for k in range {
                        let w = Double(values[row * shape.cols + k])
                        let term = w * Double(x[token * shape.cols + k])
                        sum += term
                        magnitude += abs(term)
                        rounding += abs(w) * Double(greatest) * step
                    }
                }
                exact[token * shape.rows + row] = sum
                bounds[token * shape.rows + row] =
                    magnitude * Double(shape.cols) * 0x1p-24 + 1e-6
                    + (shape.takesIntegers ? rounding : 0)
            }
        }
        forEachISA { isa in
            for few in [false, true] {
                let y = product(shape, bytes, x, tokens: tokens, step: tokens, few: few)
                for i in y.indices where !(abs(Double(y[i]) - exact[i]) <= bounds[i]) {
                    Issue.record("\(isa) few \(few): \(y[i]) instead of \(exact[i]) at \(i)")
                    break
                }
            }
        }
    }

    /// Byte for byte the same for any number of threads, and however tokens are split into calls.
    @Test(arguments: shapes)
    func doesNotDependOnThreadsOrSplits(_ shape: Shape) throws {
        let tokens = shape.tokens
        let (bytes, _) = weights(shape, seed: 5)
        var random = SeededRandom(seed: 6)
        let x = random.normals(tokens * shape.cols)
        forEachISA { isa in
            for few in [false, true] {
                let whole = product(shape, bytes, x, tokens: tokens, step: tokens, few: few)
                for threads in 1...3 {
                    csimd_set_threads(Int32(threads))
                    for step in [tokens, 1, 7, 12, 48] {
                        let split = product(shape, bytes, x, tokens: tokens, step: step, few: few)
                        let isSame = split == whole  // a failure does not print all of both
                        #expect(isSame, "\(isa), \(threads) threads, \(step) at a time, \(few)")
                    }
                }
            }
        }
    }

    /// Few rows in f32 are shared out by tokens as well, and tokens that lie whole pages apart are
    /// copied where they are many: still the same bytes.
    @Test(arguments: [
        Shape(type: CSIMD_F16, rows: 5, cols: 4096),
        Shape(type: CSIMD_F32, rows: 5, cols: 160), Shape(type: CSIMD_F16, rows: 70, cols: 160),
        Shape(type: CSIMD_Q4_0, rows: 32, cols: 96),
    ])
    func fewRowsOfManyTokens(_ shape: Shape) throws {
        let tokens = 1_100
        let (bytes, _) = weights(shape, seed: 8)
        var random = SeededRandom(seed: 9)
        let x = random.normals(tokens * shape.cols)
        forEachISA { isa in
            let whole = product(shape, bytes, x, tokens: tokens, step: 100, few: false)
            for threads in [1, 2, 3, 8] as [Int32] {
                csimd_set_threads(threads)
                let again = product(shape, bytes, x, tokens: tokens, step: tokens, few: false)
                let isSame = again == whole
                #expect(isSame, "\(isa), \(threads) threads")
            }
        }
    }

    /// Products in one region, of types that are laid out alike and of others, some with few rows: each
    /// is byte for byte what it is alone.
    @Test(arguments: [
        [CSIMD_Q4_0, CSIMD_Q4_0, CSIMD_Q4_0], [CSIMD_IQ4_NL, CSIMD_Q8_0],
        [CSIMD_Q4_K, CSIMD_Q6_K, CSIMD_Q4_K, CSIMD_Q5_0], [CSIMD_F16, CSIMD_BF16], [CSIMD_Q8_0],
    ])
    func togetherAreAsAlone(_ types: [csimd_type]) throws {
        let rows = [700, 130, 5, 83]
        let cols = 1280
        for integers in [CSIMD_INT8, CSIMD_INT16] {
            let shapes = zip(types, rows).map {
                Shape(type: $0, rows: $1, cols: cols, integers: integers)
            }
            let all = shapes.enumerated().map { weights($1, seed: 30 + UInt64($0)).bytes }
            var random = SeededRandom(seed: 7)
            for tokens in [1, 5, 21] {
                let x = random.normals(tokens * cols)
                forEachISA { isa in
                    for few in [false, true] {
                        let alone = zip(shapes, all).map {
                            product($0, $1, x, tokens: tokens, step: tokens, few: few)
                        }
                        for threads in 1...3 {
                            csimd_set_threads(Int32(threads))
                            let together = products(shapes, all, x, tokens: tokens, few: few)
                            #expect(
                                together == alone,
                                "\(isa), \(tokens) tokens, \(threads) threads, \(few), \(integers)")
                        }
                    }
                }
            }
        }
    }

    /// y [tokens, rows] of each, in one region.
    private func products(
        _ shapes: [Shape], _ all: [[UInt8]], _ x: [Float], tokens: Int, few: Bool
    ) -> [[Float]] {
        let cols = shapes[0].cols
        let biases = shapes.map { shape in (0..<shape.rows).map { Float($0) * 0.01 } }
        let ys = shapes.map { [Float](repeating: .nan, count: tokens * $0.rows) }
        let size = max(csimd_quantized_bytes(tokens, cols, shapes[0].integers), 64)
        let quantized = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
        defer { quantized.deallocate() }
        let out = UnsafeMutablePointer<Float>.allocate(capacity: ys.reduce(0) { $0 + $1.count })
        defer { out.deallocate() }
        let matrices = UnsafeMutablePointer<csimd_matrix>.allocate(capacity: shapes.count)
        defer { matrices.deallocate() }
        return x.withUnsafeBufferPointer { x in
            var input = csimd_input(
                x: x.baseAddress, tokens: tokens, cols: cols, stride: cols,
                integers: shapes[0].integers, quantized: quantized)
            csimd_quantize_activations(&input)
            /// Of the rest, with all pointers held so far.
            func run(_ made: [csimd_product], _ at: Int) {
                let i = made.count
                guard i < shapes.count else {
                    (few ? csimd_matvecs : csimd_matmuls)(made, made.count, &input)
                    return
                }
                all[i].withUnsafeBytes { bytes in
                    biases[i].withUnsafeBufferPointer { bias in
                        (matrices + i).initialize(
                            to: csimd_matrix(
                                type: shapes[i].type, data: bytes.baseAddress, rows: shapes[i].rows,
                                cols: cols))
                        run(
                            made + [
                                csimd_product(
                                    w: matrices + i, bias: bias.baseAddress, y: out + at,
                                    y_stride: shapes[i].rows)
                            ], at + tokens * shapes[i].rows)
                    }
                }
            }
            run([], 0)
            var at = 0
            return ys.map { y in
                defer { at += y.count }
                return Array(UnsafeBufferPointer(start: out + at, count: y.count))
            }
        }
    }
}
