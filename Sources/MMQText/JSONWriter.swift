import MMQBase

extension JSONValue {
    /// The value as compact JSON.
    var encoded: [UInt8] {
        switch self {
        case .null: Array("null".utf8)
        case .bool(let value): Array((value ? "true" : "false").utf8)
        case .integer(let value): Array(String(value).utf8)
        case .number(let value): Array(value.description.utf8)
        case .string(let bytes): Self.quoted(bytes)
        case .array(let values): Self.list("[", values.map(\.encoded), "]")
        case .object(let members):
            Self.list("{", members.map { Self.quoted($0.key) + [0x3A] + $0.value.encoded }, "}")
        }
    }

    private static func list(_ open: String, _ parts: [[UInt8]], _ close: String) -> [UInt8] {
        Array(open.utf8) + Array(parts.joined(separator: [0x2C])) + Array(close.utf8)
    }

    private static func quoted(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        var result: [UInt8] = [0x22]
        for byte in bytes {
            switch byte {
            case 0x22, 0x5C: result += [0x5C, byte]
            case 0..<0x20:
                result += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: result.append(byte)
            }
        }
        return result + [0x22]
    }

    /// An object with these members.
    static func make(_ members: KeyValuePairs<String, JSONValue>) -> JSONValue {
        .object(members.map { Member(key: Array($0.key.utf8), value: $0.value) })
    }

    /// A string.
    static func text(_ text: String) -> JSONValue { .string(Array(text.utf8)) }

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
        json = try JSONReader.parse(Array(text.utf8), file: file)
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
        return .array([.integer(Int(id)), .text(letters)])
    }
}
