/// Prompts as UTF-8: Swift's own search compares characters, and would not find `<image>` before a
/// combining accent, where the reference does.
enum PromptText {
    /// What stands for the picture in a prompt.
    static let image = "<image>"

    /// How often `part` occurs in `text`, overlaps not counted.
    static func count(_ part: String, in text: String) -> Int {
        pieces(of: text, splitBy: part).count - 1
    }

    /// `text` with every `part` replaced by `replacement`.
    static func replacing(_ part: String, in text: String, with replacement: String) -> String {
        let joined = pieces(of: text, splitBy: part).joined(separator: Array(replacement.utf8))
        return String(decoding: Array(joined), as: UTF8.self)
    }

    private static func pieces(of text: String, splitBy part: String) -> [ArraySlice<UInt8>] {
        let bytes = Array(text.utf8)
        let pattern = Array(part.utf8)
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        var at = 0
        while at + pattern.count <= bytes.count {
            if bytes[at..<at + pattern.count].elementsEqual(pattern) {
                pieces.append(bytes[start..<at])
                at += pattern.count
                start = at
            } else {
                at += 1
            }
        }
        return pieces + [bytes[start...]]
    }
}
