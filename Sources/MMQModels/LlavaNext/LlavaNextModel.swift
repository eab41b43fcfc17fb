import MMQBase
import MMQFormats
import MMQImage
import MMQText

/// LLaVA-Next: CLIP tower over tiles, two-layer projector, features packed into the prompt of a
/// LLaMA decoder.
public final class LlavaNextModel: VisionLanguageModel {
    /// The observed modules.
    public let modules: [ModuleShape]
    /// Identifies the weights.
    public let fingerprint: String
    /// The decoder's tokenizer.
    public let tokenizer: SentencePieceTokenizer
    /// Ids that end an answer.
    public let stopTokens: Set<Int32>
    /// The mapped files.
    public let files: ModelFiles
    /// The language model.
    public let backend: LanguageBackend

    private let config: LlavaNextConfig
    private let images: LlavaNextImageProcessor
    private let vision: VisionTower
    private let projector: FeedForward
    private let newline: UnsafePointer<Float>

    /// Indices into `modules`.
    private enum Module { static let lang = 0, vision = 1, mmproj = 2 }

    /// Opens the model of checked files.
    init(
        files: ModelFiles, config: LlavaNextConfig, images: LlavaNextImageConfig,
        tokenizer: SentencePieceTokenizer
    ) throws {
        self.files = files
        self.config = config
        self.tokenizer = tokenizer
        fingerprint = files.fingerprint
        self.images = try LlavaNextImageProcessor(config: images)
        let weights = Weights(files)
        vision = try VisionTower(weights: weights, config: config.vision, hasPreNorm: true)
        projector = FeedForward(
            up: try weights.linear("mm.0"), down: try weights.linear("mm.2"),
            activation: config.projectorActivation.kernel)
        newline = try weights.vector("model.image_newline")
        let decoder = try LlamaDecoder(
            weights: weights, config: config.text, hasHead: files.has("output.weight"))
        backend = LanguageBackend(
            decoder: decoder, imageToken: Int32(config.imageTokenID), module: Module.lang,
            contextLength: config.text.contextLength, activations: files.activations)
        stopTokens = try files.stopTokens(tokenizer)
        modules = config.modules
    }

    /// Token ids with placeholders expanded, and pixels.
    public func prepare(image: RGBImage, prompt: String) throws -> PreparedInput {
        let tiling = try images.process(image)
        let count = try imageTokens(PixelSize(height: image.height, width: image.width))
        let packed = vision.patches + unpadded(tiling).tokenCount
        guard packed == count else {
            throw InputError(
                .badValue, file: files.vision.path, item: "picture settings: image_grid_pinpoints",
                expected: "grids of whole tiles of \(config.vision.imageSize) pixels",
                found: "a grid whose \(packed) features are not \(count) tokens")
        }
        return PreparedInput(
            inputIDs: try ids(prompt, imageTokens: count), imageTokens: count,
            picture: LlavaNextInput(tiling: tiling, model: self), backend: backend)
    }

    /// Every tile's tokens.
    public func visionTokens(size: PixelSize, prompt: String) throws -> Int {
        _ = try ids(prompt, imageTokens: imageTokens(size))
        return images.tileCount(of: size) * vision.tokens
    }

    private func imageTokens(_ size: PixelSize) throws -> Int {
        try images.imageTokenCount(
            width: size.width, height: size.height, patchSize: config.vision.patchSize,
            additionalTokens: 1, dropsFirstToken: true)
    }

    /// The prompt's ids, the picture's place filled with `count` placeholders.
    private func ids(_ prompt: String, imageTokens count: Int) throws -> [Int32] {
        let pictures = PromptText.count(PromptText.image, in: prompt)
        guard pictures == 1 else {
            throw InputError.prompt(
                "expected <image> once, where the picture belongs, found it \(pictures) times")
        }
        // Expanded before it is tokenized, as LlavaNextProcessor does.
        let expanded = PromptText.replacing(
            PromptText.image, in: prompt,
            with: String(repeating: PromptText.image, count: count))
        let ids = tokenizer.encode(
            expanded, addSpecialTokens: true,
            maximumLength: tokenizer.tables.processorMaximumLength)
        try backend.check(ids, imageTokens: count)
        return ids
    }

    /// See ``LlavaNextConfig/grids(settings:side:width:height:isImage:)``.
    public func pictureGrids(width: Int, height: Int, isImage: [Bool]) -> [PictureGrid] {
        LlavaNextConfig.grids(
            settings: images.config, side: config.vision.patchesPerSide, width: width,
            height: height, isImage: isImage)
    }

    /// Runs tower and projector over tiles: [image tokens, hidden].
    func features(of tiling: TiledImage, observation: Observation?) throws -> [Float] {
        let pass = Pass(backend.workspace, observation: observation)
        let selected = try visionFeatures(tiling, pass)
        let features = Rows(
            selected.pointer, count: tiling.tiles * vision.patches,
            width: vision.encoder.hiddenSize)
        let projected = projector.apply(
            features, at: Site(module: Module.mmproj, layer: 0), pass)
        pass.saw(tokens: features.count, module: Module.mmproj)
        defer { pass.did(.other) }
        return pack(projected, tiling: tiling)
    }

    /// The selected layer's features without the class token, [tiles, patches, hidden]. While
    /// counting, the layers behind it run too: nobody uses their output, but the study counts them.
    private func visionFeatures(_ tiling: TiledImage, _ pass: Pass) throws -> FloatBuffer {
        let layer = config.featureLayer
        let x = vision.embed(tiling.pixelValues, images: tiling.tiles, pass)
        let tile = vision.patches * x.width
        let selected = FloatBuffer(count: tiling.tiles * tile)
        func select() {
            for index in 0..<tiling.tiles {
                (selected.pointer + index * tile).update(
                    from: x[index * vision.tokens + 1], count: tile)
            }
        }
        if layer == 0 { select() }
        try vision.encoder.run(
            x, images: tiling.tiles,
            layers: 0..<(pass.isCounting ? vision.encoder.layers.count : layer),
            module: Module.vision, pass
        ) { if $0 + 1 == layer { select() } }
        return selected
    }

    /// The base tile's features, then the grid's, row by row, padding cut off and one
    /// `image_newline` at the end of each row (transformers' `pack_image_features`).
    private func pack(_ features: Rows, tiling: TiledImage) -> [Float] {
        let side = vision.patchesPerSide
        let range = unpadded(tiling)
        var packed: [Float] = []
        packed.reserveCapacity((vision.patches + range.tokenCount) * features.width)
        packed.append(contentsOf: features[0..<vision.patches].values)
        for row in range.rows {
            for column in range.columns {
                let tile = 1 + row / side * tiling.gridColumns + column / side
                let patch = tile * vision.patches + row % side * side + column % side
                packed.append(contentsOf: features[patch..<patch + 1].values)
            }
            packed.append(contentsOf: UnsafeBufferPointer(start: newline, count: features.width))
        }
        return packed
    }

    /// The part of the grid's features that is picture, not padding.
    private func unpadded(_ tiling: TiledImage) -> LlavaNextGeometry.FeatureRange {
        let side = vision.patchesPerSide
        return LlavaNextGeometry.unpaddedFeatureRange(
            original: PixelSize(height: tiling.originalHeight, width: tiling.originalWidth),
            rows: tiling.gridRows * side, columns: tiling.gridColumns * side)
    }
}
