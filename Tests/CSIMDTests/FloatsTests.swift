import CSIMD
import Foundation
import Support
import Testing

@Suite struct FloatsTests {
    /// Products with F32 weights are chains of fused multiply-adds over 128 k in ascending order,
    /// added up one after the other: exactly this.
    @Test(arguments: [(1, 64, 33), (7, 20, 300), (13, 130, 17), (100, 48, 24), (97, 65, 513)])
    func matmulIsASumOfFusedChains(tokens: Int, rows: Int, cols: Int) {
        var checks = Checks()
        var numbers = SeededRandom(seed: UInt64(tokens))
        let stride = cols + 3
        let w = numbers.floats(rows * cols)
        let x = numbers.floats(tokens * stride)
        let bias = numbers.floats(rows)
        var want = [Float](repeating: 0, count: tokens * rows)
        for t in 0..<tokens {
            for r in 0..<rows {
                var sum: Float = 0
                for first in Swift.stride(from: 0, to: cols, by: 128) {
                    var chain: Float = 0
                    for k in first..<min(first + 128, cols) {
                        chain.addProduct(x[t * stride + k], w[r * cols + k])
                    }
                    sum = first == 0 ? chain : sum + chain
                }
                want[t * rows + r] = sum + bias[r]
            }
        }
        for threads in [Int32(1), 2, 3] {
            forEachISA(threads: threads) { isa in
                var y = [Float](repeating: .nan, count: tokens * rows)
                w.withUnsafeBytes { w in
                    x.withUnsafeBufferPointer { x in
                        var matrix = csimd_matrix(
                            type: CSIMD_F32, data: w.baseAddress, rows: rows, cols: cols)
                        var input = csimd_input(
                            x: x.baseAddress, tokens: tokens, cols: cols, stride: stride,
                            integers: CSIMD_INT8, quantized: nil)
                        csimd_matmul(&matrix, bias, &input, &y, rows)
                    }
                }
                checks.expect(y.bits == want.bits, "\(isa), \(threads) threads")
            }
        }
        checks.report()
    }

    /// Decoding sums in another order: within the rounding of a sum of that many products.
    @Test(arguments: [CSIMD_F32, CSIMD_F16, CSIMD_BF16])
    func matvecAgreesWithDoubles(type: csimd_type) {
        var checks = Checks()
        forEachISA(threads: 2) { isa in
            var numbers = SeededRandom(seed: 9)
            for cols in ElementwiseTests.lengths {
                let (rows, tokens) = (37, 2)
                let values = numbers.floats(rows * cols)
                let bytes = csimd_row_bytes(type, cols)
                var w = [UInt8](repeating: 0, count: rows * bytes)
                var exact = [Float](repeating: 0, count: rows * cols)
                w.withUnsafeMutableBytes { w in
                    values.withUnsafeBufferPointer { values in
                        exact.withUnsafeMutableBufferPointer { exact in
                            for r in 0..<rows {
                                let row = w.baseAddress! + r * bytes
                                let from = values.baseAddress! + r * cols
                                checks.expect(csimd_quantize_row(type, from, nil, row, cols))
                                let to = exact.baseAddress! + r * cols
                                checks.expect(csimd_dequantize_row(type, row, to, cols))
                            }
                        }
                    }
                }
                let x = numbers.floats(tokens * cols)
                var y = [Float](repeating: .nan, count: tokens * rows)
                w.withUnsafeBytes { w in
                    x.withUnsafeBufferPointer { x in
                        var matrix = csimd_matrix(
                            type: type, data: w.baseAddress, rows: rows, cols: cols)
                        var input = csimd_input(
                            x: x.baseAddress, tokens: tokens, cols: cols, stride: cols,
                            integers: CSIMD_INT8, quantized: nil)
                        csimd_matvec(&matrix, nil, &input, &y, rows)
                    }
                }
                for t in 0..<tokens {
                    for r in 0..<rows {
                        var (sum, size) = (0.0, 0.0)
                        for k in 0..<cols {
                            let product = Double(exact[r * cols + k]) * Double(x[t * cols + k])
                            sum += product
                            size += abs(product)
                        }
                        let error = abs(Double(y[t * rows + r]) - sum)
                        let bound = size * Double(cols + 4) * roundingError
                        checks.expect(error <= bound, "\(isa) cols \(cols) row \(r): \(error)")
                    }
                }
            }
        }
        checks.report()
    }
}
