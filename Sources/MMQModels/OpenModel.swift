import MMQText

extension ModelFiles {
    /// The model of these files, ready to run.
    public func open() throws -> any VisionLanguageModel {
        let tokenizer = try SentencePieceTokenizer(tables: tokenizerTables())
        switch model {
        case .llavaNext(let config):
            return try LlavaNextModel(
                files: self, config: config, images: llavaNextImageConfig(), tokenizer: tokenizer)
        case .instructBLIP: throw ModelError.prompt("later")
        }
    }

    /// Ids that end an answer: those of `generation_config.json`, else the tokenizer's eos.
    func stopTokens(_ tokenizer: SentencePieceTokenizer) throws -> Set<Int32> {
        Set(try endTokenIDs() ?? [tokenizer.eosID].compactMap { $0 })
    }
}
