import Foundation
import MMQBase
import MMQImage
import MMQText

extension InstructBLIPConfig: ModelConfiguration {
    /// InstructBLIP.
    public var architecture: any Architecture { InstructBLIPArchitecture() }

    /// The decoder, the tower and the two branches of the Q-Former.
    public var modules: [ModuleShape] {
        [
            ModuleShape(name: "lang", layers: text.layers, neurons: text.ffnSize),
            ModuleShape(name: "encoder", layers: vision.layers, neurons: vision.ffnSize),
            ModuleShape(name: "qformer", layers: qformer.layers, neurons: qformer.ffnSize),
            ModuleShape(name: "query", layers: qformer.layers, neurons: qformer.ffnSize),
        ]
    }

    /// All tensors.
    public func table(hasHead: Bool?) -> TensorTable { TensorTable(self, hasHead: hasHead) }

    /// Squashed pictures are what the tower takes.
    public func pixelNormalization(
        settings: [UInt8], file: String
    ) throws -> PixelNormalization {
        let images = try Self.images(settings, file: file)
        try check(images, file: file)
        return images.normalization
    }

    fileprivate static func images(_ settings: [UInt8], file: String) throws -> SquashImageConfig {
        try .parse(json: settings, file: file, kind: "BlipImageProcessor")
    }

    private func check(_ images: SquashImageConfig, file: String) throws {
        try vision.check(images.size, what: "pictures", file: file)
    }

    /// The language model's and the Q-Former's, which lies in a folder of its own.
    public func tokenizers(checkpoint folder: String) throws -> CheckpointTokenizers {
        let words = try WordPieceTables.load(
            folder: CheckpointFolder(path: folder).file("qformer_tokenizer"))
        return CheckpointTokenizers(
            language: try TokenizerTables.load(folder: folder, reading: .byClass),
            others: WordPieceMetadata.members(words))
    }

    /// The model, its picture settings and the Q-Former's vocabulary checked.
    public func open(
        _ files: ModelFiles, tokenizer: SentencePieceTokenizer
    ) throws -> any VisionLanguageModel {
        let words = try InputError.about(file: files.vision.path) {
            try WordPieceTokenizer(tables: files.wordPieceTables())
        }
        let images = try files.squashImageConfig()
        try check(images, file: files.vision.path)
        guard words.vocabularySize <= qformer.vocabularySize else {
            throw InputError(
                .badValue, file: files.vision.path, item: "instruction vocabulary",
                expected: "at most \(qformer.vocabularySize) tokens",
                found: "\(words.vocabularySize)")
        }
        return try InstructBLIPModel(
            files: files, config: self, images: images, tokenizer: tokenizer,
            instructionTokenizer: words)
    }
}

extension ModelFiles {
    /// InstructBLIP's picture settings.
    public func squashImageConfig() throws -> SquashImageConfig {
        let (json, file) = try imageProcessor()
        return try InstructBLIPConfig.images(json, file: file)
    }
}
