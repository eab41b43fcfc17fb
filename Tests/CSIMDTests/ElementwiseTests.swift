import CSIMD
import Foundation
import Support
import Testing

@Suite struct ElementwiseTests {
    /// Every tail of two 16-float registers, then sizes of models.
    static let lengths = Array(1...48) + [63, 64, 65, 88, 100, 257, 1408, 4096]

    @Test func rmsNormKeepsFloatPrecision() {
        var checks = Checks()
        forEachISA(threads: 2) { isa in
            var numbers = SeededRandom(seed: 1)
            for n in Self.lengths {
                let tokens = n < 100 ? 3 : 7
                let x = numbers.floats(tokens * n, in: n % 2 == 0 ? -1...1 : -1e15...1e15)
                let weight = numbers.floats(n)
                let eps: Float = n % 3 == 0 ? 1e-5 : 0
                var y = x  // in place
                csimd_rms_norm(y, weight, eps, &y, tokens, n)
                for t in 0..<tokens {
                    let row = x[t * n..<(t + 1) * n].map(Double.init)
                    let mean = row.reduce(0) { $0 + $1 * $1 } / Double(n)
                    for i in 0..<n {
                        let want = row[i] / (mean + Double(eps)).squareRoot() * Double(weight[i])
                        let error = abs(Double(y[t * n + i]) - want)
                        checks.expect(error <= abs(want) * 1e-6, "\(isa) n \(n) token \(t) at \(i)")
                    }
                }
            }
        }
        checks.report()
    }

    @Test(arguments: [Float(0), 300]) func layerNormKeepsFloatPrecision(offset: Float) {
        var checks = Checks()
        forEachISA(threads: 2) { isa in
            var numbers = SeededRandom(seed: 2)
            for n in Self.lengths {
                let tokens = 3
                let x = numbers.floats(tokens * n).map { $0 + offset }
                let weight = numbers.floats(n)
                let bias = numbers.floats(n)
                let eps: Float = 1e-5
                var y = [Float](repeating: .nan, count: tokens * n)
                csimd_layer_norm(x, weight, bias, eps, &y, tokens, n)
                for t in 0..<tokens {
                    let row = x[t * n..<(t + 1) * n].map(Double.init)
                    let mean = row.reduce(0, +) / Double(n)
                    let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(n)
                    for i in 0..<n {
                        let scaled = (row[i] - mean) / (variance + Double(eps)).squareRoot()
                        let product = scaled * Double(weight[i])
                        let want = product + Double(bias[i])
                        let bound = 1e-7 * (abs(product) + abs(want)) + 1e-9
                        let error = abs(Double(y[t * n + i]) - want)
                        checks.expect(error <= bound, "\(isa) n \(n) token \(t) at \(i)")
                    }
                }
            }
        }
        checks.report()
    }

    @Test func additionIsExact() {
        var checks = Checks()
        forEachISA(threads: 3) { isa in
            var numbers = SeededRandom(seed: 3)
            for n in Self.lengths + [50_001] {
                let x = numbers.floats(n)
                let y = numbers.floats(n)
                var sum = x
                csimd_add(&sum, y, n)
                checks.expect(sum.bits == zip(x, y).map { ($0 + $1).bitPattern }, "\(isa) n \(n)")
            }
            let rows = numbers.floats(1000 * 37)
            let row = numbers.floats(37)
            var sum = rows
            csimd_add_row(&sum, row, 1000, 37)
            let want = rows.indices.map { (rows[$0] + row[$0 % 37]).bitPattern }
            checks.expect(sum.bits == want, "\(isa)")
        }
        checks.report()
    }

