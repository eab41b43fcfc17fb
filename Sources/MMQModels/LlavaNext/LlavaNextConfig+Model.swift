import MMQBase
import MMQImage
import MMQText

extension LlavaNextConfig: ModelConfiguration {
    /// LLaVA-Next.
    public var architecture: any Architecture { LlavaNextArchitecture() }
    /// The decoder.
    public var text: LlamaConfig { core.text }
    /// The CLIP tower.
    public var vision: VisionTowerConfig { core.vision }
    /// The observed modules.
    public var modules: [ModuleShape] { core.modules }

    /// All tensors.
    public func table(hasHead: Bool?) -> TensorTable { TensorTable(self, hasHead: hasHead) }

    /// Tiles are what the tower takes.
    public func pixelNormalization(
        settings: [UInt8], file: String
    ) throws -> PixelNormalization {
        let images = try Self.images(settings, file: file)
        try core.check(images.outputSize, file: file)
        return images.normalization
    }

    fileprivate static func images(_ settings: [UInt8], file: String) throws -> LlavaNextImageConfig
    {
        try .parse(json: settings, file: file, kind: "LlavaNextImageProcessor")
    }

    /// The decoder's.
    public func tokenizers(checkpoint folder: String) throws -> CheckpointTokenizers {
        try core.tokenizers(checkpoint: folder)
    }

    /// The model, its picture settings checked.
    public func open(
        _ files: ModelFiles, tokenizer: SentencePieceTokenizer
    ) throws -> any VisionLanguageModel {
        guard core.featureStrategy == .default else {
            throw InputError(
                .badValue, file: files.vision.path, item: "key 'mmq.feature_strategy'",
                expected: "default", found: core.featureStrategy.rawValue)
        }
        let images = try files.llavaNextImageConfig()
        try core.check(images.outputSize, file: files.vision.path)
        return try LlavaNextModel(
            files: files, config: self, images: images, tokenizer: tokenizer)
    }
}

extension ModelFiles {
    /// LLaVA-Next's picture settings.
    public func llavaNextImageConfig() throws -> LlavaNextImageConfig {
        let (json, file) = try imageProcessor()
        return try LlavaNextConfig.images(json, file: file)
    }
}
