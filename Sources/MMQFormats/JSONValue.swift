import Foundation
import MMQBase

/// A JSON document, exactly as written: integers stay integers, object keys keep their order, and a
/// key that appears twice is an error.
///
/// Foundation's reader rounds large integers and takes the last of two equal keys, both of which
/// would let a broken safetensors header pass.
public enum JSONValue: Sendable, Equatable {
    /// `null`.
    case null
    /// `true` or `false`.
    case bool(Bool)
    /// A number without fraction or exponent that fits 64 bits.
    case integer(Int64)
    /// Any other number.
    case number(Double)
    /// A string.
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
    public init(parsing bytes: [UInt8], file: String) throws {
        var parser = JSONParser(bytes: bytes, file: file)
        self = try parser.document()
    }

    /// Reads a file.
    public init(file: String) throws {
        try self.init(parsing: readSmallFile(file), file: file)
    }

    /// The object's member, or nil if this is no object or has no such key.
    public subscript(key: String) -> JSONValue? {
        if case .object(let object) = self { return object[key] }
        return nil
    }

    /// What kind of value this is, for error messages.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool(let value): String(value)
        case .integer(let value): String(value)
        case .number(let value): String(value)
        case .string(let value): "\"" + String(value.prefix(60)) + "\""
        case .array(let values): "a list of \(values.count)"
        case .object: "an object"
        }
    }
}

/// A JSON object with its keys in the order of the file.
public struct JSONObject: Sendable, Equatable {
    /// The keys in order.
    public private(set) var keys: [String] = []
    private var values: [String: JSONValue] = [:]

    /// An empty object.
    public init() {}

    /// The value of `key`. Setting nil is not supported; setting a new key appends it.
    public subscript(key: String) -> JSONValue? { values[key] }

    /// Adds a member; false if the key is already there.
    ///
    /// Keys that differ only in Unicode normalization count as equal.
    public mutating func add(_ key: String, _ value: JSONValue) -> Bool {
        guard values.updateValue(value, forKey: key) == nil else { return false }
        keys.append(key)
        return true
    }

    /// The members in order.
    public var members: [(key: String, value: JSONValue)] {
        keys.compactMap { key in values[key].map { (key, $0) } }
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    let file: String
    var position = 0
    var depth = 0

    /// Deeper nesting is a broken or hostile file.
    static let maximumDepth = 64

    init(bytes: [UInt8], file: String) {
        self.bytes = bytes
        self.file = file
    }

    func failure(_ expected: String, at offset: Int? = nil) -> InputError {
        let place = offset ?? position
        let found =
            place < bytes.count
            ? "'"
                + String(decoding: bytes[place..<min(place + 12, bytes.count)], as: UTF8.self)
                .replacingOccurrences(of: "\n", with: "\\n") + "'"
            : "the end"
        return InputError(
            .badHeader, file: file, item: "JSON", offset: place, expected: expected,
            found: found)
    }

    mutating func document() throws -> JSONValue {
        let value = try value()
        skipSpace()
        guard position == bytes.count else { throw failure("nothing after the JSON value") }
        return value
    }

    mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            default: return
            }
        }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    mutating func word(_ word: StaticString) -> Bool {
        let length = word.utf8CodeUnitCount
        guard position + length <= bytes.count else { return false }
        for i in 0..<length where bytes[position + i] != word.utf8Start[i] { return false }
        position += length
        return true
    }

    mutating func value() throws -> JSONValue {
        skipSpace()
        guard position < bytes.count else { throw failure("a JSON value") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return try nested { try $0.object() }
        case UInt8(ascii: "["): return try nested { try $0.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default:
            if word("true") { return .bool(true) }
            if word("false") { return .bool(false) }
            if word("null") { return .null }
            throw failure("a JSON value")
        }
    }

    mutating func nested(_ body: (inout JSONParser) throws -> JSONValue) throws -> JSONValue {
        guard depth < Self.maximumDepth else {
            throw InputError(
                .tooLarge, file: file, item: "JSON", offset: position,
                expected: "at most \(Self.maximumDepth) levels of nesting")
        }
        depth += 1
        position += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    mutating func object() throws -> JSONValue {
        var object = JSONObject()
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(object) }
        while true {
            skipSpace()
            let start = position
            guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
                throw failure("a key in quotes")
            }
            let key = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw failure("':'") }
            guard object.add(key, try value()) else {
                throw InputError(
                    .duplicate, file: file, item: "key " + quoted(key), offset: start)
            }
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(object) }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or '}'") }
        }
    }

    mutating func array() throws -> JSONValue {
        var values: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(values) }
        while true {
            values.append(try value())
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(values) }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or ']'") }
        }
    }

    mutating func number() throws -> JSONValue {
        let start = position
        var whole = true
        _ = take(UInt8(ascii: "-"))
        let digits = position
        skipDigits()
        guard position > digits else { throw failure("a number", at: start) }
        if bytes[digits] == UInt8(ascii: "0"), position > digits + 1 {
            throw failure("a number without leading zeros", at: start)
        }
        if take(UInt8(ascii: ".")) {
            whole = false
            let fraction = position
            skipDigits()
            guard position > fraction else { throw failure("digits after the point", at: start) }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            whole = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            let exponent = position
            skipDigits()
            guard position > exponent else { throw failure("an exponent", at: start) }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if whole, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else {
            throw failure("a number that fits 64 bits", at: start)
        }
        return .number(value)
    }

    mutating func skipDigits() {
        while position < bytes.count, (0x30...0x39).contains(bytes[position]) { position += 1 }
    }

    mutating func string() throws -> String {
        let start = position
        position += 1
        var text: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                guard let string = strictUTF8(text) else {
                    throw failure("UTF-8 text", at: start)
                }
                return string
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &text)
            case 0..<0x20:
                throw failure("no control character in a string")
            default:
                text.append(byte)
                position += 1
            }
        }
        throw failure("the end of the string", at: start)
    }

    mutating func escape(into text: inout [UInt8]) throws {
        guard position < bytes.count else { throw failure("an escape") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"):
            var code = try hex4()
            if (0xd800..<0xdc00).contains(code) {
                guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
                    throw failure("the second half of a surrogate pair")
                }
                let low = try hex4()
                guard (0xdc00..<0xe000).contains(low) else {
                    throw failure("the second half of a surrogate pair")
                }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else {
                throw failure("the first half of a surrogate pair")
            }
            text.append(contentsOf: Array(String(Character(scalar)).utf8))
        default: throw failure("a JSON escape", at: position - 1)
        }
    }

    mutating func hex4() throws -> UInt32 {
        guard position + 4 <= bytes.count else { throw failure("four hexadecimal digits") }
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
                throw failure("four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }
}
