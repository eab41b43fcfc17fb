import CSIMD
import Support
import Testing

/// The strongest activations and histograms that the activation kernels keep.
@Suite struct MomentsTests {
    /// Memory that a kernel fills.
    private struct Kept: Equatable {
        let keep: Int
        var floors: [Float]
        var values: [Float]
        var tokens: [UInt32]
        var above: [UInt32]

        init(_ n: Int, keep: Int, floor: Float) {
            self.keep = keep
            floors = Array(repeating: floor, count: n)
            values = Array(repeating: -.infinity, count: n * keep)
            tokens = Array(repeating: 0, count: n * keep)
            above = Array(repeating: 0, count: n * Int(CSIMD_EDGES))
        }

        /// Runs `body` with it, tokens beginning with `first`.
        mutating func filled(from first: Int, _ body: (UnsafePointer<csimd_moments>) -> Void) {
            let n = floors.count
            floors.withUnsafeMutableBufferPointer { floors in
                values.withUnsafeMutableBufferPointer { values in
                    tokens.withUnsafeMutableBufferPointer { tokens in
                        above.withUnsafeMutableBufferPointer { above in
                            var moments = csimd_moments(
                                keep: keep, stride: n, token: UInt32(first),
                                floors: floors.baseAddress, values: values.baseAddress,
                                tokens: tokens.baseAddress, above: above.baseAddress)
                            body(&moments)
                        }
                    }
                }
            }
        }
    }

    private static let edges = withUnsafeBytes(of: csimd_edges) {
        Array($0.bindMemory(to: Float.self))
    }

    /// What is kept of activations [tokens, n], by sorting them.
    private static func expected(_ a: [Float], _ n: Int, keep: Int, floor: Float) -> Kept {
        var kept = Kept(n, keep: keep, floor: floor)
        for i in 0..<n {
            let row = stride(from: i, to: a.count, by: n).map { a[$0] }
            let best = row.indices.filter { row[$0] > floor }
                .sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }.prefix(keep)
            for (rank, token) in best.enumerated() {
                kept.values[rank * n + i] = row[token]
                kept.tokens[rank * n + i] = UInt32(token)
            }
            if best.count == keep { kept.floors[i] = kept.values[(keep - 1) * n + i] }
            for (number, edge) in edges.enumerated() {
                kept.above[number * n + i] = UInt32(row.count { $0 > edge })
            }
        }
        return kept
    }

    /// Whatever the instructions, the threads and how tokens come in calls; whether bits and values are
    /// wanted too; not a number is not kept.
    @Test(arguments: [Int32(1), 3]) func areTheStrongest(threads: Int32) {
        var checks = Checks()
        #expect(Self.edges == Self.edges.sorted() && Self.edges.contains(0))
        forEachISA(threads: threads) { isa in
            var numbers = SeededRandom(seed: 11)
            for n in [1, 7, 16, 33, 511, 513, 1100] {
                for (keep, floor) in [(1, -Float.infinity), (3, -.infinity), (8, 0.3), (20, 2)] {
                    let tokens = 40
                    var x = numbers.floats(tokens * n, in: -3...60)
                    for i in x.indices {
                        // Equal ones, small ones, and what is no number.
                        switch numbers.next() % 8 {
                        case 0: x[i] = 5
                        case 1...4: x[i] = numbers.floats(1, in: -2...2)[0]
                        case 5 where numbers.next() % 50 == 0: x[i] = .nan
                        default: break
                        }
                    }
                    let up = numbers.floats(tokens * n)
                    var plain = x
                    csimd_activate(CSIMD_SILU, &plain, tokens, n, nil)
                    let want = Self.expected(plain, n, keep: keep, floor: floor)
                    for (calls, gated, extras) in [
                        ([40], false, false), ([1, 15, 24], true, false), ([39, 1], true, true),
                    ] {
                        var found = Kept(n, keep: keep, floor: floor)
                        var a = x
                        var values = [Float](repeating: 0, count: tokens * n)
                        var bits = [UInt8](repeating: 0, count: tokens * ((n + 7) / 8))
                        var first = 0
                        for rows in calls {
                            found.filled(from: first) { moments in
                                var site = csimd_site()
                                site.moments = moments
                                a.withUnsafeMutableBufferPointer { a in
                                    values.withUnsafeMutableBufferPointer { values in
                                        bits.withUnsafeMutableBufferPointer { bits in
                                            up.withUnsafeBufferPointer { up in
                                                guard let x = a.baseAddress,
                                                    let v = values.baseAddress,
                                                    let b = bits.baseAddress, let u = up.baseAddress
                                                else { return }
                                                if extras { (site.values, site.fired) = (v, b) }
                                                csimd_activate_gated(
                                                    CSIMD_SILU, x + first * n,
                                                    gated ? u + first * n : nil, rows, n, &site)
                                            }
                                        }
                                    }
                                }
                            }
                            first += rows
                        }
                        let name = "\(isa) n \(n) keep \(keep) in \(calls)"
                        checks.expect(found.values.bits == want.values.bits, name)
                        checks.expect(found.tokens == want.tokens, name)
                        checks.expect(found.floors == want.floors, name)
                        checks.expect(found.above == want.above, name)
                        let products = zip(plain, up).map { gated ? $0 * $1 : $0 }
                        checks.expect(
                            zip(a, products).allSatisfy { $0 == $1 || $0.isNaN && $1.isNaN }, name)
                    }
                }
            }
        }
        checks.report()
    }
}
