import CSIMD

/// InstructBLIP's Q-Former: a BERT encoder over queries and instruction text together. Attention
/// runs over both; only the queries look at the picture, and each kind has an MLP of its own.
struct QFormer {
    /// A block with the norm behind it: norm(x + block(x)).
    struct Normed<Block> {
        let block: Block
        let norm: Norm
    }
    struct Layer {
        let attention: Normed<Attention>
        let crossAttention: Normed<Attention>?
        let text: Normed<FeedForward>
        let query: Normed<FeedForward>
    }
    /// The branches' places in the model's list of modules.
    struct Modules {
        let query: Int
        let text: Int
    }

    let hiddenSize: Int
    let queryTokens: Int
    /// Most text tokens that have a position.
    let contextLength: Int
    private let layers: [Layer]
    private let queries: UnsafePointer<Float>
    private let words: UnsafePointer<Float>
    private let positions: UnsafePointer<Float>
    private let embeddingNorm: Norm

    init(weights: Weights, config: InstructBLIPConfig) throws {
        let qformer = config.qformer
        hiddenSize = qformer.hiddenSize
        queryTokens = config.queryTokens
        contextLength = qformer.contextLength
        queries = try weights.vector("q.query_embd")
        words = try weights.vector("q.token_embd.weight")
        positions = try weights.vector("q.position_embd.weight")
        let epsilon = qformer.normEpsilon
        embeddingNorm = try weights.norm("q.embd_ln", epsilon: epsilon)
        layers = try (0..<qformer.layers).map { index in
            func attention(_ name: String) throws -> Normed<Attention> {
                let name = "q.blk.\(index)." + name
                return Normed(
                    block: try weights.attention(
                        name, output: "_out", heads: qformer.heads, kvHeads: qformer.heads),
                    norm: try weights.norm(name + "_ln", epsilon: epsilon))
            }
            func mlp(_ name: String) throws -> Normed<FeedForward> {
                let name = "q.blk.\(index)." + name
                return Normed(
                    block: FeedForward(
                        up: try weights.linear(name + "_up"),
                        down: try weights.linear(name + "_down"),
                        activation: qformer.activation.kernel),
                    norm: try weights.norm(name + "_ln", epsilon: epsilon))
            }
            return Layer(
                attention: try attention("attn"),
                crossAttention: qformer.hasCrossAttention(index)
                    ? try attention("cross_attn") : nil,
                text: try mlp("ffn"), query: try mlp("query_ffn"))
        }
    }

    /// The queries' outputs [query tokens, hidden], in `.queries`. While counting, the last text MLP
    /// runs too, although nobody uses its output.
    ///
    /// - Parameters:
    ///   - memory: the picture's embeddings [memory tokens, width of the tower].
    ///   - text: the instruction's ids, each within the vocabulary, at most `contextLength`.
    func run(memory: Rows, text: [Int32], modules: Modules, _ pass: Pass) throws -> Rows {
        let x = embed(text, pass)
        let queryRows = x[0..<queryTokens]
        let textRows = x[queryTokens..<x.count]
        for (index, layer) in layers.enumerated() {
            try attend(layer.attention, x, pass)
            if let cross = layer.crossAttention {
                try attend(cross, queryRows, memory: memory, pass)
            }
            apply(layer.query, queryRows, at: Site(module: modules.query, layer: index), pass)
            if pass.needsAllLayers || index + 1 < layers.count {
                apply(layer.text, textRows, at: Site(module: modules.text, layer: index), pass)
            }
        }
        pass.saw(tokens: queryRows.count, module: modules.query)
        pass.saw(tokens: textRows.count, module: modules.text)
        return queryRows
    }

    /// Queries, then the text's words at their positions, normalized: [rows, hidden].
    private func embed(_ text: [Int32], _ pass: Pass) -> Rows {
        let x = pass.rows(.queries, queryTokens + text.count, hiddenSize)
        x.data.update(from: queries, count: queryTokens * hiddenSize)
        for (index, id) in text.enumerated() {
            let row = x[queryTokens + index]
            row.update(from: words + Int(id) * hiddenSize, count: hiddenSize)
            csimd_add(row, positions + index * hiddenSize, hiddenSize)
        }
        pass.did(.embedding)
        embeddingNorm.apply(x, to: x, pass)
        return x
    }

    /// x = norm(x + attention(x, memory)), x [tokens, hidden].
    private func attend(
        _ layer: Normed<Attention>, _ x: Rows, memory: Rows? = nil, _ pass: Pass
    ) throws {
        let found = try layer.block.apply(x, memory: memory, sees: .all(sequences: 1), pass)
        layer.norm.add(found, to: x, pass)
    }

    /// x = norm(x + mlp(x)), x [tokens, hidden].
    private func apply(_ layer: Normed<FeedForward>, _ x: Rows, at site: Site, _ pass: Pass) {
        layer.norm.add(layer.block.apply(x, at: site, pass), to: x, pass)
    }
}
