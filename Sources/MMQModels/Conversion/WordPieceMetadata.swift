import MMQBase
import MMQFormats
import MMQText

/// The Q-Former's tokenizer in the vision file: `mmq.wordpiece.*`.
enum WordPieceMetadata {
    private static let prefix = "mmq.wordpiece."

    /// The flags of an added token, in the order of the array `added_flags`.
    private static var flags: [WritableKeyPath<AddedToken, Bool>] {
        [\.special, \.leftStrip, \.rightStrip, \.singleWord, \.normalized, \.inModel]
    }

    static func members(_ tables: WordPieceTables) -> [(key: String, value: GGUFValue)] {
        var members: [(key: String, value: GGUFValue)] = [
            ("tokens", .strings(tables.pieces)),
            ("added_ids", .int32s(tables.addedTokens.map(\.id))),
            (
                "added_flags",
                .array(
                    .bool,
                    tables.addedTokens.flatMap { token in flags.map { .bool(token[keyPath: $0]) } })
            ),
            ("unknown_token_id", .int32(tables.unkID)),
            ("prefix_ids", .int32s(tables.prefixIDs)),
            ("suffix_ids", .int32s(tables.suffixIDs)),
            ("clean_text", .bool(tables.cleanText)),
            ("space_chinese", .bool(tables.spaceChinese)),
            ("strip_accents", .bool(tables.stripAccents)),
            ("lowercase", .bool(tables.lowercase)),
            ("continuing_prefix", .bytes(tables.continuingPrefix)),
            ("maximum_word_length", .uint32(UInt32(clamping: tables.maximumWordLength))),
            ("truncation_side", .string(tables.truncationSide.rawValue)),
            ("clean_up_spaces", .bool(tables.cleanUpSpaces)),
        ]
        if let id = tables.padID { members.append(("padding_token_id", .int32(id))) }
        if let length = tables.maximumLength {
            members.append(("maximum_length", .uint64(UInt64(clamping: length))))
        }
        return members.map { (prefix + $0.key, $0.value) }
    }

    static func tables(_ file: GGUFFile) throws -> WordPieceTables {
        let metadata = file.metadata
        func wrong(_ key: String, _ expected: String, _ found: String) -> InputError {
            InputError(
                .badValue, file: file.path, item: "key '\(prefix)\(key)'", expected: expected,
                found: found)
        }
        let pieces = try metadata.strings(prefix + "tokens")
        func id(_ number: Int, _ key: String) throws -> Int32 {
            guard pieces.indices.contains(number), let id = Int32(exactly: number) else {
                throw wrong(key, "ids below \(pieces.count)", "\(number)")
            }
            return id
        }
        func ids(_ key: String) throws -> [Int32] {
            try metadata.integers(prefix + key).map { try id($0, key) }
        }
        var tables = try InputError.about(file: file.path) {
            try WordPieceTables(pieces: pieces)
        }
        let added = try ids("added_ids")
        let values = try metadata.array(prefix + "added_flags")
        guard values.count == added.count * flags.count else {
            throw wrong("added_flags", "\(flags.count) for each token", "\(values.count)")
        }
        tables.addedTokens = added.enumerated().map { index, id in
            var token = AddedToken(id: id)
            for (place, flag) in flags.enumerated() {
                token[keyPath: flag] = values[index * flags.count + place] == .bool(true)
            }
            return token
        }
        func number(_ key: String) throws -> Int { try metadata.integer(prefix + key) }
        func bool(_ key: String) throws -> Bool { try metadata.bool(prefix + key) }
        tables.unkID = try id(number("unknown_token_id"), "unknown_token_id")
        tables.padID = nil
        if metadata[prefix + "padding_token_id"] != nil {
            tables.padID = try id(number("padding_token_id"), "padding_token_id")
        }
        tables.prefixIDs = try ids("prefix_ids")
        tables.suffixIDs = try ids("suffix_ids")
        tables.cleanText = try bool("clean_text")
        tables.spaceChinese = try bool("space_chinese")
        tables.stripAccents = try bool("strip_accents")
        tables.lowercase = try bool("lowercase")
        tables.continuingPrefix = Array(try metadata.string(prefix + "continuing_prefix").utf8)
        tables.maximumWordLength = try metadata.integer(
            prefix + "maximum_word_length", in: 1...Int(Int32.max))
        let side = try metadata.string(prefix + "truncation_side")
        guard let known = TruncationSide(rawValue: side) else {
            throw wrong("truncation_side", "left or right", side)
        }
        tables.truncationSide = known
        tables.cleanUpSpaces = try bool("clean_up_spaces")
        tables.maximumLength = nil
        if metadata[prefix + "maximum_length"] != nil {
            tables.maximumLength = try metadata.integer(
                prefix + "maximum_length", in: 1...Int.max)
        }
        return tables
    }
}
