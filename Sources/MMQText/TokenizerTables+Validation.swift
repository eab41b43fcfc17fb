import MMQBase

/// Bytes of a piece for an error message.
func spelled(_ piece: [UInt8]) -> String { quoted(String(decoding: piece, as: UTF8.self)) }

extension TokenizerTables {
    /// What errors about tables name as their file.
    static let source = "tokenizer tables"

    /// Refuses tables that contradict themselves.
    ///
    /// - Throws: `InputError` naming the field.
    func validate() throws {
        func fail(_ key: String, _ expected: String, _ found: String) -> InputError {
            InputError(.badValue, file: Self.source, item: key, expected: expected, found: found)
        }
        // Ids are Int32, and the indices count up to twice as many slots.
        guard pieces.count > 0 && pieces.count <= 1 << 26 else {
            throw fail("pieces", "between 1 and \(1 << 26) pieces", "\(pieces.count)")
        }
        guard scores.count == pieces.count else {
            throw fail("scores", "\(pieces.count), one per piece", "\(scores.count)")
        }
        guard types.count == pieces.count else {
            throw fail("types", "\(pieces.count), one per piece", "\(types.count)")
        }
        if let bad = scores.firstIndex(where: { $0.isNaN }) {
            throw fail("scores[\(bad)]", "a number", "NaN")
        }
        for (i, piece) in pieces.enumerated()
        where types[i] != .unused && !UTF8Scan.isValid(piece) {
            throw fail("pieces[\(i)]", "valid UTF-8", spelled(piece))
        }
        try TokenizerLimits.check(pieces: pieces, file: Self.source)
        func check(_ key: String, _ id: Int32?) throws {
            guard let id else { return }
            guard id >= 0 && Int(id) < pieces.count else {
                throw fail(key, "an id below \(pieces.count)", "\(id)")
            }
        }
        try check("bosID", bosID)
        try check("eosID", eosID)
        try check("unkID", unkID)
        try check("padID", padID)
        try check("modelUnknownID", modelUnknownID)
        for id in prefixIDs { try check("prefixIDs", id) }
        for id in suffixIDs { try check("suffixIDs", id) }
        for token in addedTokens { try check("addedTokens", token.id) }
        if case .explicit(let pairs) = mergeOrder {
            for (i, pair) in pairs.enumerated() {
                try check("merges[\(i)]", pair.left)
                try check("merges[\(i)]", pair.right)
            }
        }
        if let metaspace, metaspace.replacement.isEmpty || !UTF8Scan.isValid(metaspace.replacement)
        {
            throw fail("metaspace.replacement", "one character", spelled(metaspace.replacement))
        }
        if let metaspace {
            try TokenizerLimits.check(
                replacements: [([0x20], metaspace.replacement)], item: "metaspace",
                file: Self.source)
        }
        try TokenizerLimits.check(
            replacements: normalizer.compactMap {
                if case .replace(let pattern, let content) = $0 { (pattern, content) } else { nil }
            }, item: "normalizer", file: Self.source)
        try TokenizerLimits.check(
            replacements: (decoder ?? []).compactMap {
                if case .replace(let pattern, let content) = $0 { (pattern, content) } else { nil }
            }, item: "decoder", file: Self.source)
    }
}
