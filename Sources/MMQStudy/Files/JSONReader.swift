import MMQBase
import MMQFormats

/// A strict JSON pull parser over a mapped file.
///
/// VQAv2's annotations are 440,000 questions in one document: the parser walks the bytes once,
/// hands out what is asked for and skips the rest, so that nothing is held but what the loader
/// keeps. A value's offset can be kept and the value read later.
struct JSONReader {
    /// Deeper nesting than this is refused: the parser recurses.
    private static let greatestDepth = 200

    private let file: AnnotationFile
    private let bytes: UnsafeRawBufferPointer
    /// Where the next value begins, or where the last one ended.
    private(set) var offset: Int
    private let end: Int
    private var depth = 0

    /// A parser over the whole file.
    init(_ file: AnnotationFile) { self.init(file, in: 0..<file.bytes.count) }

    /// A parser from a value's kept offset on.
    init(_ file: AnnotationFile, at offset: Int) {
        self.init(file, in: offset..<file.bytes.count)
    }

    /// A parser over part of a file.
    init(_ file: AnnotationFile, in range: Range<Int>) {
        self.file = file
        bytes = file.bytes
        offset = range.lowerBound
        end = range.upperBound
    }

    func error(_ problem: String, at place: Int? = nil) -> InputError {
        InputError(.badInput, file: file.path, offset: place ?? offset, problem)
    }

    // MARK: - Walking

    /// The first byte of the next value.
    mutating func peek() throws -> UInt8 {
        while offset < end {
            switch bytes[offset] {
            case 0x20, 0x09, 0x0a, 0x0d: offset += 1
            case let byte: return byte
            }
        }
        throw error("the JSON text ends too early")
    }

    /// Reads an object; `member` is called with each key and must read or skip the value.
    mutating func object(_ member: (inout JSONReader, String) throws -> Void) throws {
        try open(UInt8(ascii: "{"), "an object")
        if try close(UInt8(ascii: "}")) { return }
        while true {
            guard try peek() == UInt8(ascii: "\"") else { throw error("expected a key in quotes") }
            let key = try string()
            guard try peek() == UInt8(ascii: ":") else { throw error("expected a colon") }
            offset += 1
            _ = try peek()
            try member(&self, key)
            if try close(UInt8(ascii: "}")) { return }
            try comma("}")
        }
    }

    /// Reads a list; `element` is called with each number of an element and must read or skip it.
    mutating func array(_ element: (inout JSONReader, Int) throws -> Void) throws {
        try open(UInt8(ascii: "["), "a list")
        if try close(UInt8(ascii: "]")) { return }
        var count = 0
        while true {
            _ = try peek()
            try element(&self, count)
            count += 1
            if try close(UInt8(ascii: "]")) { return }
            try comma("]")
        }
    }

    /// Nothing but white space may follow the document.
    mutating func finish() throws {
        while offset < end {
            guard [0x20, 0x09, 0x0a, 0x0d].contains(bytes[offset]) else {
                throw error("text after the end of the JSON document")
            }
            offset += 1
        }
    }

    private mutating func open(_ bracket: UInt8, _ name: String) throws {
        guard try peek() == bracket else { throw error("expected \(name)") }
        offset += 1
        depth += 1
        guard depth <= Self.greatestDepth else { throw error("nested too deeply") }
    }

    private mutating func close(_ bracket: UInt8) throws -> Bool {
        guard try peek() == bracket else { return false }
        offset += 1
        depth -= 1
        return true
    }

    private mutating func comma(_ bracket: String) throws {
        guard try peek() == UInt8(ascii: ",") else { throw error("expected , or \(bracket)") }
        offset += 1
        let next = try peek()
        guard next != UInt8(ascii: "]"), next != UInt8(ascii: "}") else {
            throw error("a comma before a closing bracket")
        }
    }

    // MARK: - Values

