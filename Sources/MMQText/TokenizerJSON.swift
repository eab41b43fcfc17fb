import MMQBase

/// The parts of a `tokenizer.json` (Hugging Face tokenizers) that a SentencePiece-BPE tokenizer can
/// have. What is not supported is an error that names it; nothing is guessed.
struct TokenizerJSON {
    let json: JSONValue
    let file: String

    struct BytePairModel {
        var pieces: [[UInt8]?]
        var index: PieceIndex
        var count: Int
        var merges: [MergePair]
        var unknownPiece: [UInt8]?
        var byteFallback: Bool
        var fuseUnknown: Bool
        var ignoreMerges: Bool
    }

    func error(_ key: String, _ expected: String, _ found: String) -> InputError {
        InputError(.badValue, file: file, item: key, expected: expected, found: found)
    }

    /// The `added_tokens`, in the order of the file.
    func addedTokens() throws -> [AddedTokenDefinition] {
        try (json["added_tokens"]?.array ?? []).enumerated().map { i, value in
            try AddedTokenDefinition(value, file: file, key: "added_tokens[\(i)]")
        }
    }

    // MARK: Vocabulary

    /// Pieces by id from an object of ids, checked.
    func vocabulary() throws -> (pieces: [[UInt8]?], index: PieceIndex, count: Int) {
        guard let members = json["model"]?["vocab"]?.members else {
            throw error("model.vocab", "an object", json["model"]?["vocab"]?.kind ?? "nothing")
        }
        // A vocabulary with large holes would cost memory without reason.
        let limit = members.count * 4 + 65536
        var pieces: [[UInt8]?] = Array(repeating: nil, count: members.count)
        var index = PieceIndex(count: members.count)
        for member in members {
            guard let id = member.value.integer, id >= 0 && id < limit else {
                throw error(
                    "model.vocab." + member.key,
                    "an id below \(limit)", "\(member.value)")
            }
            while pieces.count <= id { pieces.append(nil) }
            let piece = utf8Bytes(member.key)
            guard pieces[id] == nil, index.insert(piece, id: Int32(clamping: id)) else {
                throw error(
                    "model.vocab." + member.key,
                    "a piece and an id of its own", "id \(id) or the piece a second time")
            }
            pieces[id] = piece
        }
        guard !members.isEmpty else { throw error("model.vocab", "pieces", "none") }
        return (pieces, index, members.count)
    }

