import Foundation

/// From text to token ids and back, as the reference (Hugging Face transformers 5) does it.
public protocol TextTokenizing: Sendable {
    /// The ids of `text`; with `addSpecialTokens` also what the post-processor puts around it
    /// (bos in LLaMA, `[CLS]` and `[SEP]` in BERT). Special tokens written out in the text, `</s>`
    /// for example, are recognized as such, as the reference does by default.
    func encode(_ text: String, addSpecialTokens: Bool) -> [Int32]

    /// The text of `ids`. Ids that no token has are left out.
    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String

    /// The id of the token with exactly these UTF-8 bytes.
    func id(of piece: [UInt8]) -> Int32?

    /// The UTF-8 bytes of the token with this id, as the vocabulary spells it (`▁the`, `<0x0A>`).
    func piece(_ id: Int32) -> [UInt8]?

    /// Whether decoding with `skipSpecialTokens` leaves this id out.
    func isSpecial(_ id: Int32) -> Bool

    /// One more than the largest id.
    var vocabularySize: Int { get }
}

extension TextTokenizing {
    /// The id of the token spelled `piece`.
    public func id(of piece: String) -> Int32? {
        id(of: Array(piece.utf8))
    }

    /// `encode` with the special tokens, as the reference's `tokenizer(text)` does.
    public func encode(_ text: String) -> [Int32] {
        encode(text, addSpecialTokens: true)
    }

    /// `ids` cut to `limit` on `side`, given how many ids of them are special ones before and after
    /// the text: only text ids are dropped, as the reference's `truncation=True` does.
    static func truncate(
        _ text: [Int32], prefix: [Int32], suffix: [Int32], limit: Int?, side: TruncationSide
    ) -> [Int32] {
        var body = text[...]
        if let limit {
            let room = max(0, limit - prefix.count - suffix.count)
            if body.count > room {
                body = side == .left ? body.suffix(room) : body.prefix(room)
            }
        }
        return prefix + body + suffix
    }
}

/// Which end of a text that is too long is dropped.
public enum TruncationSide: String, Sendable, Codable {
    /// The beginning is dropped.
    case left
    /// The end is dropped.
    case right
}
