import CSIMD
import Foundation
import Support
import Testing

/// One attention problem with repeatable inputs; keys and values as f32 or f16.
struct AttentionProblem: CustomTestStringConvertible {
    var sequences = 1
    var tokens: Int
    var keys: Int
    var heads: Int
    var kvHeads: Int
    var headDim: Int
    var type = CSIMD_F32
    var causal = true
    var rounded = false

    var q: [Float] = []
    var k: [Float] = []  // [sequences, keys, kvHeads, headDim], exact in `type`
    var v: [Float] = []
    private var kHalf: [UInt16] = []
    private var vHalf: [UInt16] = []

    init(
        sequences: Int = 1, tokens: Int, keys: Int, heads: Int, kvHeads: Int, headDim: Int,
        type: csimd_type = CSIMD_F32, causal: Bool = true, spread: Float = 1,
        rounded: Bool = false
    ) {
        self.sequences = sequences
        (self.tokens, self.keys) = (tokens, keys)
        (self.heads, self.kvHeads, self.headDim) = (heads, kvHeads, headDim)
        (self.type, self.causal, self.rounded) = (type, causal, rounded)
        var numbers = SeededRandom(seed: UInt64(tokens * 31 + keys * 7 + headDim + heads))
        q = numbers.floats(sequences * tokens * heads * headDim, in: -spread...spread)
        k = numbers.floats(sequences * keys * kvHeads * headDim, in: -spread...spread)
        v = numbers.floats(sequences * keys * kvHeads * headDim)
        if type == CSIMD_F16 {
            kHalf = k.map { Float16($0).bitPattern }
            vHalf = v.map { Float16($0).bitPattern }
            k = kHalf.map { Float(Float16(bitPattern: $0)) }
            v = vHalf.map { Float(Float16(bitPattern: $0)) }
        }
    }

    var testDescription: String {
        "\(sequences) x \(tokens) queries, \(keys) keys, \(heads)/\(kvHeads) heads of \(headDim), "
            + "\(type == CSIMD_F16 ? "f16" : "f32"), \(causal ? "causal" : "full")"
            + (rounded ? ", rounded" : "")
    }

    var scale: Float { 1 / Float(headDim).squareRoot() }
    private var keyStride: Int { kvHeads * headDim }

    private func withKV<Result>(_ body: (csimd_kv, csimd_kv) -> Result) -> Result {
        func view(_ data: UnsafeRawPointer?) -> csimd_kv {
            csimd_kv(
                type: type, data: data, sequence_stride: keys * keyStride,
                position_stride: keyStride, head_stride: headDim)
        }
        let half = type == CSIMD_F16
        return (half ? kHalf.asBytes : k.asBytes).withUnsafeBytes { kBytes in
            (half ? vHalf.asBytes : v.asBytes).withUnsafeBytes { vBytes in
                body(view(kBytes.baseAddress), view(vBytes.baseAddress))
            }
        }
    }

    /// csimd_attention over queries in calls of at most `chunk` (causal: each call sees only the
    /// keys that exist by then, the rest is NaN to it).
    func run(chunk: Int? = nil) -> [Float] {
        let row = heads * headDim
        let outStride = row + 5
        var out = [Float](repeating: .nan, count: sequences * tokens * outStride)
        let step = chunk ?? tokens
        precondition(sequences == 1 || step == tokens)
        for first in stride(from: 0, to: tokens, by: step) {
            let count = min(step, tokens - first)
            let seen = causal && step < tokens ? keys - tokens + first + count : keys
            let ok = withKV { k, v in
                q.withUnsafeBufferPointer { q in
                    out.withUnsafeMutableBufferPointer { out in
                        guard let q = q.baseAddress, let out = out.baseAddress else { return false }
                        var arguments = csimd_attention_args(
                            q: q + first * row, q_stride: row, k: k, v: v,
                            out: out + first * outStride, out_stride: outStride,
                            sequences: sequences, tokens: count, keys: seen,
                            first_position: keys - tokens + first, heads: heads,
                            kv_heads: kvHeads, head_dim: headDim, scale: scale, causal: causal,
                            rounded: rounded)
                        return csimd_attention(&arguments)
                    }
                }
            }
            #expect(ok)
        }
        for r in 0..<sequences * tokens {
            #expect(out[r * outStride + row..<(r + 1) * outStride].allSatisfy { $0.isNaN })
        }
        return (0..<sequences * tokens).flatMap { out[$0 * outStride..<$0 * outStride + row] }
    }

