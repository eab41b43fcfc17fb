import MMQBase
import MMQFormats
import MMQImage
import MMQText

/// What a LLaVA-1.5 model is: its `config.json`, or the metadata of the two GGUF files made of it.
///
/// Defaults are those of transformers' `LlavaConfig`.
public struct Llava15Config: Sendable, Encodable, Equatable {
    private static let modelType = Llava15Architecture().modelType

    /// What it has in common with other LLaVA models: all.
    public var core: LlavaCore

    /// As if there were no parts.
    public func encode(to encoder: any Encoder) throws { try core.encode(to: encoder) }

    /// From a checkpoint's `config.json`: the hub's form or the one transformers 5 writes.
    public init(json: JSONValue, file: String) throws {
        let reader = try ConfigReader(json, file: file)
        core = try LlavaCore(reader, modelType: Self.modelType)
        // transformers ties by either flag: older files have it in the decoder's section.
        let outer = try reader.bool("tie_word_embeddings", false)
        core.text.tiedHead = core.text.tiedHead || outer
    }

    /// From the metadata of a language and a vision GGUF file.
    public init(language: GGUFFile, vision file: GGUFFile) throws {
        core = try LlavaCore(language: language, vision: file, modelType: Self.modelType)
    }

    /// The vision file's metadata about the model.
    public var visionMetadata: [(key: String, value: GGUFValue)] {
        core.metadata(modelType: Self.modelType, mergeType: "flat")
    }
}

extension Llava15Config: ModelConfiguration {
    /// LLaVA-1.5.
    public var architecture: any Architecture { Llava15Architecture() }
    /// The decoder.
    public var text: LlamaConfig { core.text }
    /// The CLIP tower.
    public var vision: VisionTowerConfig { core.vision }
    /// The observed modules.
    public var modules: [ModuleShape] { core.modules }

    /// All tensors.
    public func table(hasHead: Bool?) -> TensorTable { TensorTable(core, hasHead: hasHead) }

    /// Cropped pictures are what the tower takes.
    public func pixelNormalization(
        settings: [UInt8], file: String
    ) throws -> PixelNormalization { try images(settings, file: file).normalization }

    private func images(_ settings: [UInt8], file: String) throws -> CropImageConfig {
        let images = try CropImageConfig.parse(
            json: settings, file: file, kind: "CLIPImageProcessor")
        try core.check(images.outputSize, file: file)
        return images
    }

    /// The decoder's.
    public func tokenizers(checkpoint folder: String) throws -> CheckpointTokenizers {
        try core.tokenizers(checkpoint: folder)
    }

    /// The model, its picture settings checked.
    public func open(
        _ files: ModelFiles, tokenizer: SentencePieceTokenizer
    ) throws -> any VisionLanguageModel {
        let (json, file) = try files.imageProcessor()
        return try Llava15Model(
            files: files, config: core, images: images(json, file: file), tokenizer: tokenizer)
    }
}
