import MMQBase
import MMQText

extension ModelFiles {
    /// The model of these files, ready to run.
    public func open() throws -> any VisionLanguageModel {
        let tokenizer = try InputError.about(file: language.path) {
            try SentencePieceTokenizer(tables: tokenizerTables())
        }
        switch model {
        case .llavaNext(let config):
            return try LlavaNextModel(
                files: self, config: config, images: llavaNextImageConfig(), tokenizer: tokenizer)
        case .instructBLIP(let config):
            let words = try InputError.about(file: vision.path) {
                try WordPieceTokenizer(tables: wordPieceTables())
            }
            return try InstructBLIPModel(
                files: self, config: config, images: squashImageConfig(), tokenizer: tokenizer,
                instructionTokenizer: words)
        }
    }

    /// Ids that end an answer: the tokenizer's eos and those of `generation_config.json`. The latter
    /// alone would not do: InstructBLIP's configuration names 1, the model ends its answers with 2.
    func stopTokens(_ tokenizer: SentencePieceTokenizer) throws -> Set<Int32> {
        Set(try endTokenIDs() ?? []).union([tokenizer.eosID].compactMap { $0 })
    }
}
