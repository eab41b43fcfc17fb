import Foundation
import MMQBase

/// SentencePiece's Unigram as Hugging Face tokenizers runs it, id for id: the most probable cut of
/// each word, found by Viterbi over its bytes.
public struct UnigramTokenizer: Sendable {
    /// What the tokenizer was built from.
    public let tables: UnigramTables
    private let model: PieceIndex
    /// Bytes of the longest piece.
    private let longest: Int
    /// Score of a character that no piece has: the least score and a penalty of 10.
    private let unknownScore: Double
    private let characterMap: UnigramCharacterMap?
    private let rawMatcher: AddedTokenMatcher
    private let normalizedMatcher: AddedTokenMatcher

    /// Builds the tokenizer.
    ///
    /// - Throws: `InputError` if the tables contradict themselves.
    public init(tables: UnigramTables) throws {
        try tables.validate()
        self.tables = tables
        var model = PieceIndex(count: tables.scores.count)
        for (id, piece) in tables.pieces.prefix(tables.scores.count).enumerated() {
            model.insert(piece, id: Int32(clamping: id))
        }
        self.model = model
        longest = tables.pieces.prefix(tables.scores.count).map(\.count).max() ?? 0
        unknownScore = (tables.scores.min() ?? 0) - 10
        let map = tables.characterMap.isEmpty ? nil : UnigramCharacterMap(tables.characterMap)
        if map == nil, tables.steps.contains(.characterMap) {
            throw InputError(
                .badValue,
                file: TokenizerTables.source, item: "character map", expected: "a character map",
                found: "\(tables.characterMap.count) other bytes")
        }
        characterMap = map
        var raw = AddedTokenMatcher()
        var normalized = AddedTokenMatcher()
        for token in tables.addedTokens {
            let piece = tables.pieces[Int(token.id)]
            if token.normalized {
                normalized.add(
                    token, pattern: Self.normalize(piece, steps: tables.steps, map: map))
            } else {
                raw.add(token, pattern: piece)
            }
        }
        rawMatcher = raw
        normalizedMatcher = normalized
    }

    /// Reads a folder's tokenizer. See `UnigramTables.load(folder:)`.
    public static func load(folder: String) throws -> UnigramTokenizer {
        try UnigramTokenizer(tables: UnigramTables.load(folder: folder))
    }

    /// The ids of `text`, with `[CLS]` and `[SEP]` around it, at most `maximumLength` of them
    /// (`truncation=True, max_length=maximumLength`). Special tokens spelled out in the text are
    /// recognized as such.
    public func encode(_ text: String, maximumLength: Int? = nil) -> [Int32] {
        var ids: [Int32] = []
        let bytes = Array(text.utf8)
        for part in rawMatcher.split(bytes[...], skipSpecial: false) {
            if let id = part.id {
                ids.append(id)
                continue
            }
            let normalized = normalize(Array(bytes[part.range]))
            for part in normalizedMatcher.split(normalized[...], skipSpecial: false) {
                if let id = part.id {
                    ids.append(id)
                } else {
                    for word in words(normalized[part.range]) { cut(word, into: &ids) }
                }
            }
        }
        return WordPieceTokenizer.truncate(
            ids, prefix: tables.prefixIDs, suffix: tables.suffixIDs, limit: maximumLength,
            side: tables.truncationSide)
    }

    // MARK: Normalization

    /// A stretch of text between added tokens, as the model's pieces spell it but for spaces.
    func normalize(_ text: [UInt8]) -> [UInt8] {
        Self.normalize(text, steps: tables.steps, map: characterMap)
    }

