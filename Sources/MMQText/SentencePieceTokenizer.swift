import Foundation
import MMQBase

/// SentencePiece-BPE with byte fallback (LLaMA, Vicuna), id for id as transformers 5 computes it.
///
/// Text is cut at the added tokens it contains; what lies between goes through the normalizer and
/// the Metaspace pre-tokenizer, then the pairs merge. All work is done on UTF-8 bytes.
public struct SentencePieceTokenizer: TextTokenizing {
    /// What the tokenizer was built from.
    public let tables: TokenizerTables
    private let index: PieceIndex
    private let encoder: BytePairEncoder
    private let rawMatcher: AddedTokenMatcher
    private let normalizedMatcher: AddedTokenMatcher
    private let special: Set<Int32>
    /// What added tokens decode to that are spelled normalized.
    private let spellings: [Int32: [UInt8]]
    let decoding: [DecoderStep]?

    /// Builds the tokenizer.
    ///
    /// - Throws: `InputError` if the tables contradict themselves.
    public init(tables: TokenizerTables) throws {
        try tables.validate()
        self.tables = tables
        let outside = Set(tables.addedTokens.filter { !$0.inModel }.map(\.id))
        var all = PieceIndex(count: tables.pieces.count)
        var model = PieceIndex(count: tables.pieces.count)
        // The added vocabulary is asked before the model's.
        for token in tables.addedTokens { all.insert(tables.pieces[Int(token.id)], id: token.id) }
        for (i, piece) in tables.pieces.enumerated() where tables.types[i] != .unused {
            let id = Int32(i)
            all.insert(piece, id: id)
            if !outside.contains(id) { model.insert(piece, id: id) }
        }
        index = all
        encoder = BytePairEncoder(
            index: model, merges: MergeRules.table(tables, model: model, outside: outside),
            byteFallback: tables.byteFallback, fuseUnknown: tables.fuseUnknown,
            unknownID: tables.modelUnknownID, ignoreMerges: tables.ignoreMerges)

        var raw = AddedTokenMatcher()
        var normalized = AddedTokenMatcher()
        var spellings: [Int32: [UInt8]] = [:]
        for token in tables.addedTokens {
            let piece = tables.pieces[Int(token.id)]
            if token.normalized || token.spelledNormalized {
                let spelling = Self.normalize(piece[...], tables.normalizer)
                if token.normalized { normalized.add(token, pattern: spelling) }
                if token.spelledNormalized { spellings[token.id] = spelling }
            }
            if !token.normalized { raw.add(token, pattern: piece) }
        }
        rawMatcher = raw
        normalizedMatcher = normalized
        // The reference compares spellings, not ids: a special token whose normalized spelling is
        // another one is not skipped.
        let skipped = Set(tables.addedTokens.filter(\.special).map { tables.pieces[Int($0.id)] })
        special = Set(
            tables.pieces.indices.lazy.map { Int32($0) }
                .filter { skipped.contains(spellings[$0] ?? tables.pieces[Int($0)]) })
        self.spellings = spellings
        decoding = tables.decoder
    }

    // MARK: Encoding

    /// The ids of `text`. See `TextTokenizing`.
    public func encode(_ text: String, addSpecialTokens: Bool) -> [Int32] {
        encode(text, addSpecialTokens: addSpecialTokens, maximumLength: nil)
    }

    /// The ids of `text`, at most `maximumLength` of them (special tokens included) if it is given:
    /// what the reference gives for `truncation=True, max_length=maximumLength`.
    public func encode(_ text: String, addSpecialTokens: Bool, maximumLength: Int?) -> [Int32] {
        var ids: [Int32] = []
        let bytes = Array(text.utf8)
        forEachPart(bytes[...], rawMatcher) { part, id in
            if let id { return ids.append(id) }
            let normalized = Self.normalize(bytes[part], tables.normalizer)
            let first = part.lowerBound == 0
            forEachPart(normalized[...], normalizedMatcher) { piece, id in
                if let id { return ids.append(id) }
                // Only what begins where the text begins is the first stretch.
                encode(
                    normalized[piece], isFirst: first && piece.lowerBound == 0, into: &ids)
            }
        }
        return Self.truncate(
            ids, prefix: addSpecialTokens ? tables.prefixIDs : [],
            suffix: addSpecialTokens ? tables.suffixIDs : [], limit: maximumLength,
            side: tables.truncationSide)
    }

