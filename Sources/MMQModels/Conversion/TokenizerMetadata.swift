import MMQFormats
import MMQText

/// A tokenizer in GGUF: the keys that every GGUF program reads in the language file, and what they
/// cannot say as JSON in the vision file.
enum TokenizerMetadata {
    /// Key of the tokenizer's remaining facts in the vision file.
    static let extrasKey = "mmq.tokenizer.extras"

    /// A checkpoint's tokenizer, as metadata of both files.
    static func read(
        folder: String, model: ModelDescription
    ) throws -> (
        language: [(key: String, value: GGUFValue)], vision: [(key: String, value: GGUFValue)]
    ) {
        let reference: ReferenceModel =
            switch model {
            case .llavaNext: .llavaNext
            case .instructBLIP: .instructBLIP
            }
        let tables = try TokenizerTables.load(folder: folder, model: reference)
        let rows = model.text.vocabularySize
        return (try language(tables, rows: rows, file: folder), [])
    }

    /// `tokenizer.ggml.*` for a model whose embedding table has `rows` rows.
    static func language(
        _ tables: TokenizerTables, rows: Int, file: String
    ) throws -> [(key: String, value: GGUFValue)] {
        guard tables.pieces.count <= rows else {
            throw FormatError(
                .badValue, file: file, item: "tokenizer",
                expected: "at most vocab_size \(rows) tokens", found: "\(tables.pieces.count)")
        }
        let tables = tables.padded(to: rows)
        var members: [(key: String, value: GGUFValue)] = [
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
            throw FormatError(
                .unsupported, file: file.path, item: "key 'tokenizer.ggml.model'",
                expected: "'llama'", found: "'\(model)'")
        }
        let pieces = try metadata.strings("tokenizer.ggml.tokens")
        let scores = try metadata.floats("tokenizer.ggml.scores")
        let numbers = try metadata.integers("tokenizer.ggml.token_type")
        let types = try numbers.map { number in
            guard let raw = Int32(exactly: number), let type = PieceType(rawValue: raw) else {
                throw FormatError(
                    .badValue, file: file.path, item: "key 'tokenizer.ggml.token_type'",
                    expected: "types from 1 to 6", found: "\(number)")
            }
            return type
        }
        for (key, count) in [("scores", scores.count), ("token_type", types.count)] {
            guard count == pieces.count else {
                throw FormatError(
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
        try TokenizerMetadata.tables(language)
    }
}