    private static func normalize(
        _ text: [UInt8], steps: [UnigramStep], map: UnigramCharacterMap?
    ) -> [UInt8] {
        var text = text
        for step in steps {
            switch step {
            case .stripLeft:
                var start = 0
                while start < text.count {
                    let (scalar, next) = UTF8Scan.scalar(text[...], at: start)
                    guard scalar.properties.isWhitespace else { break }
                    start = next
                }
                text.removeFirst(start)
            case .stripRight:
                var end = text.count
                while end > 0 {
                    let (scalar, start) = UTF8Scan.scalar(text[...], before: end)
                    guard scalar.properties.isWhitespace else { break }
                    end = start
                }
                text.removeSubrange(end...)
            case .characterMap: text = map?.apply(text) ?? text
            case .collapseSpaces: text = collapse(text, spacesOnly: true)
            case .collapseWhitespace: text = collapse(text, spacesOnly: false)
            case .compose: text = CanonicalComposition.compose(text)
            }
        }
        return text
    }

    /// One space for every run of two or more spaces; without `spacesOnly` for every run of two or
    /// more whitespace characters and for single line feeds, carriage returns and tabs.
    private static func collapse(_ text: [UInt8], spacesOnly: Bool) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var i = 0
        while i < text.count {
            var end = i
            var count = 0
            while end < text.count {
                let (scalar, next) = UTF8Scan.scalar(text[...], at: end)
                guard spacesOnly ? scalar == " " : scalar.properties.isWhitespace else { break }
                count += 1
                end = next
            }
            if count > 1 || (count == 1 && !spacesOnly && [0x09, 0x0A, 0x0D].contains(text[i])) {
                result.append(0x20)
                i = end
            } else {
                let next = min(i + UTF8Scan.length(text[i]), text.count)
                result += text[i..<next]
                i = next
            }
        }
        return result
    }

    // MARK: Pieces

    /// Spaces become `▁`, one is put in front, and the text is cut before each.
    private func words(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
        guard !text.isEmpty else { return [] }
        var spelled = UTF8Scan.replacing(text, [0x20], with: spaceMarker)
        if tables.prependsSpace, !spelled.starts(with: spaceMarker) {
            spelled = spaceMarker + spelled
        }
        var words: [[UInt8]] = []
        var start = 0
        for i in 1..<spelled.count
        where spelled[i] == spaceMarker[0] && spelled[i...].starts(with: spaceMarker) {
            words.append(Array(spelled[start..<i]))
            start = i
        }
        return words + [Array(spelled[start...])]
    }

    /// Where the best path to a place comes from.
    private struct Node {
        var id: Int32
        var score: Double
        var start: Int
    }

    /// Appends the ids of the most probable cut of `word`. Of equal scores the first one found
    /// counts: starts in ascending order, short pieces first. Neighbouring unknown characters are
    /// one unknown piece.
    private func cut(_ word: [UInt8], into ids: inout [Int32]) {
        var best = [Node?](repeating: nil, count: word.count + 1)
        best[0] = Node(id: -1, score: 0, start: 0)
        func reach(_ end: Int, from start: Int, id: Int32, score: Double) {
            if let node = best[end], score <= node.score { return }
            best[end] = Node(id: id, score: score, start: start)
        }
        var start = 0
        word.withUnsafeBufferPointer { bytes in
            while start < bytes.count, let here = best[start] {
                let next = min(start + UTF8Scan.length(bytes[start]), bytes.count)
                var isKnown = false
                for end in next..<min(max(next, start + longest) + 1, bytes.count + 1) {
                    // Never cut inside a character.
                    if end < bytes.count && bytes[end] & 0xC0 == 0x80 { continue }
                    let piece = UnsafeBufferPointer(rebasing: bytes[start..<end])
                    guard let id = model.id(piece) else { continue }
                    reach(end, from: start, id: id, score: tables.scores[Int(id)] + here.score)
                    isKnown = isKnown || end == next
                }
                if !isKnown {
                    reach(next, from: start, id: tables.unkID, score: unknownScore + here.score)
                }
                start = next
            }
        }
        var path: [Int32] = []
        var end = word.count
        while end > 0, let node = best[end] {
            guard node.id == tables.unkID else {
                path.append(node.id)
                end = node.start
                continue
            }
            let stop = end
            while end > 0, let node = best[end], node.id == tables.unkID { end = node.start }
            // The reference looks the joined characters up once more.
            path.append(model.id(Array(word[end..<stop])) ?? tables.unkID)
        }
        ids += path.reversed()
    }
}
