/// The encoder of a vision tower: pre-norm transformer layers over whole pictures, attention
/// unmasked. CLIP's and EVA's differ in data only.
struct ViTEncoder {
    struct Layer {
        let attentionNorm: Norm
        let attention: Attention
        let mlpNorm: Norm
        let mlp: FeedForward
    }

    let hiddenSize: Int
    let layers: [Layer]

    /// Runs layers in place over x [images x tokens, hidden].
    ///
    /// - Parameters:
    ///   - module: the tower's place in the model's list of modules.
    ///   - after: called with the index of each layer when x holds its output.
    func run(
        _ x: Rows, images: Int, layers range: Range<Int>, module: Int, _ pass: Pass,
        after: (Int) throws -> Void = { _ in }
    ) throws {
        for index in range {
            try run(Site(module: module, layer: index), x, images: images, pass)
            try after(index)
        }
        pass.saw(tokens: range.isEmpty ? 0 : x.count, module: module)
    }

    /// One layer, in place.
    private func run(_ site: Site, _ x: Rows, images: Int, _ pass: Pass) throws {
        let layer = layers[site.layer]
        var normed = layer.attentionNorm.apply(x, pass)
        var added = try layer.attention.apply(normed, sees: .all(sequences: images), pass)
        pass.add(added, to: x)
        normed = layer.mlpNorm.apply(x, pass)
        added = layer.mlp.apply(normed, at: site, pass)
        pass.add(added, to: x)
    }
}

extension ViTEncoder {
    /// The encoder layers of a vision tower, `v.blk.N`.
    init(weights: Weights, config: VisionTowerConfig) throws {
        hiddenSize = config.hiddenSize
        layers = try (0..<config.layers).map { index in
            let block = "v.blk.\(index)."
            return Layer(
                attentionNorm: try weights.norm(block + "ln1", epsilon: config.normEpsilon),
                attention: try weights.attention(
                    block + "attn", output: "_out", heads: config.heads, kvHeads: config.heads),
                mlpNorm: try weights.norm(block + "ln2", epsilon: config.normEpsilon),
                mlp: FeedForward(
                    up: try weights.linear(block + "ffn_up"),
                    down: try weights.linear(block + "ffn_down"),
                    activation: config.activation.kernel))
        }
    }
}
