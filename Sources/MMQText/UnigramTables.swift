import Foundation
import MMQBase

/// One step on a stretch of text before a Unigram model sees it.
public enum UnigramStep: String, Sendable, Equatable, CaseIterable {
    /// Drops whitespace at the beginning.
    case stripLeft = "strip_left"
    /// Drops whitespace at the end.
    case stripRight = "strip_right"
    /// Replaces characters by SentencePiece's precompiled map.
    case characterMap = "character_map"
    /// Makes one space of two or more.
    case collapseSpaces = "collapse_spaces"
    /// Makes one space of two or more whitespace characters, and of a line feed, a carriage return
    /// or a tab.
    case collapseWhitespace = "collapse_whitespace"
    /// Unicode normalization form C.
    case compose = "nfc"
}

/// Everything that is needed to rebuild a SentencePiece Unigram tokenizer such as DeBERTa-v3's.
public struct UnigramTables: Sendable, Equatable {
    /// UTF-8 bytes of each piece; the index is the id. Added tokens that the model does not have
    /// come last.
    public var pieces: [[UInt8]]
    /// Log probabilities of the model's own pieces: the first of `pieces`.
    public var scores: [Double]
    /// Added tokens, in ascending order of ids.
    public var addedTokens: [AddedToken]
    /// What characters become that no piece has (`[UNK]`).
    public var unkID: Int32
    /// Ids before the text: `[CLS]`.
    public var prefixIDs: [Int32]
    /// Ids after the text: `[SEP]`.
    public var suffixIDs: [Int32]
    /// What happens to the text between added tokens, in order.
    public var steps: [UnigramStep]
    /// The bytes of the map that `characterMap` uses, empty if there is none.
    public var characterMap: [UInt8]
    /// Whether a space is put in front of a stretch that does not begin with one.
    public var prependsSpace: Bool
    /// Side on which a text that is too long is cut.
    public var truncationSide: TruncationSide

    /// Tables from their parts.
    public init(
        pieces: [[UInt8]], scores: [Double], addedTokens: [AddedToken], unkID: Int32,
        prefixIDs: [Int32], suffixIDs: [Int32], steps: [UnigramStep], characterMap: [UInt8],
        prependsSpace: Bool, truncationSide: TruncationSide
    ) {
        self.pieces = pieces
        self.scores = scores
        self.addedTokens = addedTokens
        self.unkID = unkID
        self.prefixIDs = prefixIDs
        self.suffixIDs = suffixIDs
        self.steps = steps
        self.characterMap = characterMap
        self.prependsSpace = prependsSpace
        self.truncationSide = truncationSide
    }

    /// Reads a folder's tokenizer: `tokenizer.json` as it stands, else `spm.model` in the way
    /// in which transformers 4 makes a fast DeBERTa-v2 tokenizer of it.
    ///
    /// That is what LingoQA's evaluation runs on (transformers 4.36). `DebertaV2Tokenizer` of
    /// transformers 5 takes the vocabulary alone and normalizes otherwise (NFC, not the character
    /// map); a `tokenizer.json` that it has written is read as it wrote it.
    ///
    /// - Throws: `InputError` naming file and key.
    public static func load(folder: String) throws -> UnigramTables {
        var files = try HubTokenizerFiles(folder: folder)
        let source = try UnigramSource(files: files)
        var added = source.added
        if files.tokenizerJSON == nil {
            // As transformers 4 defines it; the rest are plain special tokens.
            if files.content("unk_token") == nil {
                var unknown = AddedTokenDefinition(Array("[UNK]".utf8), special: true)
                unknown.normalized = true
                added.add([unknown])
            }
            let names = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]
            let spellings = ["[CLS]", "[SEP]", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]
            files.add(to: &added, defaults: Array(zip(names.map { $0 + "_token" }, spellings)))
        } else {
            files.add(to: &added, defaults: [])
        }
        return try source.tables(files: files, added: added)
    }

    /// Refuses tables that contradict themselves.
    func validate() throws {
        func fail(_ key: String, _ expected: String, _ found: String) -> InputError {
            InputError(
                .badValue, file: TokenizerTables.source, item: key, expected: expected, found: found
            )
        }
        guard !scores.isEmpty, scores.count <= pieces.count, pieces.count <= 1 << 26 else {
            throw fail(
                "scores", "one per piece of the model, at most \(pieces.count)", "\(scores.count)")
        }
        if let bad = scores.firstIndex(where: { !$0.isFinite }) {
            throw fail("scores[\(bad)]", "a finite number", "\(scores[bad])")
        }
        if let bad = pieces.firstIndex(where: { !UTF8Scan.isValid($0) }) {
            throw fail("pieces[\(bad)]", "valid UTF-8", spelled(pieces[bad]))
        }
        try TokenizerLimits.check(pieces: pieces, file: TokenizerTables.source)
        let ids = prefixIDs + suffixIDs + addedTokens.map(\.id)
        if let bad = ids.first(where: { !pieces.indices.contains(Int($0)) }) {
            throw fail("special ids", "ids below \(pieces.count)", "\(bad)")
        }
        guard scores.indices.contains(Int(unkID)) else {
            throw fail("unknown id", "an id below \(scores.count)", "\(unkID)")
        }
    }
}