    /// The `model`, which must be of type `BPE`.
    func bytePairModel() throws -> BytePairModel {
        guard let model = json["model"] else { throw error("model", "an object", "nothing") }
        guard (model.present("type")?.text ?? "BPE") == "BPE" else {
            throw error("model.type", "BPE", model["type"]?.text ?? "something else")
        }
        if let dropout = model.present("dropout"), dropout != .integer(0), dropout != .number(0) {
            throw error("model.dropout", "null", "\(dropout)")
        }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let value = model.present(key), value.bytes?.isEmpty != true {
                throw error("model." + key, "null", value.text ?? value.kind)
            }
        }
        let (pieces, index, count) = try vocabulary()
        return BytePairModel(
            pieces: pieces, index: index, count: count,
            merges: try merges(model["merges"], pieces: pieces, index: index),
            unknownPiece: model.present("unk_token")?.bytes,
            byteFallback: model.present("byte_fallback")?.bool ?? false,
            fuseUnknown: model.present("fuse_unk")?.bool ?? false,
            ignoreMerges: model.present("ignore_merges")?.bool ?? false)
    }

    private func merges(
        _ value: JSONValue?, pieces: [[UInt8]?], index: PieceIndex
    ) throws -> [MergePair] {
        guard let values = value?.array else {
            throw error("model.merges", "an array", value?.kind ?? "nothing")
        }
        return try values.enumerated().map { i, value in
            let parts: [[UInt8]]
            if let line = value.bytes {
                parts = line.split(separator: 0x20, omittingEmptySubsequences: false).map(
                    Array.init)
            } else {
                parts = (value.array ?? []).compactMap(\.bytes)
            }
            guard parts.count == 2 else {
                throw error("model.merges[\(i)]", "two pieces", value.text ?? value.kind)
            }
            guard let left = index.id(parts[0]), let right = index.id(parts[1]),
                index.id(parts[0] + parts[1]) != nil
            else {
                throw error(
                    "model.merges[\(i)]", "pieces of the vocabulary",
                    parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " "))
            }
            return MergePair(left, right)
        }
    }

    // MARK: Pipeline

    private func type(_ value: JSONValue, _ key: String) throws -> String {
        guard let type = value["type"]?.text else { throw error(key, "a type", value.kind) }
        return type
    }

    private func bytes(_ value: JSONValue, _ name: String, _ key: String) throws -> [UInt8] {
        guard let bytes = value[name]?.bytes else {
            throw error("\(key).\(name)", "a string", value[name]?.kind ?? "nothing")
        }
        return bytes
    }

    /// The members of a `Sequence`, or the value itself.
    private func flatten(
        _ value: JSONValue?, _ list: String, _ key: String
    ) throws -> [(value: JSONValue, key: String)] {
        guard let value, value != .null else { return [] }
        guard try type(value, key) == "Sequence" else { return [(value, key)] }
        guard let members = value[list]?.array else {
            throw error("\(key).\(list)", "an array", value[list]?.kind ?? "nothing")
        }
        return try members.enumerated().flatMap { i, member in
            try flatten(member, list, "\(key).\(list)[\(i)]")
        }
    }

    private func pattern(_ value: JSONValue, _ key: String) throws -> [UInt8] {
        guard let pattern = value["pattern"]?["String"]?.bytes else {
            throw error(key + ".pattern", "a String", "something else (Regex is not supported)")
        }
        return pattern
    }

    /// The `normalizer`.
    func normalizer() throws -> [NormalizerStep] {
        try flatten(json["normalizer"], "normalizers", "normalizer").map { value, key in
            switch try type(value, key) {
            case "Prepend": return .prepend(try bytes(value, "prepend", key))
            case "Replace":
                return .replace(try pattern(value, key), with: try bytes(value, "content", key))
            case let other: throw error(key + ".type", "Prepend or Replace", other)
            }
        }
    }

    /// The `pre_tokenizer`: none or one Metaspace.
    func metaspace() throws -> Metaspace? {
        let steps = try flatten(json["pre_tokenizer"], "pretokenizers", "pre_tokenizer")
        guard let (value, key) = steps.first else { return nil }
        guard steps.count == 1, try type(value, key) == "Metaspace" else {
            let found = try steps.map { try type($0.value, $0.key) }
            throw error("pre_tokenizer", "one Metaspace", found.joined(separator: ", "))
        }
        return Metaspace(
            replacement: try bytes(value, "replacement", key), scheme: try scheme(value, key),
            split: value.present("split")?.bool ?? true)
    }

    private func scheme(_ value: JSONValue, _ key: String) throws -> PrependScheme {
        let name = value.present("prepend_scheme")?.text ?? "always"
        guard let scheme = PrependScheme(rawValue: name) else {
            throw error(key + ".prepend_scheme", "first, always or never", name)
        }
        // Files from before there was a scheme.
        return value.present("add_prefix_space")?.bool == false ? .never : scheme
    }

    /// The `decoder`, nil for none.
    func decoder() throws -> [DecoderStep]? {
        guard json.present("decoder") != nil else { return nil }
        return try flatten(json["decoder"], "decoders", "decoder").map { value, key in
            switch try type(value, key) {
            case "Replace":
                return .replace(try pattern(value, key), with: try bytes(value, "content", key))
            case "ByteFallback": return .byteFallback
            case "Fuse": return .fuse
            case "Strip":
                let content = String(decoding: try bytes(value, "content", key), as: UTF8.self)
                guard content.unicodeScalars.count == 1, let scalar = content.unicodeScalars.first,
                    let start = value["start"]?.integer, let stop = value["stop"]?.integer,
                    start >= 0 && stop >= 0
                else { throw error(key, "a character, start and stop", "something else") }
                return .strip(scalar.value, left: start, right: stop)
            case "Metaspace":
                return .metaspace(
                    try bytes(value, "replacement", key),
                    dropFirst: try scheme(value, key) != .never)
            case let other:
                throw error(
                    key + ".type", "Replace, ByteFallback, Fuse, Strip or Metaspace", other)
            }
        }
    }

    /// The ids that the `post_processor` puts before and after a text, nil where there is none.
    func template() throws -> (prefix: [Int32], suffix: [Int32])? {
        guard json.present("post_processor") != nil else { return nil }
        var prefix: [Int32] = []
        var suffix: [Int32] = []
        for (value, key) in try flatten(json["post_processor"], "processors", "post_processor") {
            switch try type(value, key) {
            case "TemplateProcessing":
                let (before, after) = try template(value, key)
                prefix = before + prefix
                suffix += after
            case "BertProcessing", "RobertaProcessing":
                prefix = [try pairID(value, "cls", key)] + prefix
                suffix.append(try pairID(value, "sep", key))
            case "ByteLevel": break  // changes offsets only
            case let other:
                throw error(key + ".type", "TemplateProcessing, BertProcessing or none", other)
            }
        }
        return (prefix, suffix)
    }

    private func template(
        _ value: JSONValue, _ key: String
    ) throws -> (prefix: [Int32], suffix: [Int32]) {
        var ids: [[Int32]] = [[]]
        for item in value["single"]?.array ?? [] {
            if item["Sequence"] != nil {
                ids.append([])
            } else if let name = item["SpecialToken"]?["id"]?.text {
                guard let list = value["special_tokens"]?[name]?["ids"]?.array else {
                    throw error("\(key).special_tokens.\(name)", "ids", "nothing")
                }
                ids[ids.count - 1] += try list.map { value in
                    guard let id = value.integer, let id = Int32(exactly: id), id >= 0 else {
                        throw error("\(key).special_tokens.\(name)", "ids", value.kind)
                    }
                    return id
                }
            } else {
                throw error(key + ".single", "Sequence or SpecialToken", item.kind)
            }
        }
        guard ids.count == 2 else {
            throw error(key + ".single", "the text once", "\(ids.count - 1) times")
        }
        return (ids[0], ids[1])
    }

    private func pairID(_ value: JSONValue, _ name: String, _ key: String) throws -> Int32 {
        guard let id = value[name]?.array?.last?.integer, let id = Int32(exactly: id) else {
            throw error("\(key).\(name)", "a token and its id", value[name]?.kind ?? "nothing")
        }
        return id
    }
}
