import MMQBase

/// What a tokenizer's file may ask for. Files are hostile, and some work grows faster than they do.
enum TokenizerLimits {
    /// Bytes of a piece or an added token: every way to cut one in two is looked up. (LLaMA's
    /// longest has 48.)
    static let pieceBytes = 512
    /// How many times longer all replacements of a normalizer or decoder may make a text: each alone
    /// may be harmless, a row of them doubles it again and again. (LLaMA's spaces become three
    /// bytes.)
    static let growth = 64

    /// Refuses pieces that are too long.
    static func check(pieces: [[UInt8]], file: String) throws {
        guard let bad = pieces.firstIndex(where: { $0.count > pieceBytes }) else { return }
        throw InputError(
            .tooLarge, file: file, item: "pieces[\(bad)]",
            expected: "at most \(pieceBytes) bytes", found: "\(pieces[bad].count)")
    }

    /// Refuses replacements that make a text too long.
    static func check(
        replacements: [(pattern: [UInt8], content: [UInt8])], item: String, file: String
    ) throws {
        var product = 1
        for (pattern, content) in replacements where content.count > pattern.count {
            let times = (content.count + max(1, pattern.count) - 1) / max(1, pattern.count)
            guard times <= growth / product else {
                throw InputError(
                    .tooLarge, file: file, item: item,
                    expected: "replacements that make a text at most \(growth) times as long",
                    found: "more")
            }
            product *= times
        }
    }
}
