/// A JSON document as it was written: integers stay integers, members keep their order, keys and
/// strings are equal only where their bytes are.
///
/// Swift compares strings by canonical equivalence, so that `é` and `e` + U+0301, two pieces of a
/// vocabulary, would be one key. Here they are two: see ``JSONObject`` and `==`.
public enum JSONValue: Sendable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number without fraction or exponent that fits 64 bits.
    case integer(Int)
    /// Any other number; finite where it was read.
    case number(Double)
    /// A string; `Array(text.utf8)` are exactly the file's bytes (escapes resolved).
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object.
    case object(JSONObject)

    /// Reads a document.
    ///
    /// - Parameters:
    ///   - bytes: UTF-8 text; nothing but white space may follow the value.
    ///   - file: the name for errors.
    public init(parsing bytes: [UInt8], file: String, rules: JSONRules = .strict) throws {
        self = try bytes.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes, file: file, rules: rules)
            let value = try reader.value()
            try reader.finish()
            return value
        }
    }

    /// Reads a small file.
    public init(file: String, rules: JSONRules = .strict) throws {
        try self.init(parsing: readSmallFile(file), file: file, rules: rules)
    }

    /// A string of these bytes; what is not UTF-8 in them is replaced by U+FFFD.
    public static func string(_ bytes: [UInt8]) -> JSONValue {
        .string(String(decoding: bytes, as: UTF8.self))
    }
}

extension JSONValue {
    /// The object's member, or nil if this is no object or has no such key.
    public subscript(key: String) -> JSONValue? {
        if case .object(let object) = self { object[key] } else { nil }
    }

    /// The object's member, nil also where it is `null`.
    public func present(_ key: String) -> JSONValue? {
        guard let value = self[key], !value.isNull else { return nil }
        return value
    }

    /// Whether this is `null`.
    public var isNull: Bool { if case .null = self { true } else { false } }

    /// The bool, or nil.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

    /// The integer, or nil.
    public var integer: Int? { if case .integer(let value) = self { value } else { nil } }

    /// The number, of integers too, or nil.
    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    /// The string, or nil.
    public var text: String? { if case .string(let value) = self { value } else { nil } }

    /// The string's bytes, or nil.
    public var bytes: [UInt8]? { text.map(utf8Bytes) }

    /// The elements, or nil.
    public var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }

    /// The members in order, or nil.
    public var members: [(key: String, value: JSONValue)]? {
        if case .object(let object) = self { object.members } else { nil }
    }

    /// What this is, in a few words, for error messages.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool(let value): String(value)
        case .integer(let value): String(value)
        case .number(let value): String(value)
        case .string(let value): quoted(value, limit: 60, mark: "\"")
        case .array(let values): "a list of \(values.count)"
        case .object: "an object"
        }
    }
}

extension JSONValue: Equatable {
    /// Whether two values are the same: strings byte by byte, members in the same order.
    public static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): sameBytes(a, b)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): a == b
        default: false
        }
    }
}
