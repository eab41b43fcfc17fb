import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQText

/// A checkpoint's tokenizers: the language model's, and what the vision file holds of others.
public struct CheckpointTokenizers {
    /// The language model's.
    let language: TokenizerTables
    /// Metadata of the vision file about further tokenizers.
    var others: [(key: String, value: GGUFValue)] = []
}

/// The sizes and constants of one model, from a checkpoint's `config.json` or from the metadata of the
/// two GGUF files made of it.
public protocol ModelConfiguration: Sendable, Encodable, Equatable {
    /// What is true of every such model.
    var architecture: any Architecture { get }
    /// The decoder.
    var text: LlamaConfig { get }
    /// The vision tower.
    var vision: VisionTowerConfig { get }
    /// The observed modules with their sizes, in the architecture's order.
    var modules: [ModuleShape] { get }
    /// The vision file's metadata about the model.
    var visionMetadata: [(key: String, value: GGUFValue)] { get }

    /// The model's tensors.
    ///
    /// - Parameter hasHead: whether the output head is a tensor of its own; nil: as the
    ///   configuration says.
    func table(hasHead: Bool?) -> TensorTable
    /// Reads the picture processor's settings and checks that they make what the tower takes.
    ///
    /// - Parameters:
    ///   - settings: the checkpoint's JSON.
    ///   - file: its path, for errors.
    /// - Returns: how samples become floats.
    func pixelNormalization(settings: [UInt8], file: String) throws -> PixelNormalization
    /// Reads the tokenizers of a checkpoint folder.
    func tokenizers(checkpoint folder: String) throws -> CheckpointTokenizers
    /// The model of checked files, ready to run.
    func open(_ files: ModelFiles, tokenizer: SentencePieceTokenizer) throws
        -> any VisionLanguageModel
}

extension ModelConfiguration {
    /// The model's tensors, the output head as the configuration says.
    public func table() -> TensorTable { table(hasHead: nil) }

    /// Whether another model has the same architecture and configuration.
    public func isSame(as other: any ModelConfiguration) -> Bool { other as? Self == self }
}

extension ModelFiles {
    /// The model of these files, ready to run.
    public func open() throws -> any VisionLanguageModel {
        let tokenizer = try InputError.about(file: language.path) {
            try SentencePieceTokenizer(tables: tokenizerTables())
        }
        return try model.open(self, tokenizer: tokenizer)
    }

    /// Ids that end an answer: the tokenizer's eos and those of `generation_config.json`. The latter
    /// alone would not do: InstructBLIP's configuration names 1, the model ends its answers with 2.
    func stopTokens(_ tokenizer: SentencePieceTokenizer) throws -> Set<Int32> {
        Set(try endTokenIDs() ?? []).union([tokenizer.eosID].compactMap { $0 })
    }
}
