import MMQBase

extension JSONValue {
    /// An object with these members.
    static func make(_ members: KeyValuePairs<String, JSONValue>) -> JSONValue {
        .object(JSONObject(members.map { ($0.key, $0.value) }))
    }

    /// An array of ids.
    static func ids(_ ids: [Int32]) -> JSONValue { .array(ids.map { .integer(Int($0)) }) }

    /// An id or null.
    static func id(_ id: Int32?) -> JSONValue { id.map { .integer(Int($0)) } ?? .null }
}

/// Reads the members of one object of our own making; errors name the key.
struct ExtrasReader {
    let file: String
    let json: JSONValue
    let pieces: Int

    init(_ text: String, file: String, format: Int, pieces: Int) throws {
        self.file = file
        self.pieces = pieces
        json = try JSONValue(parsing: Array(text.utf8), file: file)
        let version = try integer("format")
        guard version == format else {
            throw error("format", "\(format)", "\(version)")
        }
    }

    func error(_ key: String, _ expected: String, _ found: String) -> InputError {
        InputError(.badValue, file: file, item: key, expected: expected, found: found)
    }

    private func value<T>(_ key: String, _ expected: String, _ value: T?) throws -> T {
        guard let value else { throw error(key, expected, json[key]?.kind ?? "nothing") }
        return value
    }

    func integer(_ key: String) throws -> Int {
        try value(key, "a whole number", json[key]?.integer)
    }

    func bool(_ key: String) throws -> Bool {
        try value(key, "true or false", json[key]?.bool)
    }

    func text(_ key: String) throws -> String {
        try value(key, "a string", json[key]?.text)
    }

    func bytes(_ key: String) throws -> [UInt8] {
        try value(key, "a string", json[key]?.bytes)
    }

    func array(_ key: String) throws -> [JSONValue] {
        try value(key, "an array", json[key]?.array)
    }

    func optionalInteger(_ key: String) throws -> Int? {
        json[key] == .null ? nil : try integer(key)
    }

    func id(_ value: JSONValue, _ key: String) throws -> Int32 {
        guard let id = value.integer, id >= 0 && id < pieces else {
            throw error(key, "an id below \(pieces)", value.integer.map(String.init) ?? value.kind)
        }
        return Int32(clamping: id)
    }

    func optionalID(_ key: String) throws -> Int32? {
        guard let value = json[key], value != .null else { return nil }
        return try id(value, key)
    }

    func ids(_ key: String) throws -> [Int32] {
        try array(key).map { try id($0, key) }
    }

    func side(_ key: String) throws -> TruncationSide {
        try value(key, "left or right", TruncationSide(rawValue: try text(key)))
    }

    func addedTokens(_ key: String) throws -> [AddedToken] {
        try array(key).map { value in
            guard let parts = value.array, parts.count == 2, let flags = parts[1].text else {
                throw error(key, "pairs of an id and flags", value.kind)
            }
            return AddedToken(
                id: try id(parts[0], key), special: flags.contains("s"),
                leftStrip: flags.contains("l"), rightStrip: flags.contains("r"),
                singleWord: flags.contains("w"), normalized: flags.contains("n"),
                spelledNormalized: flags.contains("N"),
                inModel: flags.contains("m"))
        }
    }
}

extension AddedToken {
    /// The id and one letter for each flag that is set.
    var extra: JSONValue {
        let flags: [(Bool, String)] = [
            (special, "s"), (leftStrip, "l"), (rightStrip, "r"), (singleWord, "w"),
            (normalized, "n"), (spelledNormalized, "N"), (inModel, "m"),
        ]
        let letters = flags.filter(\.0).map(\.1).joined()
        return .array([.integer(Int(id)), .string(letters)])
    }
}
