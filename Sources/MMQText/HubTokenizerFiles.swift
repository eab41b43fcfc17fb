import Foundation
import MMQBase

/// The files of a tokenizer in a Hugging Face folder, read in the order and with the precedence of
/// transformers 5.23 (`PreTrainedTokenizerBase._from_pretrained`).
///
/// - `tokenizer_config.json` gives everything that is not vocabulary.
/// - Where it has `added_tokens_decoder`, that is all about added tokens (but for those that a
///   `tokenizer.json` used as it is brings along). Where it has not, `special_tokens_map.json`,
///   `added_tokens.json` and the `added_tokens` of `tokenizer.json` count, in this order.
/// - Where there is a `tokenizer.json`, `add_bos_token` and `add_eos_token` are not read.
struct HubTokenizerFiles {
    /// A special token's value: the bare spelling, or one with flags.
    enum SpecialValue {
        case plain([UInt8])
        case token(AddedTokenDefinition)

        var content: [UInt8] {
            switch self {
            case .plain(let content): content
            case .token(let token): token.content
            }
        }
    }

    let folder: String
    let configuration: JSONValue
    /// `tokenizer.json`, nil where there is none.
    let tokenizerJSON: JSONValue?
    /// Added tokens in ascending order of the ids that the files claim.
    private(set) var addedTokens: [(id: Int, token: AddedTokenDefinition)] = []
    /// `bos_token` and so on; a key without a value was `null`.
    private(set) var special: [String: SpecialValue?] = [:]
    /// Names of special tokens besides the seven standard ones, `image_token` for example, in
    /// order.
    private(set) var modelSpecific: [String] = []
    private var modelSpecificNames: Set<String> = []
    /// `extra_special_tokens` (`additional_special_tokens` in older files), nil where no file has
    /// them.
    private(set) var extraSpecial: [SpecialValue]?
    /// `additional_special_tokens` of `special_tokens_map.json`: a vocabulary's own control tokens
    /// take their place.
    private var mapExtra: [SpecialValue]?

