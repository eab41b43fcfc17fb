import CSIMD
import MMQBase

/// The language model: LLaMA decoder layers, final norm and head, over embeddings.
///
/// Weights come from a `llama` GGUF: the rows of Q and K are permuted there, so that rotary pairs
/// lie side by side.
final class LlamaDecoder {
    struct Layer {
        let attentionNorm: Norm
        let attention: Attention
        let mlpNorm: Norm
        let mlp: GatedFeedForward
    }

    let hiddenSize: Int
    let kvHeads: Int
    let layers: [Layer]
    let finalNorm: Norm
    /// [vocabulary, hidden].
    let embedding: csimd_matrix
    let head: Linear
    let rotary: RotaryPositions

    init(
        hiddenSize: Int, kvHeads: Int, rotary: RotaryPositions, layers: [Layer], finalNorm: Norm,
        embedding: csimd_matrix, head: Linear
    ) {
        self.hiddenSize = hiddenSize
        self.kvHeads = kvHeads
        self.rotary = rotary
        self.layers = layers
        self.finalNorm = finalNorm
        self.embedding = embedding
        self.head = head
    }

    /// Rows of the embedding table and of the head.
    var vocabularySize: Int { embedding.rows }

    /// An empty cache for `capacity` positions.
    func makeCache(capacity: Int) throws -> KVCache {
        try KVCache(
            layers: layers.count, kvHeads: kvHeads, headDim: rotary.headDim, capacity: capacity)
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

    /// One pass over a whole sequence, in place over x [tokens, hidden]; x ends as the output of
    /// the last layer, before the final norm. Attention sees keys and values in f32; a cache, if
    /// given, gets them in f16 for decoding.
    ///
    /// - Parameters:
    ///   - module: the decoder's place in the model's list of modules.
    ///   - partial: called with the index of each layer and what its attention, then its MLP adds to
    ///     x, [tokens, hidden].
    ///   - after: called with the index of each layer when x holds its output.
    func prefill(
        _ x: Rows, cache: KVCache?, module: Int, _ pass: Pass,
        partial: LayerPart.Observer? = nil, after: (Int) throws -> Void = { _ in }
    ) throws {
        precondition(cache?.count ?? 0 == 0, "a prefill starts with an empty cache")
        let angles = rotary.angles(of: 0..<x.count, pass)
        for index in layers.indices {
            try run(
                Site(module: module, layer: index), x, sees: .causal(keeping: cache?[index]),
                angles: angles, pass, partial: partial)
            try after(index)
        }
        cache?.count = x.count
        pass.saw(tokens: x.count, module: module)
    }

    /// One step of several sequences, one new token each: x [sequences, hidden] in place. A
    /// sequence's result does not depend on the others.
    func step(_ x: Rows, caches: [KVCache], module: Int, _ pass: Pass) throws {
        let angles = rotary.angles(of: caches.map(\.count), pass)
        for index in layers.indices {
            try run(
                Site(module: module, layer: index), x, sees: .caches(caches.map { $0[index] }),
                angles: angles, pass)
        }
        for cache in caches { cache.count += 1 }
        pass.saw(tokens: x.count, module: module)
    }

    /// One layer, in place over x [tokens, hidden].
    private func run(
        _ site: Site, _ x: Rows, sees sight: Attention.Sight, angles: Rows, _ pass: Pass,
        partial: LayerPart.Observer? = nil
    ) throws {
        let layer = layers[site.layer]
        var normed = layer.attentionNorm.apply(x, pass)
        var added = try layer.attention.apply(normed, sees: sight, angles: angles, pass)
        try partial?(site.layer, .attention, added.values)
        pass.add(added, to: x)
        normed = layer.mlpNorm.apply(x, pass)
        added = layer.mlp.apply(normed, at: site, pass)
        try partial?(site.layer, .mlp, added.values)
        pass.add(added, to: x)
    }

    /// Logits [tokens, vocabulary] of layer outputs x [tokens, hidden]: head(norm(x)).
    func logits(_ x: Rows, to y: UnsafeMutablePointer<Float>, _ pass: Pass) {
        let normed = finalNorm.apply(x, pass)
        head.apply(pass.operand(normed), to: Rows(y, count: x.count, width: head.outputs))
    }
}
