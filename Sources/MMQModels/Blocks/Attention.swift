import CSIMD
import MMQBase

/// Attention with its projections: out(softmax(q k^T / sqrt(head dim)) v), head by head. Several
/// heads of queries may share one of keys and values (grouped-query attention).
struct Attention {
    /// Which keys a query sees.
    enum Sight {
        /// All of its sequence: `sequences` of equal length lie one behind the other.
        case all(sequences: Int)
        /// Those at its own position and before it, in one sequence; the cache, if there is one, gets
        /// them in f16. Those that attention sees are in f32.
        case causal(keeping: KVCache.Layer?)
        /// Row i is the next token of a sequence of its own, which lies in `caches[i]`.
        case caches([KVCache.Layer])
    }

    let query: Linear
    let key: Linear
    let value: Linear
    let output: Linear
    let heads: Int
    let kvHeads: Int

    private var headDim: Int { query.outputs / heads }
    private var scale: Float { 1 / Float(headDim).squareRoot() }

    /// What x [tokens, hidden] finds in `memory`, which is x itself if none is given; in `.delta`.
    ///
    /// - Parameter angles: rotary positions of x, where the model has them.
    /// - Throws: `InputError.outOfMemory`.
    func apply(
        _ x: Rows, memory: Rows? = nil, sees sight: Sight, angles: Rows? = nil, _ pass: Pass
    ) throws -> Rows {
        let found = try find(x, memory: memory, sees: sight, angles: angles, pass)
        return output.apply(pass.operand(found), in: .delta)
    }

    /// What `output` takes of that, in `.normed`.
    func find(
        _ x: Rows, memory: Rows? = nil, sees sight: Sight, angles: Rows? = nil, _ pass: Pass
    ) throws -> Rows {
        let (q, k, v) = project(x, memory: memory, pass)
        if let angles { RotaryPositions.turn(q, k, by: angles, pass) }
        let found = pass.rows(.normed, q.count, q.width)
        // Steps read keys and values from memory, and wait for that.
        let steps = if case .caches = sight { true } else { false }
        let rounded =
            !steps && pass.workspace.activations.roundsAttention && query.takesIntegers
            && key.takesIntegers
        guard let pairs = look(q, k, v, sight, rounded: rounded, to: found) else {
            throw InputError.outOfMemory("attention of \(q.count) tokens")
        }
        // A multiplication and an addition for the score, and again for the sum of values.
        // What the caches keep is read for each query anew.
        let bytes = steps ? pairs * k.width * KVCache.valueBytes : 0
        pass.did(.attention(rounded: rounded), operations: pairs * 4 * q.width, bytes: bytes)
        return found
    }

    /// Queries of x, keys and values of `memory` or of x.
    private func project(_ x: Rows, memory: Rows?, _ pass: Pass) -> (q: Rows, k: Rows, v: Rows) {
        let own = pass.operand(x)
        guard let memory else {
            let all = Linear.apply(
                [(query, in: .query), (key, in: .key), (value, in: .value)], own)
            return (all[0], all[1], all[2])
        }
        let q = query.apply(own, in: .query)
        let seen = Linear.apply([(key, in: .key), (value, in: .value)], pass.operand(memory))
        return (q, seen[0], seen[1])
    }

    /// Writes what queries see, [tokens, heads x head dim].
    ///
    /// - Returns: how many pairs of a query and a key there were; nil if out of memory.
    private func look(
        _ q: Rows, _ k: Rows, _ v: Rows, _ sight: Sight, rounded: Bool, to found: Rows
    ) -> Int? {
        switch sight {
        case .all(let sequences):
            let isDone = look(
                q, k, v, sequences: sequences, causal: false, rounded: rounded, to: found)
            return isDone ? q.count * (k.count / sequences) : nil
        case .causal(let cache):
            cache?.store(k, v)
            let isDone = look(q, k, v, sequences: 1, causal: true, rounded: rounded, to: found)
            return isDone ? q.count * (q.count + 1) / 2 : nil
        case .caches(let caches):
            for (row, cache) in caches.enumerated() {
                cache.store(k[row..<row + 1], v[row..<row + 1])
            }
            let seen = caches.map { csimd_sequence(k: $0.keys, v: $0.values, keys: $0.count + 1) }
            var arguments = csimd_decode_args(
                q: q.data, q_stride: q.width, out: found.data, out_stride: found.width,
                sequences: q.count, heads: heads, kv_heads: kvHeads, head_dim: headDim,
                scale: scale)
            let isDone = csimd_attention_decode(&arguments, seen)
            return isDone ? seen.reduce(0) { $0 + $1.keys } : nil
        }
    }

    /// The same over whole sequences; false if out of memory.
    private func look(
        _ q: Rows, _ k: Rows, _ v: Rows, sequences: Int, causal: Bool, rounded: Bool,
        to found: Rows
    ) -> Bool {
        let keys = k.count / sequences
        func view(_ rows: Rows) -> csimd_kv {
            csimd_kv(
                type: CSIMD_F32, data: rows.data, sequence_stride: keys * rows.width,
                position_stride: rows.width, head_stride: headDim)
        }
        var arguments = csimd_attention_args(
            q: q.data, q_stride: q.width, k: view(k), v: view(v), out: found.data,
            out_stride: found.width, sequences: sequences, tokens: q.count / sequences,
            keys: keys, first_position: 0, heads: heads, kv_heads: kvHeads, head_dim: headDim,
            scale: scale, causal: causal, rounded: rounded)
        return csimd_attention(&arguments)
    }
}