/// What goes into the tables, while it is put together.
private struct UnigramSource {
    let file: String
    var pieces: [[UInt8]] = []
    var scores: [Double] = []
    var unknown = 0
    var steps: [UnigramStep] = []
    var characterMap: [UInt8] = []
    var prependsSpace = true
    /// Ids around a text, where the file says.
    var template: (prefix: [Int32], suffix: [Int32])?
    /// Added tokens that the file brings along.
    var added: AddedVocabulary

    init(files: HubTokenizerFiles) throws {
        let isJSON = files.tokenizerJSON != nil
        file = files.path(isJSON ? "tokenizer.json" : "spm.model")
        added = AddedVocabulary(model: PieceIndex(count: 0), count: 0)
        var more: [AddedTokenDefinition] = []
        if let json = files.tokenizerJSON {
            let reader = TokenizerJSON(json: json, file: file)
            try readModel(reader)
            try readNormalizer(reader)
            try readPreTokenizer(reader)
            template = try reader.template() ?? ([], [])
            more = try reader.addedTokens()
        } else {
            guard let bytes = try HubTokenizerFiles.bytes(file) else {
                throw InputError(
                    .badValue,
                    file: files.folder, item: "tokenizer", expected: "tokenizer.json or spm.model",
                    found: "neither")
            }
            more = try readPieces(SentencePieceModel(bytes, file: file))
        }
        var index = PieceIndex(count: pieces.count)
        for (id, piece) in pieces.enumerated() {
            guard index.insert(piece, id: Int32(clamping: id)) else {
                throw InputError(
                    .badValue,
                    file: file, item: "pieces[\(id)]", expected: "a piece of its own",
                    found: String(decoding: piece, as: UTF8.self) + " a second time")
            }
        }
        added = AddedVocabulary(model: index, count: pieces.count)
        added.add(more)
    }

    func tables(files: HubTokenizerFiles, added: AddedVocabulary) throws -> UnigramTables {
        let highest = max(pieces.count - 1, Int(added.tokens.keys.max() ?? 0))
        let all = (0...max(highest, 0)).map { id in
            id < pieces.count ? pieces[id] : added.tokens[Int32(clamping: id)]?.content ?? []
        }
        func id(_ key: String, _ fallback: String) throws -> Int32 {
            let content = files.content(key) ?? Array(fallback.utf8)
            guard let id = added.id(content) else {
                throw InputError(
                    .badValue,
                    file: file, item: key, expected: "a token of the vocabulary",
                    found: String(decoding: content, as: UTF8.self))
            }
            return id
        }
        let around =
            try template ?? ([id("cls_token", "[CLS]")], [id("sep_token", "[SEP]")])
        let tables = UnigramTables(
            pieces: all, scores: scores,
            addedTokens: added.tableEntries { $0 < pieces.count },
            unkID: Int32(clamping: unknown), prefixIDs: around.prefix, suffixIDs: around.suffix,
            steps: steps, characterMap: characterMap, prependsSpace: prependsSpace,
            truncationSide: files.truncation().side)
        try InputError.about(file: file) { try tables.validate() }
        return tables
    }

    // MARK: spm.model

