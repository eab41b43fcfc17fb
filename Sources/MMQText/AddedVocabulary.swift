import MMQBase

/// An added token as files define it.
struct AddedTokenDefinition: Equatable {
    var content: [UInt8]
    var leftStrip = false
    var rightStrip = false
    var singleWord = false
    var normalized = true
    var special = false

    /// A token without further flags: special ones are looked for in the raw text.
    init(_ content: [UInt8], special: Bool) {
        self.content = content
        self.special = special
        normalized = !special
    }

    /// From an object such as those of `added_tokens`; flags that are missing are as the reference
    /// has them by default.
    init(_ value: JSONValue, file: String, key: String, special: Bool? = nil) throws {
        guard let content = value["content"]?.bytes else {
            throw InputError(
                .badValue,
                file: file, item: key + ".content", expected: "a string",
                found: value["content"]?.kind ?? "nothing")
        }
        func flag(_ name: String) throws -> Bool? {
            guard let flag = value.present(name) else { return nil }
            guard let flag = flag.bool else {
                throw InputError(
                    .badValue,
                    file: file, item: "\(key).\(name)", expected: "true or false", found: flag.kind)
            }
            return flag
        }
        self.content = content
        self.special = try special ?? flag("special") ?? false
        leftStrip = try flag("lstrip") ?? false
        rightStrip = try flag("rstrip") ?? false
        singleWord = try flag("single_word") ?? false
        normalized = try flag("normalized") ?? !self.special
    }
}

/// Tokens added on top of a model's vocabulary, numbered as the reference numbers them: a token
/// that the model knows keeps its id, another one gets the next free id, whatever id a file may
/// claim for it.
struct AddedVocabulary {
    private let model: PieceIndex
    private let modelCount: Int
    private(set) var tokens: [Int32: AddedTokenDefinition] = [:]
    private var ids: [[UInt8]: Int32] = [:]
    /// The highest id of an added token, -1 without any.
    private var highest: Int32 = -1
    /// Ids that were normalized once keep their normalized spelling.
    private(set) var everNormalized: Set<Int32> = []
    /// Contents that were special once stay so.
    private(set) var everSpecial: Set<[UInt8]> = []

    /// - Parameters:
    ///   - model: the model's own vocabulary.
    ///   - count: its size.
    init(model: PieceIndex, count: Int) {
        self.model = model
        modelCount = count
    }

    /// The id of a token, an added one or one of the model's.
    func id(_ content: [UInt8]) -> Int32? {
        ids[content] ?? model.id(content)
    }

    /// Whether a token with this content was added.
    func contains(_ content: [UInt8]) -> Bool {
        ids[content] != nil
    }

    /// Adds tokens, or changes the flags of those that are there.
    mutating func add(_ definitions: [AddedTokenDefinition]) {
        for token in definitions where !token.content.isEmpty {
            let next = max(highest + 1, Int32(clamping: modelCount))
            let id = id(token.content) ?? next
            highest = max(highest, id)
            ids[token.content] = id
            tokens[id] = token
            if token.special { everSpecial.insert(token.content) }
            if token.normalized { everNormalized.insert(id) }
        }
    }

    /// The tokens for tables, in ascending order of ids.
    ///
    /// - Parameter inModel: whether the model's own vocabulary has a piece of this id.
    func tableEntries(inModel: (Int) -> Bool) -> [AddedToken] {
        tokens.sorted { $0.key < $1.key }.map { id, token in
            AddedToken(
                id: id, special: everSpecial.contains(token.content),
                leftStrip: token.leftStrip, rightStrip: token.rightStrip,
                singleWord: token.singleWord, normalized: token.normalized,
                spelledNormalized: everNormalized.contains(id), inModel: inModel(Int(id)))
        }
    }
}
