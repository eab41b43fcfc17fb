import CSIMD
import Foundation
import MMQBase

/// The language model: LLaMA decoder layers, final norm and head, over embeddings.
///
/// Weights come from a `llama` GGUF: the rows of Q and K are permuted there, so that rotary pairs
/// lie side by side.
final class LlamaDecoder {
    struct Layer {
        let attentionNorm: UnsafePointer<Float>
        let query: Linear
        let key: Linear
        let value: Linear
        let output: Linear
        let mlpNorm: UnsafePointer<Float>
        let mlp: GatedFeedForward
    }

    let hiddenSize: Int
    let heads: Int
    let kvHeads: Int
    let headDim: Int
    let epsilon: Float
    let layers: [Layer]
    let finalNorm: UnsafePointer<Float>
    /// [vocabulary, hidden].
    let embedding: csimd_matrix
    let head: Linear
    /// 1 / theta^(2i/d), i in 0 ..< head dim / 2, rounded step by step as transformers does in f32.
    private let inverseFrequencies: [Float]

    init(
        hiddenSize: Int, heads: Int, kvHeads: Int, headDim: Int, epsilon: Float, ropeTheta: Double,
        layers: [Layer], finalNorm: UnsafePointer<Float>, embedding: csimd_matrix, head: Linear
    ) {
        self.hiddenSize = hiddenSize
        self.heads = heads
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.epsilon = epsilon
        self.layers = layers
        self.finalNorm = finalNorm
        self.embedding = embedding
        self.head = head
        inverseFrequencies = stride(from: 0, to: headDim, by: 2).map {
            1 / Float(pow(ropeTheta, Double(Float($0) / Float(headDim))))
        }
    }

    /// Rows of the embedding table and of the head.
    var vocabularySize: Int { embedding.rows }

    /// An empty cache for `capacity` positions.
    func makeCache(capacity: Int) throws -> KVCache {
        try KVCache(layers: layers.count, kvHeads: kvHeads, headDim: headDim, capacity: capacity)
    }

    /// Writes the embedding of a token, [hidden].
    ///
    /// - Precondition: 0 <= token < vocabularySize.
    func embed(_ token: Int32, to y: UnsafeMutablePointer<Float>) {
        precondition(token >= 0 && Int(token) < vocabularySize, "token \(token)")
        let rowBytes = csimd_row_bytes(embedding.type, embedding.cols)
        csimd_dequantize_row(
            embedding.type, embedding.data + Int(token) * rowBytes, y, embedding.cols)
    }

    /// [positions, head dim]: cosines, then sines.
    private func writeAngles(of positions: [Int], to table: UnsafeMutablePointer<Float>) {
        let half = headDim / 2
        for (row, position) in positions.enumerated() {
            for i in 0..<half {
                let angle = Float(position) * inverseFrequencies[i]
                table[row * headDim + i] = cos(angle)
                table[row * headDim + half + i] = sin(angle)
            }
        }
    }

    /// One pass over a whole sequence, in place over x [tokens, hidden]; x ends as the output of
    /// the last layer, before the final norm. Attention sees keys and values in f32; a cache, if
    /// given, gets them in f16 for decoding.
    ///
    /// - Parameters:
    ///   - partial: called with the index of each layer and what its attention, then its MLP adds to
    ///     x, [tokens, hidden].
    ///   - after: called with the index of each layer when x holds its output.
    func prefill(
        _ x: UnsafeMutablePointer<Float>, tokens: Int, cache: KVCache?, sites: ModuleSites,
        workspace: Workspace, partial: LayerPart.Observer? = nil,
        after: (Int) throws -> Void = { _ in }
    ) throws {
        precondition(cache?.count ?? 0 == 0, "a prefill starts with an empty cache")
        let angles = workspace.floats(.cosSin, tokens * headDim)
        writeAngles(of: Array(0..<tokens), to: angles)
        workspace.stages?.did(.rope)
        let rows = [RowSites(rows: 0..<tokens, sites: sites)]
        for index in layers.indices {
            try run(
                layer: index, x, tokens: tokens, pairs: tokens * (tokens + 1) / 2, angles: angles,
                rows: rows,
                few: false, workspace: workspace, partial: partial
            ) { query, key, value, attended in
                cache?.store(layer: index, first: 0, tokens: tokens, key: key, value: value)
                func view(_ data: UnsafeMutablePointer<Float>) -> csimd_kv {
                    csimd_kv(
                        type: CSIMD_F32, data: data, sequence_stride: 0,
                        position_stride: kvHeads * headDim, head_stride: headDim)
                }
                var attention = csimd_attention_args(
                    q: query, q_stride: heads * headDim, k: view(key), v: view(value),
                    out: attended, out_stride: heads * headDim, sequences: 1, tokens: tokens,
                    keys: tokens, first_position: 0, heads: heads, kv_heads: kvHeads,
                    head_dim: headDim, scale: 1 / Float(headDim).squareRoot(), causal: true)
                return csimd_attention(&attention)
            }
            try after(index)
        }
        cache?.count = tokens
        sites.saw(tokens: tokens)
    }

