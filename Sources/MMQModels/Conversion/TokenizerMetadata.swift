import Foundation
import MMQBase
import MMQFormats
import MMQText

/// A tokenizer in GGUF: the keys that every GGUF program reads in the language file, and what they
/// cannot say as JSON in the vision file.
enum TokenizerMetadata {
    typealias Members = [(key: String, value: GGUFValue)]

    /// Key of the tokenizer's remaining facts in the vision file.
    static let extrasKey = "mmq.tokenizer.extras"

    /// Ids of the added tokens, their spellings and types, in the vision file: they hold whatever
    /// language file comes with it.
    static let addedIDsKey = "mmq.tokenizer.added_ids"
    static let addedPiecesKey = "mmq.tokenizer.added_pieces"
    static let addedTypesKey = "mmq.tokenizer.added_types"
    /// A hash of the ordinary pieces, so that a language file with another vocabulary is noticed.
    static let vocabularyKey = "mmq.tokenizer.vocabulary"

    /// A checkpoint's tokenizer as metadata of the language and of the vision file.
    static func read(
        folder: String, model: any ModelConfiguration
    ) throws -> (language: Members, vision: Members) {
        let tokenizers = try model.tokenizers(checkpoint: folder)
        let rows = model.text.vocabularySize
        return (
            try language(tokenizers.language, rows: rows, file: folder),
            vision(tokenizers.language) + tokenizers.others
        )
    }

    /// What the plain keys cannot say.
    private static func vision(_ tables: TokenizerTables) -> Members {
        let ids = tables.addedTokens.map(\.id).filter { tables.pieces.indices.contains(Int($0)) }
        return [
            (extrasKey, .string(tables.extrasJSON)),
            (vocabularyKey, .uint64(vocabularyHash(tables))),
            (addedIDsKey, .int32s(ids)),
            (addedPiecesKey, .strings(ids.map { tables.pieces[Int($0)] })),
            (addedTypesKey, .int32s(ids.map { tables.types[Int($0)].rawValue })),
        ]
    }

    /// FNV-1a over the ordinary and the byte pieces with their ids.
    private static func vocabularyHash(_ tables: TokenizerTables) -> UInt64 {
        var hash = StableHash()
        for (id, piece) in tables.pieces.enumerated() {
            guard tables.types[id] == .normal || tables.types[id] == .byte else { continue }
            hash.add(littleEndian: UInt32(truncatingIfNeeded: id))
            hash.add(piece)
        }
        return hash.value
    }

    /// The tables of a language file with what the vision file adds.
    ///
    /// A language file of another program may lack the added tokens (its embedding table may have
    /// no rows for them); then they are put in.
    static func tables(language: GGUFFile, vision: GGUFFile) throws -> TokenizerTables {
        var tables = try tables(language)
        let metadata = vision.metadata
        let ids = try metadata.integers(addedIDsKey)
        let pieces = try metadata.strings(addedPiecesKey)
        let types = try metadata.integers(addedTypesKey)
        guard ids.count == pieces.count, ids.count == types.count else {
            throw InputError(
                .badValue, file: vision.path, item: "key '\(addedPiecesKey)'",
                expected: "\(ids.count) pieces and types", found: "\(pieces.count), \(types.count)")
        }
        for (index, id) in ids.enumerated() {
            guard (0..<1 << 20).contains(id),
                let type = PieceType(rawValue: Int32(clamping: types[index]))
            else {
                throw InputError(
                    .badValue, file: vision.path, item: "key '\(addedIDsKey)'",
                    expected: "token ids below 2^20, types from 1 to 6",
                    found: "id \(id), type \(types[index])")
            }
            tables = tables.padded(to: id + 1)
            tables.pieces[id] = pieces[index]
            tables.types[id] = type
        }
        let expected = metadata[vocabularyKey]
        guard expected == .uint64(vocabularyHash(tables)) else {
            throw InputError(
                .badValue, file: language.path, item: "key 'tokenizer.ggml.tokens'",
                expected: "the vocabulary for which \(vision.path) was made",
                found: "another one")
        }
        let extras = try metadata.string(extrasKey)
        try InputError.about(file: vision.path) { try tables.apply(extrasJSON: extras) }
        return tables
    }