    static let standardNames = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ]

    /// Reads the folder.
    init(folder: String) throws {
        self.folder = folder
        let name = "tokenizer_config.json"
        let configuration = try Self.json(folder, name) ?? .object(JSONObject())
        self.configuration = configuration
        tokenizerJSON = try Self.json(folder, "tokenizer.json")

        var map: [[UInt8]: AddedTokenDefinition] = [:]
        func extra(_ value: JSONValue, _ file: String, _ key: String) throws -> [SpecialValue] {
            guard let values = value.array else {
                throw InputError(
                    .badValue,
                    file: Self.path(folder, file), item: key, expected: "a list", found: value.kind)
            }
            return try values.map { try Self.special($0, Self.path(folder, file), key) }
        }
        for member in configuration.members ?? [] {
            let key = member.key
            if key.hasSuffix("_token") {
                if case .bool = member.value { continue }  // add_bos_token and the like
                special[key] =
                    member.value == .null
                    ? .some(nil) : try Self.special(member.value, Self.path(folder, name), key)
                if !Self.standardNames.contains(key) { addModelSpecific(key) }
            }
        }
        let extraKey = "extra_special_tokens"
        let oldKey = "additional_special_tokens"
        if let members = configuration[extraKey]?.members {
            for member in members {
                let key = member.key
                special[key] = try Self.special(member.value, Self.path(folder, name), key)
                addModelSpecific(key)
            }
        } else if let list = configuration.present(extraKey), list.array?.isEmpty == false {
            extraSpecial = try extra(list, name, extraKey)
        } else if let list = configuration.present(oldKey) {
            extraSpecial = try extra(list, name, oldKey)
        } else if configuration[extraKey] != nil || configuration[oldKey] != nil {
            extraSpecial = []
        }

        var byID: [Int: AddedTokenDefinition] = [:]
        if let decoder = configuration["added_tokens_decoder"] {
            for member in decoder.members ?? [] {
                let key = "added_tokens_decoder." + member.key
                guard let id = Int(member.key) else {
                    throw InputError(
                        .badValue,
                        file: Self.path(folder, name), item: key, expected: "an id as key",
                        found: member.key)
                }
                let token = try AddedTokenDefinition(
                    member.value, file: Self.path(folder, name), key: key)
                byID[id] = token
                map[token.content] = token
            }
        } else {
            try readLegacySpecial(extra)
            try readLegacyAdded(&byID, &map)
        }
        addedTokens = byID.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        for key in Self.standardNames {
            if case .some(.some(let value)) = special[key], let token = map[value.content] {
                special[key] = .token(token)
            }
        }
    }

    private mutating func addModelSpecific(_ key: String) {
        modelSpecific.append(key)
        modelSpecificNames.insert(key)
    }

    private mutating func readLegacySpecial(
        _ extra: (JSONValue, String, String) throws -> [SpecialValue]
    ) throws {
        let name = "special_tokens_map.json"
        for member in try Self.json(folder, name)?.members ?? [] {
            let key = member.key
            switch key {
            case "extra_special_tokens":
                let known = extraSpecial ?? []
                let contents = Set(known.map(\.content))
                let more = try extra(member.value, name, key)
                    .filter { !contents.contains($0.content) }
                extraSpecial = known + more
            case "additional_special_tokens":
                mapExtra = try extra(member.value, name, key)
            default:
                let file = Self.path(folder, name)
                if member.value.members != nil {
                    special[key] = .token(
                        try AddedTokenDefinition(member.value, file: file, key: key, special: true))
                } else {
                    special[key] = try Self.special(member.value, file, key)
                }
                if !Self.standardNames.contains(key) && !modelSpecificNames.contains(key) {
                    addModelSpecific(key)
                }
            }
        }
    }

    private func readLegacyAdded(
        _ byID: inout [Int: AddedTokenDefinition], _ map: inout [[UInt8]: AddedTokenDefinition]
    ) throws {
        let name = "added_tokens.json"
        var specials = Set(
            Self.standardNames.compactMap { key in special[key].flatMap { $0?.content } })
        specials.formUnion((extraSpecial ?? []).map(\.content))
        for member in try Self.json(folder, name)?.members ?? [] {
            guard let id = member.value.integer else {
                throw InputError(
                    .badValue,
                    file: Self.path(folder, name),
                    item: member.key,
                    expected: "an id", found: member.value.kind)
            }
            let content = Array(member.key.utf8)
            let isSpecial = specials.contains(content)
            let token = AddedTokenDefinition(content, special: isSpecial)
            byID[id] = token
            map[token.content] = token
        }
        for (i, value) in (tokenizerJSON?["added_tokens"]?.array ?? []).enumerated() {
            let key = "added_tokens[\(i)]"
            let file = Self.path(folder, "tokenizer.json")
            guard let id = value["id"]?.integer else {
                throw InputError(
                    .badValue,
                    file: file, item: key + ".id", expected: "an id",
                    found: value["id"]?.kind ?? "nothing")
            }
            let token = try AddedTokenDefinition(value, file: file, key: key)
            byID[id] = token
            map[token.content] = token
        }
    }

    /// Adds the tokens that the files name, in the order of `TokenizersBackend.__init__`.
    ///
    /// - Parameter defaults: special tokens that the class has where the files say nothing.
    mutating func add(
        to vocabulary: inout AddedVocabulary, defaults: [(String, String)],
        extraFromModel: [AddedTokenDefinition]? = nil
    ) {
        for (key, content) in defaults where special[key] == nil {
            special[key] = .plain(Array(content.utf8))
        }
        let extra = extraSpecial ?? extraFromModel?.map { .token($0) } ?? mapExtra ?? []
        let names = Self.standardNames + modelSpecific
        let named = names.compactMap { key in special[key].flatMap { $0 } }
        let namedContents = Set(named.map(\.content))
        var added: [AddedTokenDefinition] = []
        for (_, token) in addedTokens {
            if let id = vocabulary.id(token.content), vocabulary.tokens[id] == token { continue }
            added.append(token)
        }
        var known = Set(added.map(\.content))
        for value in named + extra {
            let content = value.content
            guard !known.contains(content) && !vocabulary.contains(content) else { continue }
            known.insert(content)
            switch value {
            case .plain: added.append(AddedTokenDefinition(content, special: true))
            case .token(let token): added.append(token)
            }
        }
        for i in added.indices where namedContents.contains(added[i].content) {
            added[i].special = true
        }
        vocabulary.add(added)
    }

    /// The spelling of a special token.
    func content(_ key: String) -> [UInt8]? {
        special[key].flatMap { $0?.content }
    }

    /// A flag of `tokenizer_config.json`, nil where it is missing or null.
    func flag(_ key: String) throws -> Bool? {
        guard let value = configuration.present(key) else { return nil }
        guard let flag = value.bool else {
            throw InputError(
                .badValue,
                file: Self.path(folder, "tokenizer_config.json"), item: key,
                expected: "true or false", found: value.kind)
        }
        return flag
    }

    /// The file that a LLaMA vocabulary is read from.
    var vocabularyFile: String { path(tokenizerJSON == nil ? "tokenizer.model" : "tokenizer.json") }

    /// Path of a file in the folder.
    func path(_ name: String) -> String { Self.path(folder, name) }

    private static func path(_ folder: String, _ name: String) -> String {
        folder.hasSuffix("/") ? folder + name : folder + "/" + name
    }

    private static func special(
        _ value: JSONValue, _ file: String, _ key: String
    ) throws -> SpecialValue {
        if let bytes = value.bytes { return .plain(bytes) }
        guard value.members != nil else {
            throw InputError(
                .badValue, file: file, item: key, expected: "a token", found: value.kind)
        }
        return .token(try AddedTokenDefinition(value, file: file, key: key))
    }

    /// The bytes of a file, nil where there is none.
    static func bytes(_ path: String) throws -> [UInt8]? {
        guard exists(path) else { return nil }
        return try readSmallFile(path)
    }

    static func json(_ folder: String, _ name: String) throws -> JSONValue? {
        let path = path(folder, name)
        guard let bytes = try bytes(path) else { return nil }
        // Python takes the last of two equal keys.
        let value = try JSONValue(parsing: bytes, file: path, rules: .lastKeyWins)
        guard value.members != nil else {
            throw InputError(
                .badValue, file: path, item: "JSON", expected: "an object", found: value.kind)
        }
        return value
    }
}