    /// One step of several sequences, one new token each: x [sequences, hidden] in place. A
    /// sequence's result does not depend on the others.
    func step(
        _ x: UnsafeMutablePointer<Float>, caches: [KVCache], sites: [ModuleSites],
        workspace: Workspace
    ) throws {
        let sequences = caches.count
        let angles = workspace.floats(.cosSin, sequences * headDim)
        writeAngles(of: caches.map(\.count), to: angles)
        workspace.stages?.did(.rope)
        let pairs = caches.reduce(0) { $0 + $1.count + 1 }
        let rows = sites.enumerated().map { RowSites(rows: $0..<$0 + 1, sites: $1) }
        for index in layers.indices {
            try run(
                layer: index, x, tokens: sequences, pairs: pairs, angles: angles, rows: rows,
                few: true,
                workspace: workspace, partial: nil
            ) { query, key, value, attended in
                let width = kvHeads * headDim
                for (row, cache) in caches.enumerated() {
                    cache.store(
                        layer: index, first: cache.count, tokens: 1, key: key + row * width,
                        value: value + row * width)
                }
                let seen = caches.map {
                    csimd_sequence(
                        k: $0.keys(layer: index), v: $0.values(layer: index), keys: $0.count + 1)
                }
                var attention = csimd_decode_args(
                    q: query, q_stride: heads * headDim, out: attended,
                    out_stride: heads * headDim, sequences: sequences, heads: heads,
                    kv_heads: kvHeads, head_dim: headDim, scale: 1 / Float(headDim).squareRoot())
                return csimd_attention_decode(&attention, seen)
            }
        }
        for (cache, site) in zip(caches, sites) {
            cache.count += 1
            site.saw(tokens: 1)
        }
    }

    private typealias Attend = (
        _ query: UnsafeMutablePointer<Float>, _ key: UnsafeMutablePointer<Float>,
        _ value: UnsafeMutablePointer<Float>, _ attended: UnsafeMutablePointer<Float>
    ) -> Bool

    /// One layer over x [tokens, hidden]; `attend` is what differs between prefill and decoding, and
    /// `pairs` how many positions all queries together see.
    private func run(
        layer index: Int, _ x: UnsafeMutablePointer<Float>, tokens: Int, pairs: Int,
        angles: UnsafePointer<Float>, rows: [RowSites], few: Bool, workspace: Workspace,
        partial: LayerPart.Observer?, attend: Attend
    ) throws {
        let layer = layers[index]
        let queryWidth = heads * headDim
        let keyWidth = kvHeads * headDim
        let normed = workspace.floats(.normed, tokens * hiddenSize)
        let query = workspace.floats(.query, tokens * queryWidth)
        let key = workspace.floats(.key, tokens * keyWidth)
        let value = workspace.floats(.value, tokens * keyWidth)
        let attended = workspace.floats(.attended, tokens * queryWidth)
        let delta = workspace.floats(.delta, tokens * hiddenSize)

        csimd_rms_norm(x, layer.attentionNorm, epsilon, normed, tokens, hiddenSize)
        workspace.stages?.did(.norm, bytes: tokens * hiddenSize * 8)
        let operand = workspace.operand(normed, tokens: tokens, cols: hiddenSize)
        layer.query.apply(operand, to: query, few: few)
        layer.key.apply(operand, to: key, few: few)
        layer.value.apply(operand, to: value, few: few)
        csimd_rope_interleaved(query, angles, tokens, heads, headDim, queryWidth)
        csimd_rope_interleaved(key, angles, tokens, kvHeads, headDim, keyWidth)
        workspace.stages?.did(.rope, bytes: tokens * (queryWidth + keyWidth) * 8)
        guard attend(query, key, value, attended) else {
            throw InputError.outOfMemory("attention of decoder layer \(index)")
        }
        workspace.stages?.did(.attention, operations: pairs * 4 * queryWidth)
        layer.output.apply(
            workspace.operand(attended, tokens: tokens, cols: queryWidth), to: delta, few: few)
        let added = UnsafeBufferPointer(start: delta, count: tokens * hiddenSize)
        try partial?(index, .attention, added)
        csimd_add(x, delta, tokens * hiddenSize)
        workspace.stages?.did(.addition, bytes: tokens * hiddenSize * 12)

        csimd_rms_norm(x, layer.mlpNorm, epsilon, normed, tokens, hiddenSize)
        workspace.stages?.did(.norm, bytes: tokens * hiddenSize * 8)
        layer.mlp.apply(
            normed, tokens: tokens, to: delta, few: few, layer: index, rows: rows,
            workspace: workspace)
        try partial?(index, .mlp, added)
        csimd_add(x, delta, tokens * hiddenSize)
        workspace.stages?.did(.addition, bytes: tokens * hiddenSize * 12)
    }

    /// Logits [tokens, vocabulary] of layer outputs x [tokens, hidden]: head(norm(x)).
    ///
    /// - Parameter few: as in `Linear.apply`.
    func logits(
        _ x: UnsafePointer<Float>, tokens: Int, to y: UnsafeMutablePointer<Float>, few: Bool,
        workspace: Workspace
    ) {
        let normed = workspace.floats(.normed, tokens * hiddenSize)
        csimd_rms_norm(x, finalNorm, epsilon, normed, tokens, hiddenSize)
        workspace.stages?.did(.norm, bytes: tokens * hiddenSize * 8)
        head.apply(
            workspace.operand(normed, tokens: tokens, cols: hiddenSize), to: y, few: few)
    }
}