    /// Returns the control and user-defined pieces, which are added tokens.
    private mutating func readPieces(_ model: SentencePieceModel) throws -> [AddedTokenDefinition] {
        guard model.modelType == 1 else {
            throw InputError(
                .badValue,
                file: file, item: "trainer_spec.model_type", expected: "1 (Unigram)",
                found: "\(model.modelType)")
        }
        pieces = model.pieces
        scores = model.scores.map(Double.init)
        unknown = model.unknownID
        characterMap = model.characterMap
        steps = [.stripLeft, .stripRight]
        if !characterMap.isEmpty {
            guard UnigramCharacterMap(characterMap) != nil else {
                throw InputError(
                    .badValue,
                    file: file, item: "precompiled_charsmap", expected: "a character map",
                    found: "\(characterMap.count) other bytes")
            }
            steps.append(.characterMap)
        }
        steps.append(.collapseSpaces)
        return model.types.indices.filter { [3, 4].contains(model.types[$0]) }.map {
            var token = AddedTokenDefinition(model.pieces[$0], special: model.types[$0] == 3)
            token.normalized = false
            return token
        }
    }

    // MARK: tokenizer.json

    private mutating func readModel(_ reader: TokenizerJSON) throws {
        let model = reader.json["model"]
        guard model?.present("type")?.text == "Unigram" else {
            throw reader.error("model.type", "Unigram", model?["type"]?.text ?? "nothing")
        }
        if model?.present("byte_fallback")?.bool == true {
            throw reader.error("model.byte_fallback", "false", "true")
        }
        guard let vocabulary = model?["vocab"]?.array else {
            throw reader.error("model.vocab", "a list", model?["vocab"]?.kind ?? "nothing")
        }
        for (id, entry) in vocabulary.enumerated() {
            let score: Double?
            switch entry.array?.last {
            case .number(let number): score = number
            case .integer(let number): score = Double(number)
            default: score = nil
            }
            guard entry.array?.count == 2, let piece = entry.array?.first?.bytes, let score else {
                throw reader.error("model.vocab[\(id)]", "a piece and a score", entry.kind)
            }
            pieces.append(piece)
            scores.append(score)
        }
        guard let unknown = model?.present("unk_id")?.integer else {
            throw reader.error("model.unk_id", "an id", model?["unk_id"]?.kind ?? "nothing")
        }
        self.unknown = unknown
    }

    private func members(_ value: JSONValue?, _ list: String) -> [JSONValue] {
        guard let value, value != .null else { return [] }
        guard value["type"]?.text == "Sequence" else { return [value] }
        return (value[list]?.array ?? []).flatMap { members($0, list) }
    }

    private mutating func readNormalizer(_ reader: TokenizerJSON) throws {
        for (place, value) in members(reader.json["normalizer"], "normalizers").enumerated() {
            let key = "normalizer.normalizers[\(place)]"
            switch value["type"]?.text {
            case "Strip":
                if value.present("strip_left")?.bool ?? true { steps.append(.stripLeft) }
                if value.present("strip_right")?.bool ?? true { steps.append(.stripRight) }
            case "NFC": steps.append(.compose)
            case "Precompiled":
                let text = value["precompiled_charsmap"]?.text ?? ""
                let bytes = Data(base64Encoded: text).map { [UInt8]($0) } ?? []
                guard characterMap.isEmpty, UnigramCharacterMap(bytes) != nil else {
                    throw reader.error(
                        key + ".precompiled_charsmap", "one character map",
                        characterMap.isEmpty ? "something else" : "a second one")
                }
                characterMap = bytes
                steps.append(.characterMap)
            case "Replace":
                switch (value["pattern"]?["Regex"]?.text, value["content"]?.text) {
                case (" {2,}", " "): steps.append(.collapseSpaces)
                case (#"\s{2,}|[\n\r\t]"#, " "): steps.append(.collapseWhitespace)
                case (let pattern, _):
                    throw reader.error(
                        key, #"the pattern " {2,}" or "\s{2,}|[\n\r\t]" and a space"#,
                        pattern ?? "something else")
                }
            case let other:
                throw reader.error(
                    key + ".type", "Strip, Precompiled, Replace or NFC", other ?? "nothing")
            }
        }
    }

    private mutating func readPreTokenizer(_ reader: TokenizerJSON) throws {
        let metaspace = try reader.metaspace()
        guard let metaspace, metaspace.replacement == spaceMarker, metaspace.split,
            metaspace.scheme != .first
        else {
            throw reader.error(
                "pre_tokenizer", "Metaspace (▁, split, prepend_scheme always or never)", "another")
        }
        prependsSpace = metaspace.scheme == .always
    }
}
