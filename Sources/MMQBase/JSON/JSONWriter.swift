/// How JSON is spelled.
public struct JSONStyle: Sendable, Equatable {
    /// A space behind commas and colons.
    let spaced: Bool
    /// `\n`, `\r`, `\t` and Python's spelling of numbers.
    let python: Bool

    /// Without spaces, control characters as `\u00..`, numbers as Swift prints them: what model
    /// files hold. Their bytes identify models, so it must not change.
    public static let compact = JSONStyle(spaced: false, python: false)
    /// As Python's `json.dumps(..., ensure_ascii=False)`. What JSON cannot express (NaN, infinity)
    /// is written as Python writes it.
    public static let python = JSONStyle(spaced: true, python: true)
}

/// Writes JSON text on one line.
struct JSONWriter {
    let style: JSONStyle
    private(set) var bytes: [UInt8] = []

    init(_ style: JSONStyle) { self.style = style }

    mutating func write(_ value: JSONValue) {
        switch value {
        case .null: put("null")
        case .bool(let flag): put(flag ? "true" : "false")
        case .integer(let number): put(String(number))
        case .number(let number): put(style.python ? Self.python(number) : number.description)
        case .string(let text): write(text)
        case .array(let elements):
            put("[")
            for (i, element) in elements.enumerated() {
                if i > 0 { put(style.spaced ? ", " : ",") }
                write(element)
            }
            put("]")
        case .object(let object):
            put("{")
            for (i, member) in object.members.enumerated() {
                if i > 0 { put(style.spaced ? ", " : ",") }
                write(member.key)
                put(style.spaced ? ": " : ":")
                write(member.value)
            }
            put("}")
        }
    }

    mutating func write(_ text: String) {
        put("\"")
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case UInt8(ascii: "\n") where style.python: put("\\n")
            case UInt8(ascii: "\r") where style.python: put("\\r")
            case UInt8(ascii: "\t") where style.python: put("\\t")
            case 0..<0x20: put((byte < 0x10 ? "\\u000" : "\\u00") + String(byte, radix: 16))
            default: bytes.append(byte)
            }
        }
        put("\"")
    }

    private mutating func put(_ text: String) { bytes.append(contentsOf: text.utf8) }

    private static func python(_ number: Double) -> String {
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
        return pythonRepr(number)
    }
}

extension JSONValue {
    /// The value as JSON text.
    public func encoded(_ style: JSONStyle) -> String {
        var writer = JSONWriter(style)
        writer.write(self)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// JSON on one line, spaced as Python's `json.dumps(..., ensure_ascii=False)`.
    public var jsonLine: String { encoded(.python) }
}

/// A string as JSON text, quotes included.
public func jsonString(_ text: String) -> String {
    var writer = JSONWriter(.python)
    writer.write(text)
    return String(decoding: writer.bytes, as: UTF8.self)
}