    /// `tokenizer.ggml.*` for a model whose embedding table has `rows` rows.
    static func language(
        _ tables: TokenizerTables, rows: Int, file: String
    ) throws -> Members {
        guard tables.pieces.count <= rows else {
            throw InputError(
                .badValue, file: file, item: "tokenizer",
                expected: "at most vocab_size \(rows) tokens", found: "\(tables.pieces.count)")
        }
        let tables = tables.padded(to: rows)
        var members: Members = [
            ("tokenizer.ggml.model", .string("llama")),
            ("tokenizer.ggml.pre", .string("default")),
            ("tokenizer.ggml.tokens", .strings(tables.pieces)),
            ("tokenizer.ggml.scores", .floats(tables.scores)),
            ("tokenizer.ggml.token_type", .int32s(tables.types.map(\.rawValue))),
        ]
        let ids = [
            ("bos", tables.bosID), ("eos", tables.eosID), ("unknown", tables.unkID),
            ("padding", tables.padID),
        ]
        for (name, id) in ids {
            guard let id, let unsigned = UInt32(exactly: id) else { continue }
            members.append(("tokenizer.ggml.\(name)_token_id", .uint32(unsigned)))
        }
        members += [
            ("tokenizer.ggml.add_bos_token", .bool(tables.addsBOS)),
            ("tokenizer.ggml.add_eos_token", .bool(tables.addsEOS)),
            ("tokenizer.ggml.add_space_prefix", .bool(tables.addsSpacePrefix)),
        ]
        return members
    }

    /// The tables of a language file, with llama.cpp's defaults for missing keys.
    static func tables(_ file: GGUFFile) throws -> TokenizerTables {
        let metadata = file.metadata
        let model = try metadata.string("tokenizer.ggml.model")
        guard model == "llama" else {
            throw InputError(
                .unsupported, file: file.path, item: "key 'tokenizer.ggml.model'",
                expected: "'llama'", found: "'\(model)'")
        }
        let pieces = try metadata.strings("tokenizer.ggml.tokens")
        let scores = try metadata.floats("tokenizer.ggml.scores")
        let numbers = try metadata.integers("tokenizer.ggml.token_type")
        let types = try numbers.map { number in
            guard let raw = Int32(exactly: number), let type = PieceType(rawValue: raw) else {
                throw InputError(
                    .badValue, file: file.path, item: "key 'tokenizer.ggml.token_type'",
                    expected: "types from 1 to 6", found: "\(number)")
            }
            return type
        }
        for (key, count) in [("scores", scores.count), ("token_type", types.count)] {
            guard count == pieces.count else {
                throw InputError(
                    .badValue, file: file.path, item: "key 'tokenizer.ggml.\(key)'",
                    expected: "\(pieces.count) elements, one per token", found: "\(count)")
            }
        }
        func id(_ name: String, _ fallback: Int32?) throws -> Int32? {
            let key = "tokenizer.ggml.\(name)_token_id"
            guard metadata[key] != nil else { return fallback }
            return Int32(try metadata.integer(key, in: 0...max(0, pieces.count - 1)))
        }
        func flag(_ name: String, _ fallback: Bool) throws -> Bool {
            let key = "tokenizer.ggml." + name
            return metadata[key] == nil ? fallback : try metadata.bool(key)
        }
        return TokenizerTables(
            pieces: pieces, scores: scores, types: types, bosID: try id("bos", 1),
            eosID: try id("eos", 2), unkID: try id("unknown", 0), padID: try id("padding", nil),
            addBOS: try flag("add_bos_token", true), addEOS: try flag("add_eos_token", false),
            addSpacePrefix: try flag("add_space_prefix", true))
    }
}

extension ModelFiles {
    /// The language model's tokenizer.
    public func tokenizerTables() throws -> TokenizerTables {
        try TokenizerMetadata.tables(language: language, vision: vision)
    }

    /// The tokenizer of the words that a Q-Former reads, where the model has one.
    public func wordPieceTables() throws -> WordPieceTables {
        try WordPieceMetadata.tables(vision)
    }
}