    /// Reads any value.
    mutating func value() throws -> JSONValue {
        switch try peek() {
        case UInt8(ascii: "{"):
            var members = JSONObject()
            try object { reader, key in
                let start = reader.offset
                guard members.add(key, try reader.value()) else {
                    throw reader.error("the key \"\(key)\" is there twice", at: start)
                }
            }
            return .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONValue] = []
            try array { reader, _ in elements.append(try reader.value()) }
            return .array(elements)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    /// Passes over any value, checking its syntax, and gives its bytes' place.
    @discardableResult
    mutating func skip() throws -> Range<Int> {
        let first = try peek()
        let start = offset
        switch first {
        case UInt8(ascii: "{"): try object { reader, _ in try reader.skip() }
        case UInt8(ascii: "["): try array { reader, _ in try reader.skip() }
        case UInt8(ascii: "\""): _ = try stringBytes()
        default: _ = try value()
        }
        return start..<offset
    }

    /// Reads an integer.
    mutating func int(_ name: String) throws -> Int {
        let start = offset
        guard let number = try value().asInteger else {
            throw error("\(name) is not an integer", at: start)
        }
        return number
    }

    /// Reads a string that must be one.
    mutating func text(_ name: String) throws -> String {
        guard try peek() == UInt8(ascii: "\"") else { throw error("\(name) is not a string") }
        return try string()
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws -> JSONValue {
        let length = word.utf8CodeUnitCount
        let matches =
            offset + length <= end
            && (0..<length).allSatisfy { bytes[offset + $0] == word.utf8Start[$0] }
        guard matches else { throw error("not a JSON value") }
        offset += length
        return value
    }

    private mutating func number() throws -> JSONValue {
        let start = offset
        func digits() -> Int {
            let first = offset
            while offset < end, (0x30...0x39).contains(bytes[offset]) { offset += 1 }
            return offset - first
        }
        if offset < end, bytes[offset] == UInt8(ascii: "-") { offset += 1 }
        let leading = offset < end ? bytes[offset] : 0
        let whole = digits()
        guard whole > 0, whole == 1 || leading != UInt8(ascii: "0") else {
            throw error("not a JSON value", at: start)
        }
        var isInteger = true
        if offset < end, bytes[offset] == UInt8(ascii: ".") {
            isInteger = false
            offset += 1
            guard digits() > 0 else { throw error("a number without digits after the point") }
        }
        if offset < end, bytes[offset] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            offset += 1
            if offset < end, [0x2b, 0x2d].contains(bytes[offset]) { offset += 1 }
            guard digits() > 0 else { throw error("a number without digits in its exponent") }
        }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        if isInteger, let number = Int64(text) { return .integer(number) }
        guard let number = Double(text) else { throw error("not a number", at: start) }
        return .number(number)
    }

    // MARK: - Strings

    /// Passes over a string; gives the place between the quotes and whether it has escapes.
    private mutating func stringBytes() throws -> (range: Range<Int>, escaped: Bool) {
        let start = offset + 1
        var at = start
        var escaped = false
        while at < end {
            switch bytes[at] {
            case UInt8(ascii: "\""):
                offset = at + 1
                return (start..<at, escaped)
            case UInt8(ascii: "\\"):
                escaped = true
                at += 2
            case 0..<0x20: throw error("a control character within a string", at: at)
            default: at += 1
            }
        }
        throw error("a string without an end")
    }

    private mutating func string() throws -> String {
        let (range, escaped) = try stringBytes()
        guard escaped else {
            guard let text = utf8Text(UnsafeRawBufferPointer(rebasing: bytes[range])) else {
                throw error("a string that is not UTF-8", at: range.lowerBound)
            }
            return text
        }
        var units: [UInt8] = []
        units.reserveCapacity(range.count)
        var at = range.lowerBound
        while at < range.upperBound {
            guard bytes[at] == UInt8(ascii: "\\") else {
                units.append(bytes[at])
                at += 1
                continue
            }
            switch bytes[at + 1] {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"):
                units.append(bytes[at + 1])
            case UInt8(ascii: "b"): units.append(0x08)
            case UInt8(ascii: "f"): units.append(0x0c)
            case UInt8(ascii: "n"): units.append(0x0a)
            case UInt8(ascii: "r"): units.append(0x0d)
            case UInt8(ascii: "t"): units.append(0x09)
            case UInt8(ascii: "u"):
                let scalar = try escapedScalar(&at, before: range.upperBound)
                units += Array(String(scalar).utf8)
                continue
            default: throw error("an unknown escape", at: at)
            }
            at += 2
        }
        guard let text = units.withUnsafeBytes({ utf8Text($0) }) else {
            throw error("a string that is not UTF-8", at: range.lowerBound)
        }
        return text
    }

    /// Reads `\uXXXX`, or the two of a surrogate pair. Half a pair stands for no character: it
    /// becomes U+FFFD, since no text could hold it.
    private func escapedScalar(_ at: inout Int, before limit: Int) throws -> Unicode.Scalar {
        func unit(_ place: Int) throws -> UInt32 {
            guard place + 6 <= limit else { throw error("half an escape", at: place) }
            var value: UInt32 = 0
            for byte in bytes[(place + 2)..<(place + 6)] {
                guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                    throw error("not four hexadecimal digits", at: place)
                }
                value = value << 4 | UInt32(digit)
            }
            return value
        }
        let first = try unit(at)
        at += 6
        if let scalar = Unicode.Scalar(first) { return scalar }
        let pairs =
            first < 0xdc00 && at + 6 <= limit && bytes[at] == UInt8(ascii: "\\")
            && bytes[at + 1] == UInt8(ascii: "u")
        if pairs {
            let second = try unit(at)
            if (0xdc00..<0xe000).contains(second),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
            {
                at += 6
                return scalar
            }
        }
        return "\u{fffd}"
    }
}