    @Test func softmaxAgreesWithDoubles() {
        var checks = Checks()
        forEachISA(threads: 2) { isa in
            var numbers = SeededRandom(seed: 4)
            for n in Self.lengths + [32_064] {
                let rows = 2
                var x = numbers.floats(rows * n, in: -20...20)
                x[n / 2] = n > 1 ? -.infinity : 3
                let input = x
                csimd_softmax(&x, rows, n)
                for r in 0..<rows {
                    let row = input[r * n..<(r + 1) * n].map(Double.init)
                    let highest = row.max() ?? 0
                    let exponentials = row.map { exp($0 - highest) }
                    let sum = exponentials.reduce(0, +)
                    for i in 0..<n {
                        let want = exponentials[i] / sum
                        // The shift rounds once, at most half a step of 40; exp 2 steps.
                        let bound = want * 3e-6
                        let error = abs(Double(x[r * n + i]) - want)
                        checks.expect(error <= bound, "\(isa) n \(n) at \(i)")
                    }
                }
            }
        }
        checks.report()
    }

    @Test func softmaxOfExtremes() {
        var checks = Checks()
        forEachISA { isa in
            for n in [1, 5, 16, 40] {
                var nothing = [Float](repeating: -.infinity, count: n)
                csimd_softmax(&nothing, 1, n)
                checks.expect(nothing.bits == [UInt32](repeating: 0, count: n), "\(isa) n \(n)")

                var wide = [Float](repeating: -1e30, count: n)
                wide[n - 1] = 1e30
                csimd_softmax(&wide, 1, n)
                checks.expect(wide == (0..<n).map { $0 == n - 1 ? 1 : 0 }, "\(isa) n \(n)")

                var broken = [Float](repeating: 1, count: n)
                broken[0] = .nan
                csimd_softmax(&broken, 1, n)
                checks.expect(broken.allSatisfy { $0.isNaN }, "\(isa) n \(n)")
            }
        }
        checks.report()
    }

    @Test func ropeRotatesPairsExactly() {
        var checks = Checks()
        forEachISA(threads: 2) { isa in
            var numbers = SeededRandom(seed: 5)
            for headDim in [2, 4, 8, 16, 24, 30, 32, 64, 88, 128] {
                let (tokens, heads, half) = (5, 3, headDim / 2)
                let stride = heads * headDim + 7
                let x = numbers.floats(tokens * stride)
                let cosSin = numbers.floats(tokens * headDim)
                var y = x
                csimd_rope_interleaved(&y, cosSin, tokens, heads, headDim, stride)
                var want = x
                for t in 0..<tokens {
                    for h in 0..<heads {
                        for i in 0..<half {
                            let at = t * stride + h * headDim + 2 * i
                            let (c, s) = (cosSin[t * headDim + i], cosSin[t * headDim + half + i])
                            let (a, b) = (x[at] * c, x[at + 1] * s)
                            want[at] = a - b
                            let (d, e) = (x[at + 1] * c, x[at] * s)
                            want[at + 1] = d + e
                        }
                    }
                }
                checks.expect(y.bits == want.bits, "\(isa) head dim \(headDim)")
            }
        }
        checks.report()
    }
}

@Suite struct ActivationTests {
    static let kinds: [csimd_activation] = [CSIMD_SILU, CSIMD_GELU_ERF, CSIMD_GELU_QUICK]

    static func exact(_ kind: csimd_activation, _ x: Double) -> Double {
        switch kind {
        case CSIMD_SILU: x / (1 + exp(-x))
        case CSIMD_GELU_QUICK: x / (1 + exp(-1.702 * x))
        default: x / 2 * erfc(-x / 2.0.squareRoot())
        }
    }

