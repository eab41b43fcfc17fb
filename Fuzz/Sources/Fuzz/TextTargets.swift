import MMQBase
import MMQText

/// What tokenizers are tried on.
private let prompts = [
    "USER: <image>\nWhat is it? ASSISTANT:", " é</s><pad>[MASK]\u{0}中文 ",
]

extension Targets {
    private static func tryOut(_ tokenizer: some TextTokenizing) {
        for prompt in prompts {
            for special in [true, false] {
                let ids = tokenizer.encode(prompt, addSpecialTokens: special)
                _ = tokenizer.decode(ids, skipSpecialTokens: special)
            }
        }
        _ = tokenizer.decode([-1, 0, 1, .max], skipSpecialTokens: false)
    }

    /// The language model's tokenizer, of which these files are damaged.
    static func languageTokenizer(_ files: [String]) throws -> Target {
        let folders = FolderCases()
        for name in [
            "llava-flags", "llava-legacy", "llava-model", "llava-normalized", "llava-saved",
            "blip-hub", "blip-hub-old", "blip-model", "blip-saved",
        ] {
            try folders.add("text/folders/" + name, files: files)
        }
        return folders.target { chosen, choice in
            let readings = TokenizerReading.allCases
            tryOut(
                try SentencePieceTokenizer.load(
                    folder: chosen.folder, reading: readings[choice % readings.count]))
        }
    }

    static func wordPieces() throws -> Target {
        let folders = FolderCases()
        for name in ["bert-backend", "bert-json", "bert-vocab"] {
            try folders.add(
                "text/folders/\(name)/qformer_tokenizer",
                files: [
                    "vocab.txt", "tokenizer.json", "tokenizer_config.json", "added_tokens.json",
                    "special_tokens_map.json",
                ])
        }
        return folders.target { chosen, _ in
            tryOut(try WordPieceTokenizer.load(folder: chosen.folder))
        }
    }

    static func unigram() throws -> Target {
        let folders = FolderCases()
        for name in ["plain", "v3", "buckets"] {
            try folders.add(
                "lingo-judge/\(name)/checkpoint",
                files: ["tokenizer.json", "tokenizer_config.json", "spm.model"])
        }
        return folders.target { chosen, _ in
            let tokenizer = try UnigramTokenizer.load(folder: chosen.folder)
            for prompt in prompts { _ = tokenizer.encode(prompt, maximumLength: 9) }
        }
    }
}