    /// csimd_attention_decode for the last query of every sequence.
    func decode(keys counts: [Int]) -> [Float] {
        let row = heads * headDim
        let queries = (0..<sequences).flatMap { s -> ArraySlice<Float> in
            let at = (s * tokens + tokens - 1) * row
            return q[at..<at + row]
        }
        var out = [Float](repeating: .nan, count: sequences * row)
        let ok = withKV { k, v in
            let size = type == CSIMD_F16 ? 2 : 4
            func view(_ kv: csimd_kv, _ sequence: Int) -> csimd_kv {
                var view = kv
                view.data = kv.data + sequence * kv.sequence_stride * size
                return view
            }
            let seen = counts.indices.map {
                csimd_sequence(k: view(k, $0), v: view(v, $0), keys: counts[$0])
            }
            return queries.withUnsafeBufferPointer { queries in
                out.withUnsafeMutableBufferPointer { out in
                    var arguments = csimd_decode_args(
                        q: queries.baseAddress, q_stride: row, out: out.baseAddress,
                        out_stride: row, sequences: sequences, heads: heads, kv_heads: kvHeads,
                        head_dim: headDim, scale: scale)
                    return csimd_attention_decode(&arguments, seen)
                }
            }
        }
        #expect(ok)
        return out
    }

    /// Attention of one query in f64, and how far f32 arithmetic may be from it: every product and
    /// sum rounded once per step, softmax carrying the scores' errors over. Where factors are rounded,
    /// of the rounded ones, and each weight may be off by half a step of bf16 more.
    func exact(sequence: Int, token: Int, head: Int, keys count: Int) -> (
        values: [Double], bounds: [Double]
    ) {
        let query = ((sequence * tokens + token) * heads + head) * headDim
        let kvHead = head / (heads / kvHeads)
        func row(_ key: Int) -> Int { ((sequence * keys + key) * kvHeads + kvHead) * headDim }
        var scores: [Double] = []
        var worst = 0.0
        for key in 0..<count {
            var (sum, size) = (0.0, 0.0)
            for i in 0..<headDim {
                let product =
                    rounded
                    ? Double(bf16(q[query + i] * scale)) * Double(bf16(k[row(key) + i]))
                    : Double(q[query + i]) * Double(k[row(key) + i]) * Double(scale)
                sum += product
                size += abs(product)
            }
            scores.append(sum)
            worst = max(worst, size * Double(headDim + 4) * roundingError)
        }
        let highest = scores.max() ?? 0
        let weights = scores.map { exp($0 - highest) }
        let total = weights.reduce(0, +)
        // exp: 2 steps and the rounded shift; sums over keys: a rounding per key.
        let spread = (scores.map { abs($0 - highest) }.max() ?? 0) * roundingError
        let relative =
            2 * (worst + spread) + Double(count + 40) * roundingError + (rounded ? 0x1p-8 : 0)
        var values = [Double](repeating: 0, count: headDim)
        var bounds = values
        for key in 0..<count {
            for i in 0..<headDim {
                let value = v[row(key) + i]
                let part = weights[key] / total * Double(rounded ? bf16(value) : value)
                values[i] += part
                bounds[i] += abs(part) * relative
            }
        }
        return (values, bounds)
    }
}

/// The nearest bf16, ties to even.
private func bf16(_ x: Float) -> Float {
    var half: UInt16 = 0
    csimd_f32_to_bf16([x], &half, 1)
    return Float(bitPattern: UInt32(half) << 16)
}

extension Array {
    fileprivate var asBytes: [UInt8] { withUnsafeBytes { Array<UInt8>($0) } }
}

@Suite struct AttentionTests {
    static let problems: [AttentionProblem] = [
        // Causal from the start; sizes around the tiles of 128 keys and blocks of 48 queries.
        .init(tokens: 1, keys: 1, heads: 2, kvHeads: 2, headDim: 8),
        .init(tokens: 17, keys: 17, heads: 4, kvHeads: 2, headDim: 16),
        .init(tokens: 50, keys: 50, heads: 4, kvHeads: 1, headDim: 24, type: CSIMD_F16),
        .init(tokens: 129, keys: 129, heads: 2, kvHeads: 2, headDim: 128, type: CSIMD_F16),
        .init(tokens: 300, keys: 300, heads: 4, kvHeads: 2, headDim: 32),
        // Causal, behind keys of an earlier call.
        .init(tokens: 5, keys: 133, heads: 2, kvHeads: 1, headDim: 64),
        .init(tokens: 60, keys: 317, heads: 2, kvHeads: 2, headDim: 40, type: CSIMD_F16),
        // Full: vision towers (odd head dims), Q-Former (queries and keys differ), several pictures.
        .init(
            sequences: 3, tokens: 50, keys: 50, heads: 2, kvHeads: 2, headDim: 88, causal: false),
        .init(
            sequences: 2, tokens: 32, keys: 257, heads: 3, kvHeads: 3, headDim: 20, causal: false),
        .init(tokens: 260, keys: 260, heads: 2, kvHeads: 2, headDim: 7, causal: false, spread: 6),
        // Factors in bf16: odd numbers of keys and channels, a head of fewer words than a register.
        .init(tokens: 1, keys: 1, heads: 2, kvHeads: 2, headDim: 8, rounded: true),
        .init(tokens: 129, keys: 129, heads: 4, kvHeads: 2, headDim: 128, rounded: true),
        .init(
            tokens: 60, keys: 317, heads: 2, kvHeads: 2, headDim: 40, type: CSIMD_F16, rounded: true
        ),
        .init(
            sequences: 2, tokens: 50, keys: 51, heads: 2, kvHeads: 2, headDim: 7, causal: false,
            spread: 2, rounded: true),
        .init(
            sequences: 2, tokens: 32, keys: 257, heads: 3, kvHeads: 3, headDim: 64, causal: false,
            rounded: true),
    ]