    private func forEachPart(
        _ text: ArraySlice<UInt8>, _ matcher: AddedTokenMatcher,
        _ body: (Range<Int>, Int32?) -> Void
    ) {
        if text.isEmpty { return }
        if matcher.isEmpty { return body(text.startIndex..<text.endIndex, nil) }
        for part in matcher.split(text, skipSpecial: tables.splitSpecialTokens) {
            body(part.range, part.id)
        }
    }

    private static func normalize(
        _ text: ArraySlice<UInt8>, _ steps: [NormalizerStep]
    ) -> [UInt8] {
        var result = Array(text)
        for step in steps {
            switch step {
            case .prepend(let bytes): if !result.isEmpty { result = bytes + result }
            case .replace(let pattern, let content):
                result = UTF8Scan.replacing(result[...], pattern, with: content)
            }
        }
        return result
    }

    private func encode(_ text: ArraySlice<UInt8>, isFirst: Bool, into ids: inout [Int32]) {
        guard let metaspace = tables.metaspace else {
            ids += encoder.encode(text)
            return
        }
        let marker = metaspace.replacement
        var marked = UTF8Scan.replacing(text, [0x20], with: marker)
        let wanted =
            switch metaspace.scheme {
            case .always: true
            case .first: isFirst
            case .never: false
            }
        if wanted && !marked.starts(with: marker) { marked = marker + marked }
        guard metaspace.split else {
            ids += encoder.encode(marked[...])
            return
        }
        var start = 0
        var i = marker.count
        while i < marked.count {
            if marked[i] == marker[0] && marked[i...].starts(with: marker) {
                if i > start { ids += encoder.encode(marked[start..<i]) }
                start = i
                i += marker.count
            } else {
                i += 1
            }
        }
        ids += encoder.encode(marked[start...])
    }

    // MARK: Decoding

    /// The text of `ids`. See `TextTokenizing`.
    public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
        var decoder = StreamingDecoder(self, skipSpecialTokens: skipSpecialTokens)
        var text = decoder.push(ids)
        text += decoder.finish()
        return tables.cleanUpSpaces ? CleanUp.apply(text) : text
    }

    /// The bytes that decoding starts from, nil for an id that it leaves out.
    func decodable(_ id: Int32, skipSpecialTokens: Bool) -> [UInt8]? {
        guard let piece = piece(id) else { return nil }
        return skipSpecialTokens && isSpecial(id) ? nil : spellings[id] ?? piece
    }

    // MARK: Vocabulary

    /// The id of the token with exactly these UTF-8 bytes, added tokens included.
    public func id(of piece: [UInt8]) -> Int32? {
        index.id(piece)
    }

    /// The UTF-8 bytes of the token; nil for ids out of range and for unused rows.
    public func piece(_ id: Int32) -> [UInt8]? {
        guard id >= 0 && Int(id) < tables.pieces.count && tables.types[Int(id)] != .unused else {
            return nil
        }
        return tables.pieces[Int(id)]
    }

    /// Whether decoding with `skipSpecialTokens` leaves this id out.
    public func isSpecial(_ id: Int32) -> Bool {
        special.contains(id)
    }

    /// One more than the largest id, unused rows included.
    public var vocabularySize: Int { tables.pieces.count }

    /// Begin of sequence; `</s>` (2) in InstructBLIP.
    public var bosID: Int32? { tables.bosID }

    /// End of sequence.
    public var eosID: Int32? { tables.eosID }
}
