import MMQBase

/// A JSON value whose strings are bytes.
///
/// Foundation's reader makes Swift strings, which compare by canonical equivalence, so that two
/// pieces of a vocabulary can become one; and it takes seconds for a vocabulary.
enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    /// A number without fraction or exponent that fits.
    case integer(Int)
    case number(Double)
    case string([UInt8])
    case array([JSONValue])
    /// In the order of the file. Of equal keys the last one counts.
    case object([Member])

    struct Member: Sendable, Equatable {
        var key: [UInt8]
        var value: JSONValue
    }

    /// The value of a key; nil where there is none or this is no object.
    subscript(_ key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        let bytes = Array(key.utf8)
        return members.last { $0.key == bytes }?.value
    }

    /// The value of a key, nil also where it is `null`.
    func present(_ key: String) -> JSONValue? {
        guard let value = self[key], value != .null else { return nil }
        return value
    }

    /// The bytes of a string.
    var bytes: [UInt8]? {
        if case .string(let bytes) = self { bytes } else { nil }
    }

    /// A string as text; only for names and keys, never for pieces.
    var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

    /// A bool.
    var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// A whole number.
    var integer: Int? {
        if case .integer(let value) = self { value } else { nil }
    }

    /// An array.
    var array: [JSONValue]? {
        if case .array(let values) = self { values } else { nil }
    }

    /// The members of an object.
    var members: [Member]? {
        if case .object(let members) = self { members } else { nil }
    }

    /// What it is, for errors.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a bool"
        case .integer, .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// A strict JSON parser (RFC 8259, valid UTF-8 only, no lone surrogates).
struct JSONReader {
    private let file: String
    private let bytes: [UInt8]
    private var position = 0
    private static let maximumDepth = 256

    /// Parses `bytes`; errors name `file`.
    static func parse(_ bytes: [UInt8], file: String) throws -> JSONValue {
        var reader = JSONReader(file: file, bytes: bytes)
        // Python writes no byte order mark, and reads none.
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.error("the end", "more") }
        return value
    }

    private init(file: String, bytes: [UInt8]) {
        self.file = file
        self.bytes = bytes
    }

    private func error(_ expected: String, _ found: String? = nil) -> InputError {
        let here = position < bytes.count ? "byte \(bytes[position])" : "the end of the file"
        return InputError(
            .badValue,
            file: file, item: "JSON", offset: position, expected: expected, found: found ?? here)
    }

    @inline(__always)
    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    private mutating func value(depth: Int) throws -> JSONValue {
        guard depth < Self.maximumDepth else {
            throw error("at most \(Self.maximumDepth) levels", "more")
        }
        skipSpace()
        switch current {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws -> JSONValue {
        guard bytes[position...].starts(with: word.utf8) else { throw error(word) }
        position += word.utf8.count
        return value
    }

    private mutating func object(depth: Int) throws -> JSONValue {
        var members: [JSONValue.Member] = []
        position += 1
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return .object(members)
        }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw error("a key") }
            let key = try string()
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw error(":") }
            position += 1
            members.append(JSONValue.Member(key: key, value: try value(depth: depth + 1)))
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "}"):
                position += 1
                return .object(members)
            default: throw error(", or }")
            }
        }
    }

    private mutating func array(depth: Int) throws -> JSONValue {
        var values: [JSONValue] = []
        position += 1
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return .array(values)
        }
        while true {
            values.append(try value(depth: depth + 1))
            skipSpace()
            switch current {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "]"):
                position += 1
                return .array(values)
            default: throw error(", or ]")
            }
        }
    }

    private mutating func number() throws -> JSONValue {
        let start = position
        if current == UInt8(ascii: "-") { position += 1 }
        let firstDigit = position
        let whole = digits()
        guard whole > 0, whole == 1 || bytes[firstDigit] != UInt8(ascii: "0") else {
            throw error("a value")
        }
        var isInteger = true
        if current == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            guard digits() > 0 else { throw error("a digit") }
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            guard digits() > 0 else { throw error("a digit") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text) else { throw error("a number", text) }
        return .number(value)
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = current, byte >= 0x30 && byte <= 0x39 { position += 1 }
        return position - start
    }

    private mutating func string() throws -> [UInt8] {
        position += 1
        let start = position
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            guard byte >= 0x20 else { throw error("no control character in a string") }
            position += 1
        }
        var result = Array(bytes[start..<position])
        while let byte = current, byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") {
                position += 1
                try escape(into: &result)
            } else {
                guard byte >= 0x20 else { throw error("no control character in a string") }
                result.append(byte)
                position += 1
            }
        }
        guard current != nil else { throw error("\"") }
        guard UTF8Scan.isValid(result) else {
            throw error("valid UTF-8 in the string before", "other bytes")
        }
        position += 1
        return result
    }

    private mutating func escape(into result: inout [UInt8]) throws {
        guard let byte = current else { throw error("an escape") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0C)
        case UInt8(ascii: "n"): result.append(0x0A)
        case UInt8(ascii: "r"): result.append(0x0D)
        case UInt8(ascii: "t"): result.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hex()
            if code & 0xFC00 == 0xD800 {
                guard bytes[position...].starts(with: "\\u".utf8) else {
                    throw error("the second half of a surrogate pair")
                }
                position += 2
                let low = try hex()
                guard low & 0xFC00 == 0xDC00 else {
                    throw error("the second half of a surrogate pair")
                }
                code = 0x10000 + (code & 0x3FF) << 10 + (low & 0x3FF)
            }
            guard let scalar = Unicode.Scalar(code) else {
                throw error("a surrogate pair", "its second half")
            }
            result += Array(String(scalar).utf8)
        default: throw error("an escape")
        }
    }

    private mutating func hex() throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue
            else { throw error("a hexadecimal digit") }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}
