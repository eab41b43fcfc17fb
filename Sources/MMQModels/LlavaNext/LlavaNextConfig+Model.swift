import Foundation
import MMQBase
import MMQImage
import MMQText

extension LlavaNextConfig: ModelConfiguration {
    /// LLaVA-Next.
    public var architecture: any Architecture { LlavaNextArchitecture() }

    /// The decoder, the tower with the layers behind the feature layer, and the projector, whose
    /// one layer has as many neurons as the decoder's stream is wide.
    public var modules: [ModuleShape] {
        [
            ModuleShape(name: "lang", layers: text.layers, neurons: text.ffnSize),
            ModuleShape(name: "vision", layers: vision.layers, neurons: vision.ffnSize),
            ModuleShape(name: "mmproj", layers: 1, neurons: text.hiddenSize),
        ]
    }

    /// All tensors.
    public func table(hasHead: Bool?) -> TensorTable { TensorTable(self, hasHead: hasHead) }

    /// Tiles are what the tower takes.
    public func pixelNormalization(
        settings: [UInt8], file: String
    ) throws -> PixelNormalization {
        let images = try Self.images(settings, file: file)
        try check(images, file: file)
        return images.normalization
    }

    fileprivate static func images(_ settings: [UInt8], file: String) throws -> LlavaNextImageConfig
    {
        try .parse(json: settings, file: file, kind: "LlavaNextImageProcessor")
    }

    private func check(_ images: LlavaNextImageConfig, file: String) throws {
        try vision.check(images.outputSize, what: "tiles", file: file)
    }

    /// One tokenizer, which has to know `<image>`: placeholders in a prompt become its id, and
    /// features replace it.
    public func tokenizers(checkpoint folder: String) throws -> CheckpointTokenizers {
        let tables = try TokenizerTables.load(folder: folder, reading: .asStored)
        let image = Array(PromptText.image.utf8)
        guard tables.pieces.indices.contains(imageTokenID), tables.pieces[imageTokenID] == image
        else {
            let id = tables.pieces.firstIndex(of: image)
            throw InputError(
                .badValue, file: CheckpointFolder(path: folder).file("config.json"),
                item: "key 'image_token_index'",
                expected: id.map { "\($0), the tokenizer's id of '\(PromptText.image)'" }
                    ?? "a tokenizer that knows '\(PromptText.image)'",
                found: "\(imageTokenID)")
        }
        return CheckpointTokenizers(language: tables)
    }

    /// The model, its picture settings checked.
    public func open(
        _ files: ModelFiles, tokenizer: SentencePieceTokenizer
    ) throws -> any VisionLanguageModel {
        guard featureStrategy == .default else {
            throw InputError(
                .badValue, file: files.vision.path, item: "key 'mmq.feature_strategy'",
                expected: "default", found: featureStrategy.rawValue)
        }
        let images = try files.llavaNextImageConfig()
        try check(images, file: files.vision.path)
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