    @Test(arguments: problems) func agreesWithDoubles(_ problem: AttentionProblem) {
        var checks = Checks()
        forEachISA(threads: 2) { isa in
            let out = problem.run()
            let (tokens, headDim) = (problem.tokens, problem.headDim)
            for s in 0..<problem.sequences {
                for t in stride(from: 0, to: tokens, by: tokens > 100 ? 7 : 1) {
                    for h in 0..<problem.heads {
                        let seen = problem.causal ? problem.keys - tokens + t + 1 : problem.keys
                        let want = problem.exact(sequence: s, token: t, head: h, keys: seen)
                        let at = ((s * tokens + t) * problem.heads + h) * headDim
                        for i in 0..<headDim {
                            let error = abs(Double(out[at + i]) - want.values[i])
                            checks.expect(
                                error <= want.bounds[i],
                                "\(isa) sequence \(s) token \(t) head \(h) at \(i): \(error)")
                        }
                    }
                }
            }
        }
        checks.report()
    }

    /// One prefill of 800 tokens (two tasks a head), or several: the same bytes, on any number of
    /// threads.
    @Test(arguments: [(4, 4, CSIMD_F32, false), (6, 2, CSIMD_F16, false), (6, 2, CSIMD_F32, true)])
    func splitsAndThreadsDoNotShow(heads: Int, kvHeads: Int, type: csimd_type, rounded: Bool) {
        var checks = Checks()
        let problem = AttentionProblem(
            tokens: 800, keys: 800, heads: heads, kvHeads: kvHeads, headDim: 24, type: type,
            spread: 3, rounded: rounded)
        for isa in supportedISAs {
            let whole = withKernels(isa: isa, threads: 1) { problem.run() }
            for (chunk, threads) in [(800, 2), (800, 3), (499, 1), (128, 2), (100, 3), (37, 1)] {
                let parts = withKernels(isa: isa, threads: Int32(threads)) {
                    problem.run(chunk: chunk)
                }
                checks.expect(parts.bits == whole.bits, "\(isa) chunk \(chunk) threads \(threads)")
            }
        }
        checks.report()
    }

    @Test(arguments: [
        (keys: [1, 1], heads: 2, kvHeads: 2, headDim: 8, type: CSIMD_F16),
        (keys: [40, 7], heads: 4, kvHeads: 2, headDim: 24, type: CSIMD_F32),
        (keys: [512, 513], heads: 4, kvHeads: 1, headDim: 88, type: CSIMD_F16),
        (keys: [3, 1400], heads: 2, kvHeads: 2, headDim: 128, type: CSIMD_F16),
        // Bands of heads that end short, whatever the number of threads.
        (keys: [70, 9], heads: 40, kvHeads: 20, headDim: 24, type: CSIMD_F16),
    ])
    func decodeAgreesWithDoubles(
        keys: [Int], heads: Int, kvHeads: Int, headDim: Int, type: csimd_type
    ) {
        var checks = Checks()
        let problem = AttentionProblem(
            sequences: keys.count, tokens: 1, keys: keys.max() ?? 0, heads: heads, kvHeads: kvHeads,
            headDim: headDim, type: type)
        for isa in supportedISAs {
            let out = withKernels(isa: isa, threads: 1) { problem.decode(keys: keys) }
            for threads in [Int32(2), 3] {
                let again = withKernels(isa: isa, threads: threads) { problem.decode(keys: keys) }
                checks.expect(again.bits == out.bits, "\(isa) threads \(threads)")
            }
            for (s, count) in keys.enumerated() {
                for h in 0..<heads {
                    let want = problem.exact(sequence: s, token: 0, head: h, keys: count)
                    for i in 0..<headDim {
                        let error = abs(Double(out[(s * heads + h) * headDim + i]) - want.values[i])
                        checks.expect(
                            error <= want.bounds[i],
                            "\(isa) sequence \(s) head \(h) at \(i): \(error)")
                    }
                }
            }
        }
        checks.report()
    }

    /// What other sequences hold does not show in a sequence's result.
    @Test func decodeKeepsSequencesApart() {
        var checks = Checks()
        let problem = AttentionProblem(
            sequences: 2, tokens: 1, keys: 700, heads: 2, kvHeads: 1, headDim: 16, type: CSIMD_F16)
        forEachISA(threads: 2) { isa in
            let row = 2 * 16
            let both = problem.decode(keys: [90, 700])
            let other = problem.decode(keys: [90, 3])
            checks.expect(
                both[0..<row].map(\.bitPattern) == other[0..<row].map(\.bitPattern), "\(isa)")
            checks.expect(
                both[row...].map(\.bitPattern) != other[row...].map(\.bitPattern), "\(isa)")
        }
        checks.report()
    }
}
