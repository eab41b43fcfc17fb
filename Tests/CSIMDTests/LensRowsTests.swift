import CSIMD
import Foundation
import Support
import Testing

/// csimd_lens and its neighbours against plain arithmetic in doubles.
@Suite struct LensRowsTests {
    /// What csimd_lens makes of rows.
    private struct Looked {
        var logits: [Float]
        var probabilities: [Float]
        var ids: [Int32]
        var best: [Float]
        var entropies: [Float]
        var divergences: [Float]

        init(_ x: [Float], rows: Int, n: Int, stride: Int, top: Int, reference: [Looked] = []) {
            logits = x
            probabilities = Array(repeating: .nan, count: x.count)
            ids = Array(repeating: 77, count: rows * top)
            best = Array(repeating: .nan, count: rows * top)
            entropies = Array(repeating: .nan, count: rows)
            divergences = Array(repeating: .nan, count: rows)
            let first = reference.first
            (first?.logits ?? []).withUnsafeBufferPointer { referenceLogits in
                (first?.probabilities ?? []).withUnsafeBufferPointer { weights in
                    logits.withUnsafeMutableBufferPointer { logits in
                        probabilities.withUnsafeMutableBufferPointer { probabilities in
                            ids.withUnsafeMutableBufferPointer { ids in
                                best.withUnsafeMutableBufferPointer { best in
                                    entropies.withUnsafeMutableBufferPointer { entropies in
                                        divergences.withUnsafeMutableBufferPointer { divergences in
                                            var call = csimd_lens_rows(
                                                logits: logits.baseAddress,
                                                probabilities: probabilities.baseAddress,
                                                count: rows, n: n, stride: stride, top: top,
                                                top_ids: ids.baseAddress,
                                                top_probabilities: best.baseAddress,
                                                entropies: entropies.baseAddress,
                                                divergences: first == nil
                                                    ? nil : divergences.baseAddress,
                                                reference_logits: referenceLogits.baseAddress,
                                                reference_probabilities: weights.baseAddress)
                                            csimd_lens(&call)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private func logSoftmax(_ row: ArraySlice<Float>) -> [Double] {
        let top = Double(row.max() ?? 0)
        let sum = row.reduce(0) { $0 + exp(Double($1) - top) }
        return row.map { Double($0) - top - log(sum) }
    }

    @Test func rowsAreWhatTheDefinitionsSay() {
        var checks = Checks()
        var random = SeededRandom(seed: 11)
        forEachISA(threads: 2) { isa in
            for (n, stride, top) in [
                (1, 1, 1), (3, 5, 10), (16, 16, 4), (33, 40, 10), (480, 480, 10), (4099, 4100, 10),
                (9001, 9001, 3),
            ] {
                let rows = 3
                var x = random.normals(rows * stride, deviation: 4)
                // Equal entries, here and there the largest: the lower id comes first.
                for i in 0..<n where i % 5 == 0 { x[i] = x[0] }
                if n > 2 {
                    x[stride + n - 1] = 30
                    x[stride + n - 2] = 30
                    x[2 * stride + 1] = -.infinity
                }
                // What lies beyond n must not be looked at.
                for row in 0..<rows { for k in n..<stride { x[row * stride + k] = .nan } }
                let other = random.normals(rows * stride, deviation: 4)
                let reference = Looked(other, rows: rows, n: n, stride: stride, top: 1)
                let got = Looked(
                    x, rows: rows, n: n, stride: stride, top: top, reference: [reference])
                for row in 0..<rows {
                    let what = "\(isa) n \(n) row \(row)"
                    let want = logSoftmax(x[row * stride..<row * stride + n])
                    let p = want.map(exp)
                    let entropy = zip(p, want).reduce(0) { $0 - ($1.0 > 0 ? $1.0 * $1.1 : 0) }
                    checks.expect(
                        abs(Double(got.entropies[row]) - entropy) <= 1e-5 * max(1, entropy),
                        "\(what) entropy \(got.entropies[row]), not \(entropy)")
                    let order = (0..<n).sorted {
                        (-x[row * stride + $0], $0) < (-x[row * stride + $1], $1)
                    }
                    for place in 0..<top {
                        let id = got.ids[row * top + place]
                        let share = Double(got.best[row * top + place])
                        if place < n {
                            checks.expect(id == Int32(order[place]), "\(what) place \(place)")
                            checks.expect(
                                abs(share - p[order[place]]) <= 1e-6, "\(what) place \(place)")
                        } else {
                            checks.expect(id == -1 && share == 0, "\(what) place \(place)")
                        }
                    }
                    // A row that rules out what the reference holds possible is infinitely far.
                    let q = logSoftmax(other[row * stride..<row * stride + n])
                    let far = zip(q, want).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
                    let divergence = Double(got.divergences[row])
                    checks.expect(
                        far == .infinity
                            ? divergence == .infinity : abs(divergence - far) <= 1e-5 * max(1, far),
                        "\(what) divergence \(divergence), not \(far)")
                }
            }
        }
        checks.report()
    }

    @Test func aRowDoesNotDivergeFromItself() {
        var random = SeededRandom(seed: 12)
        let x = random.normals(2 * 1000, deviation: 5)
        // Both by the same kernels: another test may be switching them.
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let once = Looked(x, rows: 2, n: 1000, stride: 1000, top: 1)
        let again = Looked(x, rows: 2, n: 1000, stride: 1000, top: 1, reference: [once])
        #expect(again.divergences == [0, 0])
        // Divergences that were not asked for are left alone.
        #expect(once.divergences.allSatisfy { $0.isNaN })
    }

    @Test func bitsThatDifferAreCounted() {
        var random = SeededRandom(seed: 13)
        for count in 0..<40 {
            let a = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let b = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let want = zip(a, b).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
            #expect(csimd_differing_bits(a, b, count) == UInt64(want))
        }
    }

    @Test func deviationsAreSumsOfProducts() {
        var random = SeededRandom(seed: 14)
        let x = random.normals(3 * 37)
        let y = random.normals(3 * 37)
        var sums = [Double](repeating: .nan, count: 12)
        csimd_row_deviation(x, y, 3, 37, &sums)
        for row in 0..<3 {
            let pairs = zip(x, y).map { (Double($0), Double($1)) }[row * 37..<(row + 1) * 37]
            assertClose(
                Array(sums[row * 4..<row * 4 + 4]),
                [
                    pairs.reduce(0) { $0 + $1.0 * $1.0 }, pairs.reduce(0) { $0 + $1.1 * $1.1 },
                    pairs.reduce(0) { $0 + $1.0 * $1.1 },
                    pairs.reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) },
                ], tolerance: 1e-12, "row \(row)")
        }
    }
}
