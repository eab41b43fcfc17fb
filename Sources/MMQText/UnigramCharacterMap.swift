import MMQBase

/// SentencePiece's precompiled character map (`normalizer_spec.precompiled_charsmap`): what a
/// character is replaced by before a Unigram model sees it, NFKC and more in DeBERTa-v3.
///
/// The bytes are the length of a double-array trie (little endian), the trie, and the replacements,
/// each ended by a zero byte. The trie's units are those of darts-clone: bits 0-7 and 31 the label,
/// bit 8 whether a value follows, bits 10-30 the offset (shifted left by 8 where bit 9 is set).
struct UnigramCharacterMap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]

    /// Reads a map; nil if the bytes are none.
    init?(_ bytes: [UInt8]) {
        func word(_ at: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) }
        }
        guard bytes.count >= 4 else { return nil }
        let length = Int(word(0))
        guard length > 0, length % 4 == 0, length <= bytes.count - 4 else { return nil }
        units = stride(from: 4, to: 4 + length, by: 4).map(word)
        replacements = Array(bytes[(4 + length)...])
        guard UTF8Scan.isValid(replacements) else { return nil }
    }

    /// The text with every character replaced that the map knows.
    ///
    /// A grapheme of less than 6 bytes is replaced as a whole by what its *shortest* known prefix
    /// stands for, which drops the rest of it: so does the reference, on purpose. Everything else
    /// goes scalar by scalar.
    func apply(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        for grapheme in String(decoding: text, as: UTF8.self) {
            let bytes = Array(grapheme.utf8)
            if bytes.count < 6, let replacement = replacement(bytes[...]) {
                result += replacement
                continue
            }
            var i = 0
            while i < bytes.count {
                let end = min(i + UTF8Scan.length(bytes[i]), bytes.count)
                result += replacement(bytes[i..<end]) ?? bytes[i..<end]
                i = end
            }
        }
        return result
    }

    private func replacement(_ key: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let start = shortestValue(key), start < replacements.count,
            replacements[start] & 0xC0 != 0x80  // else the result would be no UTF-8
        else { return nil }
        let end = replacements[start...].firstIndex(of: 0) ?? replacements.count
        return replacements[start..<end]
    }

    /// The value of the shortest prefix of `key` that the trie has.
    private func shortestValue(_ key: ArraySlice<UInt8>) -> Int? {
        func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 1 << 9) >> 6) }
        var node = offset(units[0])
        for byte in key {
            if byte == 0 { return nil }
            node ^= Int(byte)
            guard node < units.count, units[node] & (1 << 31 | 0xFF) == UInt32(byte) else {
                return nil
            }
            let unit = units[node]
            node ^= offset(unit)
            if unit >> 8 & 1 == 1 {
                return node < units.count ? Int(units[node] & 0x7FFF_FFFF) : nil
            }
        }
        return nil
    }
}
