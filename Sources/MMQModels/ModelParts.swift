import MMQBase
import MMQFormats
import MMQText

/// What every opened model holds, whatever its architecture.
public struct ModelParts {
    /// The mapped files.
    let files: ModelFiles
    /// The decoder's tokenizer.
    let tokenizer: SentencePieceTokenizer
    /// Ids that end an answer.
    let stopTokens: Set<Int32>
    /// Identifies the weights.
    let fingerprint: String
    /// The observed modules.
    let modules: [ModuleShape]
    /// The language model.
    let backend: LanguageBackend

    /// Opens the decoder of checked files.
    ///
    /// - Parameter imageToken: the id that stands for one image token.
    init(_ files: ModelFiles, tokenizer: SentencePieceTokenizer, imageToken: Int32) throws {
        self.files = files
        self.tokenizer = tokenizer
        stopTokens = try files.stopTokens(tokenizer)
        fingerprint = files.fingerprint
        modules = files.model.modules
        let text = files.model.text
        let architecture = files.model.architecture
        guard let decoder = architecture.modules.firstIndex(where: { $0.role == .decoder }) else {
            throw InputError(
                .unsupported, file: files.language.path, item: architecture.name,
                expected: "an architecture with a decoder among its modules", found: "none")
        }
        backend = LanguageBackend(
            decoder: try LlamaDecoder(
                weights: Weights(files), config: text, hasHead: files.has("output.weight")),
            imageToken: imageToken,
            module: decoder,
            contextLength: text.contextLength, activations: files.activations)
    }
}

extension VisionLanguageModel {
    /// The mapped files that the weights lie in.
    public var files: ModelFiles { parts.files }
    /// The tokenizer of the language model.
    public var tokenizer: SentencePieceTokenizer { parts.tokenizer }
    /// Ids that end an answer.
    public var stopTokens: Set<Int32> { parts.stopTokens }
    /// Identifies the weights.
    public var fingerprint: String { parts.fingerprint }
    /// The observed modules.
    public var modules: [ModuleShape] { parts.modules }
    /// The language model, the same for every architecture.
    public var backend: LanguageBackend { parts.backend }
}