    @Test func valuesAgreeWithDoubles() {
        var checks = Checks()
        var inputs: [Float] = stride(from: Float(-20), to: 20, by: 0.0013).map { $0 }
        inputs += stride(from: Float(-149), to: 0, by: 1).flatMap { e in
            [exp2(e), -exp2(e), exp2(e) * 1.7, exp2(e) * -1.3]
        }
        inputs += [0, -0, 88.7, 88.8, -88.7, -88.8, -104, 1e4, -1e4, 3e38, -3e38, .infinity]
        forEachISA(threads: 2) { isa in
            for kind in Self.kinds {
                var y = inputs
                csimd_activate(kind, &y, 1, y.count, nil)
                for (x, got) in zip(inputs, y) {
                    let want = Self.exact(kind, Double(x))
                    let ok =
                        Double(got) == want
                        || abs(Double(got) - want) <= 3e-7 * max(1, abs(Double(x)))
                    checks.expect(ok, "\(isa) \(kind) of \(x): \(got), want \(want)")
                    // The halves of the smallest subnormal round to 0, in PyTorch as here.
                    checks.expect(
                        (got > 0) == (x > 0x1p-149), "\(isa) \(kind) of \(x) fires: \(got)")
                }
                var broken: [Float] = [1, .nan, 2]
                csimd_activate(kind, &broken, 1, 3, nil)
                checks.expect(
                    broken[1].isNaN && !broken[0].isNaN && !broken[2].isNaN, "\(isa) \(kind)")
            }
        }
        checks.report()
    }

    /// The intervention, then what is counted, then the product; whatever the number of threads.
    @Test(arguments: [Int32(1), 2, 3]) func siteSeesChangedValues(threads: Int32) {
        var checks = Checks()
        forEachISA(threads: threads) { isa in
            var numbers = SeededRandom(seed: 6)
            for n in [1, 7, 16, 33, 100, 511, 512, 513, 1100] {
                for kind in Self.kinds {
                    let tokens = 9
                    let x = numbers.floats(tokens * n, in: -4...4)
                    let up = numbers.floats(tokens * n)
                    var scales = [Float](repeating: 1, count: n)
                    var shifts = [Float](repeating: -0.0, count: n)
                    for i in 0..<n {
                        switch numbers.next() % 5 {
                        case 0: (scales[i], shifts[i]) = (0, 0)
                        case 1: (scales[i], shifts[i]) = (0, numbers.floats(1)[0])
                        case 2: (scales[i], shifts[i]) = (-0.5, numbers.floats(1)[0])
                        default: break
                        }
                    }
                    var plain = x
                    csimd_activate(kind, &plain, tokens, n, nil)

                    var counts = (0..<n).map { Int64($0) << 33 }
                    var sums = [Double](repeating: 0.5, count: n)
                    var squares = sums
                    var maxima = [Float](repeating: -0.25, count: n)
                    var (wantCounts, wantSums, wantSquares, wantMaxima) =
                        (counts, sums, squares, maxima)
                    let width = (n + 7) / 8
                    var fired = [UInt8](repeating: 0xa5, count: tokens * width)
                    var wantFired = [UInt8](repeating: 0, count: tokens * width)
                    var want = plain
                    for t in 0..<tokens {
                        for i in 0..<n {
                            let value =
                                scales[i] == 0
                                ? shifts[i] : shifts[i].addingProduct(scales[i], plain[t * n + i])
                            wantCounts[i] += value > 0 ? 1 : 0
                            if value > 0 { wantFired[t * width + i / 8] |= 1 << (i % 8) }
                            wantSums[i] += Double(value)
                            wantSquares[i] += Double(value) * Double(value)
                            wantMaxima[i] = max(wantMaxima[i], value)
                            want[t * n + i] = value * up[t * n + i]
                        }
                    }
                    let wantValues = plain.indices.map { index in
                        let i = index % n
                        return scales[i] == 0
                            ? shifts[i] : shifts[i].addingProduct(scales[i], plain[index])
                    }
                    var values = [Float](repeating: .nan, count: tokens * n)
                    var gate = x
                    func activate(
                        _ mark: UnsafeMutablePointer<UInt8>?,
                        values: UnsafeMutablePointer<Float>? = nil
                    ) {
                        var site = csimd_site()
                        scales.withUnsafeBufferPointer { scales in
                            shifts.withUnsafeBufferPointer { shifts in
                                site.scale = scales.baseAddress
                                site.shift = shifts.baseAddress
                                withUnsafeMutablePointers(&counts, &sums, &squares, &maxima) {
                                    (site.counts, site.sums, site.squares, site.maxima) =
                                        ($0, $1, $2, $3)
                                    site.fired = mark
                                    site.values = values
                                    csimd_activate_gated(kind, &gate, up, tokens, n, &site)
                                }
                            }
                        }
                    }
                    activate(nil)
                    checks.expect(gate.bits == want.bits, "\(isa) \(kind) n \(n)")
                    checks.expect(counts == wantCounts, "\(isa) \(kind) n \(n)")
                    checks.expect(sums == wantSums, "\(isa) \(kind) n \(n)")
                    checks.expect(squares == wantSquares, "\(isa) \(kind) n \(n)")
                    checks.expect(maxima == wantMaxima, "\(isa) \(kind) n \(n)")

                    // The same with a bit for every neuron and token.
                    gate = x
                    fired.withUnsafeMutableBufferPointer { activate($0.baseAddress) }
                    let once = (0..<n).map { wantCounts[$0] - (Int64($0) << 33) }
                    checks.expect(gate.bits == want.bits, "\(isa) \(kind) n \(n)")
                    checks.expect(
                        counts == zip(wantCounts, once).map { $0 + $1 }, "\(isa) \(kind) n \(n)")
                    checks.expect(fired == wantFired, "\(isa) \(kind) n \(n)")

                    // And with the values themselves, with and without the bits.
                    for marks in [false, true] {
                        gate = x
                        values = values.map { _ in .nan }
                        values.withUnsafeMutableBufferPointer { values in
                            fired.withUnsafeMutableBufferPointer {
                                activate(
                                    marks ? $0.baseAddress : nil, values: values.baseAddress)
                            }
                        }
                        checks.expect(gate.bits == want.bits, "\(isa) \(kind) n \(n)")
                        checks.expect(values.bits == wantValues.bits, "\(isa) \(kind) n \(n)")
                    }
                }
            }
        }
        checks.report()
    }

