import Foundation
import MMQBase

/// BERT's WordPiece, id for id as transformers 5 computes it: greedy, the longest piece first.
public struct WordPieceTokenizer: TextTokenizing {
    /// What the tokenizer was built from.
    public let tables: WordPieceTables
    private let index: PieceIndex
    private let model: PieceIndex
    private let longest: Int
    private let normalizer: BertNormalizer
    private let rawMatcher: AddedTokenMatcher
    private let normalizedMatcher: AddedTokenMatcher
    private let special: Set<Int32>
    /// What added tokens decode to that are spelled normalized.
    private let spellings: [Int32: [UInt8]]

    /// Builds the tokenizer.
    ///
    /// - Throws: `InputError` if the tables contradict themselves.
    public init(tables: WordPieceTables) throws {
        try tables.validate()
        self.tables = tables
        let outside = Set(tables.addedTokens.filter { !$0.inModel }.map(\.id))
        var all = PieceIndex(count: tables.pieces.count)
        var model = PieceIndex(count: tables.pieces.count)
        for token in tables.addedTokens { all.insert(tables.pieces[Int(token.id)], id: token.id) }
        for (i, piece) in tables.pieces.enumerated() where !piece.isEmpty {
            all.insert(piece, id: Int32(i))
            if !outside.contains(Int32(i)) { model.insert(piece, id: Int32(i)) }
        }
        index = all
        self.model = model
        longest = tables.pieces.map(\.count).max() ?? 0
        let normalizer = BertNormalizer(
            cleanText: tables.cleanText, spaceChinese: tables.spaceChinese,
            stripAccents: tables.stripAccents, lowercase: tables.lowercase)
        self.normalizer = normalizer
        var raw = AddedTokenMatcher()
        var normalized = AddedTokenMatcher()
        var spellings: [Int32: [UInt8]] = [:]
        for token in tables.addedTokens {
            let piece = tables.pieces[Int(token.id)]
            if token.normalized || token.spelledNormalized {
                let spelling = normalizer.normalize(piece[...])
                if token.normalized { normalized.add(token, pattern: spelling) }
                if token.spelledNormalized { spellings[token.id] = spelling }
            }
            if !token.normalized { raw.add(token, pattern: piece) }
        }
        rawMatcher = raw
        normalizedMatcher = normalized
        self.spellings = spellings
        let skipped = Set(tables.addedTokens.filter(\.special).map { tables.pieces[Int($0.id)] })
        special = Set(
            tables.pieces.indices.lazy.map { Int32($0) }
                .filter { skipped.contains(spellings[$0] ?? tables.pieces[Int($0)]) })
    }

    /// Reads the Q-Former's tokenizer. See `WordPieceTables.load(folder:)`.
    public static func load(folder: String) throws -> WordPieceTokenizer {
        try WordPieceTokenizer(tables: try WordPieceTables.load(folder: folder))
    }

    /// The ids of `text`, however many. See `TextTokenizing`.
    public func encode(_ text: String, addSpecialTokens: Bool) -> [Int32] {
        encode(text, addSpecialTokens: addSpecialTokens, maximumLength: nil)
    }

    /// The ids of `text`, at most `maximumLength` of them, special tokens included: what the
    /// reference gives for `truncation=True, max_length=maximumLength`. For BERT's own limit pass
    /// `tables.maximumLength`.
    public func encode(_ text: String, addSpecialTokens: Bool, maximumLength: Int?) -> [Int32] {
        var ids: [Int32] = []
        let bytes = Array(text.utf8)
        for part in rawMatcher.split(bytes[...], skipSpecial: false) {
            if let id = part.id {
                ids.append(id)
                continue
            }
            let normalized = normalizer.normalize(bytes[part.range])
            for part in normalizedMatcher.split(normalized[...], skipSpecial: false) {
                if let id = part.id {
                    ids.append(id)
                } else {
                    for word in BertNormalizer.words(normalized[part.range]) {
                        encode(word, into: &ids)
                    }
                }
            }
        }
        return Self.truncate(
            ids, prefix: addSpecialTokens ? tables.prefixIDs : [],
            suffix: addSpecialTokens ? tables.suffixIDs : [], limit: maximumLength,
            side: tables.truncationSide)
    }

    private func encode(_ word: ArraySlice<UInt8>, into ids: inout [Int32]) {
        let length = word.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
        guard length <= tables.maximumWordLength else {
            ids.append(tables.unkID)
            return
        }
        let before = ids.count
        var start = word.startIndex
        while start < word.endIndex {
            let prefix = start == word.startIndex ? [] : tables.continuingPrefix
            var end = min(word.endIndex, start + longest)
            var found: Int32?
            while end > start {
                // Never cut inside a character.
                if end == word.endIndex || word[end] & 0xC0 != 0x80 {
                    found = model.id(prefix + word[start..<end])
                    if found != nil { break }
                }
                end -= 1
            }
            guard let found else {
                // One part without a piece makes the whole word unknown.
                ids.removeSubrange(before...)
                ids.append(tables.unkID)
                return
            }
            ids.append(found)
            start = end
        }
    }

    /// The text of `ids`. See `TextTokenizing`.
    public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
        var text: [UInt8] = []
        var isFirst = true
        for id in ids {
            guard let piece = piece(id), !(skipSpecialTokens && isSpecial(id)) else { continue }
            var token = spellings[id] ?? piece
            if !isFirst {
                let prefix = tables.continuingPrefix
                token = token.starts(with: prefix) ? Array(token[prefix.count...]) : [0x20] + token
            }
            isFirst = false
            text += CleanUp.word(token)
        }
        let result = String(decoding: text, as: UTF8.self)
        return tables.cleanUpSpaces ? CleanUp.apply(result) : result
    }

    /// The id of the token with exactly these UTF-8 bytes, added tokens included.
    public func id(of piece: [UInt8]) -> Int32? {
        index.id(piece)
    }

    /// The UTF-8 bytes of the token.
    public func piece(_ id: Int32) -> [UInt8]? {
        guard id >= 0 && Int(id) < tables.pieces.count else { return nil }
        let piece = tables.pieces[Int(id)]
        return piece.isEmpty ? nil : piece
    }

    /// Whether decoding with `skipSpecialTokens` leaves this id out.
    public func isSpecial(_ id: Int32) -> Bool {
        special.contains(id)
    }

    /// One more than the largest id.
    public var vocabularySize: Int { tables.pieces.count }
}

extension WordPieceTables {
    /// Refuses tables that contradict themselves.
    func validate() throws {
        func fail(_ key: String, _ expected: String, _ found: String) -> InputError {
            InputError(
                .badValue,
                file: TokenizerTables.source, item: key, expected: expected, found: found)
        }
        guard pieces.count > 0 && pieces.count <= 1 << 26 else {
            throw fail("pieces", "between 1 and \(1 << 26) pieces", "\(pieces.count)")
        }
        if let bad = pieces.firstIndex(where: { !UTF8Scan.isValid($0) }) {
            throw fail("pieces[\(bad)]", "valid UTF-8", spelled(pieces[bad]))
        }
        try TokenizerLimits.check(pieces: pieces, file: TokenizerTables.source)
        let ids =
            [unkID] + [padID].compactMap { $0 } + prefixIDs + suffixIDs + addedTokens.map(\.id)
        if let bad = ids.first(where: { $0 < 0 || Int($0) >= pieces.count }) {
            throw fail("special ids", "ids below \(pieces.count)", "\(bad)")
        }
    }
}
