import MMQBase

/// Removes the spaces that tokens leave before punctuation, for vocabularies made from words.
enum CleanUp {
    private static let rules = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
        (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ]
    /// What the `WordPiece` decoder applies to each word has one rule more.
    private static let wordRules =
        rules[..<7] + [(" do not", " don't")] + rules[7...]

    /// The reference's `clean_up_tokenization`, for a whole text.
    static func apply(_ text: String) -> String {
        String(decoding: apply(rules[...], Array(text.utf8)), as: UTF8.self)
    }

    /// The clean-up inside the `WordPiece` decoder, for one word with the space before it.
    static func word(_ word: [UInt8]) -> [UInt8] {
        apply(wordRules, word)
    }

    private static func apply(
        _ rules: ArraySlice<(String, String)>, _ text: [UInt8]
    ) -> [UInt8] {
        rules.reduce(text) { text, rule in
            UTF8Scan.replacing(text[...], Array(rule.0.utf8), with: Array(rule.1.utf8))
        }
    }
}