    /// Off is 0 whatever the activation, not a number included, and a neuron that is left alone keeps
    /// every bit, the sign of zero included.
    @Test func offIsZeroAndTheRestIsLeftAlone() {
        var checks = Checks()
        forEachISA(threads: 1) { isa in
            for kind in Self.kinds {
                let inputs: [Float] = [.nan, .infinity, -.infinity, -0.0, 0, -200, 0x1p-130, 3, -3]
                let x = Array(repeatElement(inputs, count: 5).joined())
                var plain = x
                csimd_activate(kind, &plain, 1, x.count, nil)
                for (scale, shift) in [(Float(0), Float(0)), (1, -0.0)] {
                    var y = x
                    [Float](repeating: scale, count: x.count).withUnsafeBufferPointer { scales in
                        [Float](repeating: shift, count: x.count).withUnsafeBufferPointer {
                            var site = csimd_site()
                            site.scale = scales.baseAddress
                            site.shift = $0.baseAddress
                            csimd_activate(kind, &y, 1, x.count, &site)
                        }
                    }
                    for (before, after) in zip(plain, y) {
                        let want = scale == 0 ? 0 : before
                        checks.expect(
                            after.bitPattern == want.bitPattern || (after.isNaN && want.isNaN),
                            "\(isa) \(kind): \(before) became \(after)")
                    }
                }
            }
        }
        checks.report()
    }
}

/// The places of four arrays at once.
private func withUnsafeMutablePointers(
    _ a: inout [Int64], _ b: inout [Double], _ c: inout [Double], _ d: inout [Float],
    _ body: (
        UnsafeMutablePointer<Int64>?, UnsafeMutablePointer<Double>?, UnsafeMutablePointer<Double>?,
        UnsafeMutablePointer<Float>?
    ) -> Void
) {
    a.withUnsafeMutableBufferPointer { a in
        b.withUnsafeMutableBufferPointer { b in
            c.withUnsafeMutableBufferPointer { c in
                d.withUnsafeMutableBufferPointer { d in
                    body(a.baseAddress, b.baseAddress, c.baseAddress, d.baseAddress)
                }
            }
        }
    }
}
