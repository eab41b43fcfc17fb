import MMQBase

/// The CLIP tower and the projector of a LLaVA model: tiles in, features in the decoder's space out.
struct LlavaFeatures {
    let vision: VisionTower
    private let projector: FeedForward
    private let layer: Int
    private let keepsClassToken: Bool

    init(_ files: ModelFiles, _ config: LlavaCore) throws {
        let weights = Weights(files)
        vision = try VisionTower(weights: weights, config: config.vision, hasPreNorm: true)
        projector = FeedForward(
            up: try weights.linear("mm.0"), down: try weights.linear("mm.2"),
            activation: config.projectorActivation.kernel)
        layer = config.featureLayer
        keepsClassToken = config.featureStrategy == .full
    }

    /// Features of one tile: its patches, and in front of them the class token where the model
    /// takes it.
    var tokensPerTile: Int { vision.patches + firstPatch }
    /// Which of a tile's features is the first patch's.
    var firstPatch: Int { keepsClassToken ? 1 : 0 }

    /// Where the tokens that the tower or the projector sees lie.
    func places(tiles: Int, in role: ModuleRole) -> [PicturePlace] {
        vision.places(tiles: tiles, withClass: role == .tower || keepsClassToken)
    }

    /// Runs tower and projector over tiles: [tiles x tokens per tile, hidden], in `.delta`.
    func apply(_ pixels: [Float], tiles: Int, _ pass: Pass) throws -> Rows {
        let selected = try select(pixels, tiles: tiles, pass)
        return withExtendedLifetime(selected) {
            let features = Rows(
                selected.pointer, count: tiles * tokensPerTile, width: vision.encoder.hiddenSize)
            let projected = projector.apply(
                features, at: Site(module: LlavaModule.mmproj.rawValue, layer: 0), pass)
            pass.saw(tokens: features.count, module: LlavaModule.mmproj.rawValue)
            return projected
        }
    }

    /// The selected layer's features, [tiles, tokens per tile, hidden]. While counting, the layers
    /// behind it run too: nobody uses their output, but the study counts them.
    private func select(_ pixels: [Float], tiles: Int, _ pass: Pass) throws -> FloatBuffer {
        let x = vision.embed(pixels, images: tiles, pass)
        let tile = tokensPerTile * x.width
        let skipped = vision.tokens - tokensPerTile
        let selected = FloatBuffer(count: tiles * tile)
        func select() {
            for index in 0..<tiles {
                (selected.pointer + index * tile).update(
                    from: x[index * vision.tokens + skipped], count: tile)
            }
        }
        if layer == 0 { select() }
        try vision.encoder.run(
            x, images: tiles,
            layers: 0..<(pass.needsAllLayers ? vision.encoder.layers.count : layer),
            module: LlavaModule.vision.rawValue, pass
        ) { if $0 + 1 == layer { select() } }
        return selected
    }
}

extension ModelParts {
    /// The ids of a prompt that names its picture once, the picture's place filled with `count`
    /// placeholders.
    func ids(_ prompt: String, imageTokens count: Int) throws -> [Int32] {
        let pictures = PromptText.count(PromptText.image, in: prompt)
        guard pictures == 1 else {
            throw InputError.prompt(
                "expected <image> once, where the picture belongs, found it \(pictures) times")
        }
        // Expanded before it is tokenized, as transformers' processors do.
        let expanded = PromptText.replacing(
            PromptText.image, in: prompt,
            with: String(repeating: PromptText.image, count: count))
        let ids = tokenizer.encode(
            expanded, addSpecialTokens: true,
            maximumLength: tokenizer.tables.processorMaximumLength)
        try backend.check(ids, imageTokens: count)
        return ids
    }

    /// Throws what `ids` throws, without making them: placeholders behind each other have no text
    /// between them, and are so many ids wherever the first is one.
    func check(_ prompt: String, imageTokens count: Int) throws {
        let ids = tokenizer.encode(prompt, addSpecialTokens: true)
        guard count > 0, ids.count(where: { $0 == backend.imageToken }) == 1,
            ids.count + count - 1 <= backend.contextLength,
            PromptText.count(PromptText.image, in: prompt) == 1,
            tokenizer.tables.processorMaximumLength == nil
        else {
            _ = try self.ids(prompt, imageTokens: count)
            return
        }
        try backend.check(ids, imageTokens: 1)
    }
}
