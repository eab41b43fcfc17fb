import Foundation
import MMQBase

/// Everything that is needed to rebuild a BERT WordPiece tokenizer.
public struct WordPieceTables: Sendable, Equatable {
    /// UTF-8 bytes of each piece; the index is the id. An id without a piece is empty.
    public var pieces: [[UInt8]]
    /// Added tokens, in ascending order of ids.
    public var addedTokens: [AddedToken]
    /// What a word becomes that the vocabulary cannot spell (`[UNK]`).
    public var unkID: Int32
    /// `[PAD]`.
    public var padID: Int32?
    /// Ids before the text: `[CLS]`.
    public var prefixIDs: [Int32]
    /// Ids after the text: `[SEP]`.
    public var suffixIDs: [Int32]
    /// Control characters are dropped, whitespace becomes spaces.
    public var cleanText: Bool
    /// CJK ideographs stand alone.
    public var spaceChinese: Bool
    /// Accents are dropped.
    public var stripAccents: Bool
    /// Text is lowercased.
    public var lowercase: Bool
    /// What a piece inside a word begins with, `##`.
    public var continuingPrefix: [UInt8]
    /// A word of more scalars becomes `unkID`.
    public var maximumWordLength: Int
    /// Side on which a text that is too long is cut: left for the Q-Former's tokenizer.
    public var truncationSide: TruncationSide
    /// `model_max_length` of the configuration, 512 for BERT, nil for none. The reference only cuts
    /// when it is asked to (`truncation=True`).
    public var maximumLength: Int?
    /// Decoding removes the spaces before punctuation once more.
    public var cleanUpSpaces: Bool

    /// Tables for an uncased vocabulary with BERT's usual settings; the special tokens are those
    /// that it has under their usual names.
    ///
    /// - Parameter pieces: the lines of a `vocab.txt`.
    /// - Throws: `InputError` if `[UNK]` is missing.
    public init(pieces: [[UInt8]]) throws {
        func id(_ name: String) -> Int32? {
            pieces.lastIndex(of: Array(name.utf8)).map { Int32(clamping: $0) }
        }
        guard let unknown = id("[UNK]") else {
            throw InputError(
                .badValue,
                file: TokenizerTables.source, item: "pieces", expected: "[UNK]", found: "none")
        }
        self.init(pieces: pieces, unknown: unknown)
        padID = id("[PAD]")
        prefixIDs = [id("[CLS]")].compactMap { $0 }
        suffixIDs = [id("[SEP]")].compactMap { $0 }
        addedTokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].compactMap { id($0) }.sorted()
            .map { AddedToken(id: $0, inModel: true) }
    }

    /// Tables with BERT's usual settings and no special tokens.
    fileprivate init(pieces: [[UInt8]], unknown: Int32) {
        self.pieces = pieces
        unkID = unknown
        padID = nil
        addedTokens = []
        prefixIDs = []
        suffixIDs = []
        cleanText = true
        spaceChinese = true
        stripAccents = true
        lowercase = true
        continuingPrefix = Array("##".utf8)
        maximumWordLength = 100
        truncationSide = .right
        maximumLength = nil
        cleanUpSpaces = false
    }

    /// Reads the Q-Former's tokenizer, as `InstructBlipProcessor.from_pretrained` of transformers
    /// 5.23 does: `tokenizer.json`, or `vocab.txt`, with `tokenizer_config.json`,
    /// `added_tokens.json` and `special_tokens_map.json`.
    ///
    /// For `BertTokenizer` (or ...`Fast`) only the vocabulary of a `tokenizer.json` counts, the
    /// rest is built anew from the configuration (`do_lower_case`, `tokenize_chinese_chars`,
    /// `strip_accents`). For `TokenizersBackend` or `PreTrainedTokenizerFast` the file is used as
    /// it is.
    ///
    /// - Parameter folder: path of the folder, `.../qformer_tokenizer`.
    /// - Throws: `InputError` naming file and key.
    public static func load(folder: String) throws -> WordPieceTables {
        var files = try HubTokenizerFiles(folder: folder)
        let rebuilt: Bool
        switch files.configuration.present("tokenizer_class")?.text {
        case "BertTokenizer", "BertTokenizerFast": rebuilt = true
        case "TokenizersBackend", "PreTrainedTokenizerFast": rebuilt = false
        case let other:
            throw InputError(
                .badValue,
                file: files.path("tokenizer_config.json"), item: "tokenizer_class",
                expected: "BertTokenizer or TokenizersBackend", found: other ?? "nothing")
        }
        let source = try WordPieceSource(files: files, rebuilt: rebuilt)
        var added = source.added
        let names = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
        let spellings = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]
        files.add(to: &added, defaults: rebuilt ? Array(zip(names, spellings)) : [])
        return try source.tables(files: files, added: added, rebuilt: rebuilt)
    }
}

/// What goes into the tables, while it is put together.
private struct WordPieceSource {
    let pieces: [[UInt8]?]
    let index: PieceIndex
    let file: String
    /// Added tokens that the file brings along.
    let added: AddedVocabulary
    let reader: TokenizerJSON?

