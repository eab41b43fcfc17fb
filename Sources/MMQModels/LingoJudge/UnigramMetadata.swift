import MMQBase
import MMQFormats
import MMQText

/// The judge's tokenizer in its file: `mmq.unigram.*`.
enum UnigramMetadata {
    private static let prefix = "mmq.unigram."

    /// The flags of an added token, in the order of the array `added_flags`.
    private static var flags: [WritableKeyPath<AddedToken, Bool>] {
        [
            \.special, \.leftStrip, \.rightStrip, \.singleWord, \.normalized, \.spelledNormalized,
            \.inModel,
        ]
    }

    static func members(_ tables: UnigramTables) -> [(key: String, value: GGUFValue)] {
        let added = tables.addedTokens
        let members: [(key: String, value: GGUFValue)] = [
            ("tokens", .strings(tables.pieces)),
            ("scores", .array(.float64, tables.scores.map(GGUFValue.float64))),
            ("added_ids", .int32s(added.map(\.id))),
            (
                "added_flags",
                .array(.bool, added.flatMap { token in flags.map { .bool(token[keyPath: $0]) } })
            ),
            ("unknown_token_id", .int32(tables.unkID)),
            ("prefix_ids", .int32s(tables.prefixIDs)),
            ("suffix_ids", .int32s(tables.suffixIDs)),
            ("steps", .strings(tables.steps.map { Array($0.rawValue.utf8) })),
            ("character_map", .array(.uint8, tables.characterMap.map(GGUFValue.uint8))),
            ("prepends_space", .bool(tables.prependsSpace)),
            ("truncation_side", .string(tables.truncationSide.rawValue)),
        ]
        return members.map { (prefix + $0.key, $0.value) }
    }

    static func tables(_ file: GGUFFile) throws -> UnigramTables {
        let metadata = file.metadata
        func wrong(_ key: String, _ expected: String, _ found: String) -> InputError {
            InputError(
                .badValue, file: file.path, item: "key '\(prefix)\(key)'", expected: expected,
                found: found)
        }
        func ids(_ key: String) throws -> [Int32] {
            try metadata.integers(prefix + key).map {
                guard let id = Int32(exactly: $0), id >= 0 else {
                    throw wrong(key, "ids", "\($0)")
                }
                return id
            }
        }
        func word<T: RawRepresentable<String>>(_ text: String, _ key: String) throws -> T {
            guard let word = T(rawValue: text) else { throw wrong(key, "a known word", text) }
            return word
        }
        let scores = try metadata.array(prefix + "scores").map { value -> Double in
            guard case .float64(let score) = value else {
                throw wrong("scores", "64-bit floats", value.summary)
            }
            return score
        }
        let map = try metadata.array(prefix + "character_map").map { value -> UInt8 in
            guard case .uint8(let byte) = value else {
                throw wrong("character_map", "bytes", value.summary)
            }
            return byte
        }
        let added = try ids("added_ids")
        let values = try metadata.array(prefix + "added_flags")
        guard values.count == added.count * flags.count else {
            throw wrong("added_flags", "\(flags.count) for each token", "\(values.count)")
        }
        guard let unknown = try Int32(exactly: metadata.integer(prefix + "unknown_token_id")) else {
            throw wrong("unknown_token_id", "an id", "a greater number")
        }
        return UnigramTables(
            pieces: try metadata.strings(prefix + "tokens"), scores: scores,
            addedTokens: added.enumerated().map { index, id in
                var token = AddedToken(id: id)
                for (place, flag) in flags.enumerated() {
                    token[keyPath: flag] = values[index * flags.count + place] == .bool(true)
                }
                return token
            },
            unkID: unknown, prefixIDs: try ids("prefix_ids"), suffixIDs: try ids("suffix_ids"),
            steps: try metadata.strings(prefix + "steps").map {
                try word(String(decoding: $0, as: UTF8.self), "steps")
            },
            characterMap: map, prependsSpace: try metadata.bool(prefix + "prepends_space"),
            truncationSide: try word(
                metadata.string(prefix + "truncation_side"), "truncation_side"))
    }
}