    init(files: HubTokenizerFiles, rebuilt: Bool) throws {
        if let json = files.tokenizerJSON {
            file = files.path("tokenizer.json")
            let reader = TokenizerJSON(json: json, file: file)
            if let type = json["model"]?.present("type")?.text, type != "WordPiece" {
                throw reader.error("model.type", "WordPiece", type)
            }
            let vocabulary = try reader.vocabulary()
            (pieces, index) = (vocabulary.pieces, vocabulary.index)
            var added = AddedVocabulary(model: index, count: vocabulary.count)
            if !rebuilt { added.add(try reader.addedTokens()) }
            self.added = added
            self.reader = reader
            return
        }
        file = files.path("vocab.txt")
        guard rebuilt, let bytes = try HubTokenizerFiles.bytes(file) else {
            throw InputError(
                .badValue,
                file: files.folder, item: "tokenizer",
                expected: rebuilt ? "tokenizer.json or vocab.txt" : "tokenizer.json",
                found: "none")
        }
        guard UTF8Scan.isValid(bytes) else {
            throw InputError(
                .badValue, file: file, item: "file", expected: "valid UTF-8", found: "other bytes")
        }
        var lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        var pieces: [[UInt8]?] = lines.map { line in
            var line = line
            while !line.isEmpty {
                let (scalar, start) = UTF8Scan.scalar(line, before: line.endIndex)
                guard scalar.properties.isWhitespace else { break }
                line = line[..<start]
            }
            return Array(line)
        }
        // Of equal lines the last one counts.
        var last: [[UInt8]: Int] = [:]
        for case (let i, let piece?) in pieces.enumerated() {
            if let earlier = last.updateValue(i, forKey: piece) { pieces[earlier] = nil }
        }
        var index = PieceIndex(count: pieces.count)
        for case (let i, let piece?) in pieces.enumerated() {
            index.insert(piece, id: Int32(clamping: i))
        }
        self.pieces = pieces
        self.index = index
        added = AddedVocabulary(model: index, count: last.count)
        reader = nil
    }

    func tables(
        files: HubTokenizerFiles, added: AddedVocabulary, rebuilt: Bool
    ) throws -> WordPieceTables {
        let highest = max(pieces.count - 1, Int(added.tokens.keys.max() ?? 0))
        let all = (0...max(highest, 0)).map { i in
            added.tokens[Int32(clamping: i)]?.content ?? (i < pieces.count ? pieces[i] : nil) ?? []
        }
        let model = rebuilt ? nil : reader?.json["model"]
        let unknown =
            rebuilt
            ? files.content("unk_token") ?? Array("[UNK]".utf8)
            : model?.present("unk_token")?.bytes ?? Array("[UNK]".utf8)
        guard let unkID = index.id(unknown) else {
            throw InputError(
                .badValue,
                file: file, item: "unk_token", expected: "a piece of the vocabulary",
                found: String(decoding: unknown, as: UTF8.self))
        }
        var tables = WordPieceTables(pieces: all, unknown: unkID)
        tables.padID = files.content("pad_token").flatMap { added.id($0) }
        tables.addedTokens = added.tableEntries { $0 < pieces.count && pieces[$0] != nil }
        if rebuilt {
            let cls = files.content("cls_token").flatMap { added.id($0) } ?? 2
            let sep = files.content("sep_token").flatMap { added.id($0) } ?? 3
            (tables.prefixIDs, tables.suffixIDs) = ([cls], [sep])
            tables.lowercase = try files.flag("do_lower_case") ?? true
            tables.spaceChinese = try files.flag("tokenize_chinese_chars") ?? true
            tables.stripAccents = try files.flag("strip_accents") ?? tables.lowercase
        } else if let reader {
            (tables.prefixIDs, tables.suffixIDs) = try reader.template() ?? ([], [])
            try readPipeline(reader, &tables)
        }
        tables.cleanUpSpaces = try files.flag("clean_up_tokenization_spaces") ?? false
        tables.truncationSide = files.truncation().side
        // A limit without meaning is a number such as 1e30, which is no Int.
        tables.maximumLength = files.configuration["model_max_length"]?.integer
        return tables
    }

    private func readPipeline(_ reader: TokenizerJSON, _ tables: inout WordPieceTables) throws {
        let json = reader.json
        func require(_ key: String, _ type: String) throws -> JSONValue {
            guard let value = json.present(key), value["type"]?.text == type else {
                throw reader.error(key, type, json[key]?["type"]?.text ?? "nothing")
            }
            return value
        }
        let normalizer = try require("normalizer", "BertNormalizer")
        _ = try require("pre_tokenizer", "BertPreTokenizer")
        let decoder = try require("decoder", "WordPiece")
        tables.cleanText = normalizer["clean_text"]?.bool ?? true
        tables.spaceChinese = normalizer["handle_chinese_chars"]?.bool ?? true
        tables.lowercase = normalizer["lowercase"]?.bool ?? true
        tables.stripAccents = normalizer.present("strip_accents")?.bool ?? tables.lowercase
        let model = json["model"]
        if let prefix = model?.present("continuing_subword_prefix")?.bytes {
            tables.continuingPrefix = prefix
        }
        tables.maximumWordLength = model?.present("max_input_chars_per_word")?.integer ?? 100
        guard decoder["prefix"]?.bytes == tables.continuingPrefix,
            decoder["cleanup"]?.bool == true
        else { throw reader.error("decoder", "the model's prefix and cleanup", "others") }
    }
}
