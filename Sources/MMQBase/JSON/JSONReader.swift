/// What a reader makes of JSON that the standard leaves open.
public struct JSONRules: Sendable, Equatable {
    /// What becomes of a key that an object has twice.
    public enum DuplicateKeys: Sendable {
        /// An error.
        case refused
        /// The last one counts, as in Python.
        case lastWins
    }

    /// What becomes of `\ud800` to `\udfff` where they are no pair: no text can hold them.
    public enum LoneSurrogates: Sendable {
        /// An error.
        case refused
        /// U+FFFD. Python writes halves of a pair for a text that was cut inside an emoji.
        case replaced
    }

    /// Deeper nesting is a broken or hostile file: the reader recurses.
    public var maximumDepth: Int
    /// Keys that appear twice in a value; an object that is walked gives all its members.
    public var duplicateKeys: DuplicateKeys
    /// Half pairs.
    public var loneSurrogates: LoneSurrogates

    /// Rules; strict by default.
    public init(
        maximumDepth: Int = 200, duplicateKeys: DuplicateKeys = .refused,
        loneSurrogates: LoneSurrogates = .refused
    ) {
        self.maximumDepth = maximumDepth
        self.duplicateKeys = duplicateKeys
        self.loneSurrogates = loneSurrogates
    }

    /// Nothing is passed over.
    public static let strict = JSONRules()
    /// Of equal keys the last one counts.
    public static let lastKeyWins = JSONRules(duplicateKeys: .lastWins)
    /// Half pairs are replaced.
    public static let halfPairsReplaced = JSONRules(loneSurrogates: .replaced)
}

/// A strict JSON reader (RFC 8259, UTF-8 only) that walks bytes where they lie.
///
/// VQAv2's annotations are 440,000 questions in one document: the reader goes over the bytes once,
/// hands out what is asked for and skips the rest, so that nothing is held but what the caller
/// keeps. A value's offset can be kept and the value read later. What is skipped is checked like
/// what is read, but for keys that appear twice.
public struct JSONReader {
    let file: String
    let bytes: UnsafeRawBufferPointer
    let end: Int
    let rules: JSONRules
    /// Where the next value begins (after `peek`), or where the last one ended.
    public internal(set) var offset: Int
    private var depth = 0
    /// Keeps the bytes alive.
    private let owner: MappedFile?

    /// A reader over bytes that the caller keeps alive and in place.
    public init(_ bytes: UnsafeRawBufferPointer, file: String, rules: JSONRules = .strict) {
        (self.bytes, self.file, self.rules, owner) = (bytes, file, rules, nil)
        (offset, end) = (0, bytes.count)
    }

    /// A reader over a whole file.
    public init(_ file: MappedFile, rules: JSONRules = .strict) {
        self.init(file, in: 0..<file.count, rules: rules)
    }

    /// A reader from a value's kept offset on.
    public init(_ file: MappedFile, at offset: Int, rules: JSONRules = .strict) {
        self.init(file, in: offset..<file.count, rules: rules)
    }

    /// A reader over part of a file.
    public init(_ file: MappedFile, in range: Range<Int>, rules: JSONRules = .strict) {
        precondition(range.lowerBound >= 0 && range.upperBound <= file.count, "a part of the file")
        (bytes, self.file, self.rules, owner) = (file.bytes, file.path, rules, file)
        (offset, end) = (range.lowerBound, range.upperBound)
    }

    // MARK: - Errors

    /// An error about what a value says, not how it is written.
    public func error(_ problem: String, at place: Int? = nil) -> InputError {
        InputError(.badInput, file: file, offset: place ?? offset, problem)
    }

    /// An error about how the text is written.
    func broken(_ expected: String, at place: Int? = nil) -> InputError {
        let place = place ?? offset
        var found = "the end"
        if place < end {
            found = "'"
            for byte in bytes[place..<min(place + 12, end)] {
                if (0x20..<0x7f).contains(byte) {
                    found.unicodeScalars.append(Unicode.Scalar(byte))
                } else {
                    found += "\\x" + String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
                }
            }
            found += "'"
        }
        return InputError(
            .badHeader, file: file, item: "JSON", offset: place, expected: expected, found: found)
    }

    // MARK: - Walking

    /// Passes over white space; the first byte of the next value.
    public mutating func peek() throws -> UInt8 { try next() }

    @inline(__always)
    private mutating func next() throws -> UInt8 {
        skipSpace()
        guard offset < end else { throw broken("more JSON text") }
        return bytes[offset]
    }

    @inline(__always)
    private mutating func skipSpace() {
        while offset < end {
            let byte = bytes[offset]
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return }
            offset += 1
        }
    }

    /// Reads an object; `member` is called with each key, and must read or skip the value.
    public mutating func object(
        _ member: (inout JSONReader, String) throws -> Void
    ) throws {
        guard try enter(UInt8(ascii: "{"), UInt8(ascii: "}"), "an object") else { return }
        repeat {
            let key = try key()
            try member(&self, key)
        } while try goesOn(UInt8(ascii: "}"), "',' or '}'")
    }

    /// Reads a list; `element` is called with each number of an element, and must read or skip it.
    public mutating func array(_ element: (inout JSONReader, Int) throws -> Void) throws {
        guard try enter(UInt8(ascii: "["), UInt8(ascii: "]"), "a list") else { return }
        var count = 0
        repeat {
            _ = try next()
            try element(&self, count)
            count += 1
        } while try goesOn(UInt8(ascii: "]"), "',' or ']'")
    }

    /// Nothing but white space may follow the document.
    public mutating func finish() throws {
        skipSpace()
        guard offset == end else { throw broken("nothing after the JSON value") }
    }

    /// Goes into an object or a list; false if it is empty, and then behind it.
    private mutating func enter(_ open: UInt8, _ close: UInt8, _ name: String) throws -> Bool {
        guard try next() == open else { throw broken(name) }
        guard depth < rules.maximumDepth else {
            throw InputError(
                .tooLarge, file: file, item: "JSON", offset: offset,
                expected: "at most \(rules.maximumDepth) levels of nesting", found: "more")
        }
        offset += 1
        guard try next() != close else {
            offset += 1
            return false
        }
        depth += 1
        return true
    }

    /// Passes over the comma before the next member or element; false behind the last one.
    private mutating func goesOn(_ close: UInt8, _ expected: String) throws -> Bool {
        let next = try next()
        guard next == close || next == UInt8(ascii: ",") else { throw broken(expected) }
        offset += 1
        if next == close { depth -= 1 }
        return next != close
    }

    private mutating func key() throws -> String {
        guard try next() == UInt8(ascii: "\"") else { throw broken("a key in quotes") }
        let key = try string()
        try colon()
        return key
    }

    private mutating func colon() throws {
        guard try next() == UInt8(ascii: ":") else { throw broken("':'") }
        offset += 1
        _ = try next()
    }

    // MARK: - Values

    /// Reads any value.
    public mutating func value() throws -> JSONValue {
        switch try next() {
        case UInt8(ascii: "{"):
            var object = JSONObject()
            guard try enter(UInt8(ascii: "{"), UInt8(ascii: "}"), "an object") else {
                return .object(object)
            }
            repeat {
                _ = try next()
                let start = offset
                let key = try key()
                guard object.set(key, try value()) || rules.duplicateKeys == .lastWins else {
                    throw InputError(
                        .duplicate, file: file, item: "key " + quoted(key), offset: start)
                }
            } while try goesOn(UInt8(ascii: "}"), "',' or '}'")
            return .object(object)
        case UInt8(ascii: "["):
            var values: [JSONValue] = []
            guard try enter(UInt8(ascii: "["), UInt8(ascii: "]"), "a list") else {
                return .array(values)
            }
            repeat { values.append(try value()) } while try goesOn(UInt8(ascii: "]"), "',' or ']'")
            return .array(values)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return .bool(try word("true", true))
        case UInt8(ascii: "f"): return .bool(try word("false", false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    /// Passes over any value, checking how it is written, and gives its bytes' place.
    @discardableResult
    public mutating func skip() throws -> Range<Int> {
        let first = try next()
        let start = offset
        switch first {
        case UInt8(ascii: "{"):
            guard try enter(first, UInt8(ascii: "}"), "an object") else { break }
            repeat {
                guard try next() == UInt8(ascii: "\"") else { throw broken("a key in quotes") }
                try skipString()
                try colon()
                try skip()
            } while try goesOn(UInt8(ascii: "}"), "',' or '}'")
        case UInt8(ascii: "["):
            guard try enter(first, UInt8(ascii: "]"), "a list") else { break }
            repeat { try skip() } while try goesOn(UInt8(ascii: "]"), "',' or ']'")
        case UInt8(ascii: "\""): try skipString()
        default: _ = try value()
        }
        return start..<offset
    }

    /// Reads an integer, called `name` in the error if it is none.
    public mutating func int(_ name: String) throws -> Int {
        _ = try next()
        let start = offset
        guard case .integer(let number) = try value() else {
            throw error("\(name) is not an integer", at: start)
        }
        return number
    }

    /// Reads a string, called `name` in the error if it is none.
    public mutating func text(_ name: String) throws -> String {
        guard try next() == UInt8(ascii: "\"") else { throw error("\(name) is not a string") }
        return try string()
    }

    private mutating func word<T>(_ word: StaticString, _ value: T) throws -> T {
        let length = word.utf8CodeUnitCount
        let matches =
            length <= end - offset
            && (0..<length).allSatisfy { bytes[offset + $0] == word.utf8Start[$0] }
        guard matches else { throw broken("a JSON value") }
        offset += length
        return value
    }

    private mutating func number() throws -> JSONValue {
        let start = offset
        let negative = passes(UInt8(ascii: "-"))
        let leading = offset
        var magnitude: UInt64 = 0
        var fits = true
        while offset < end, case let digit = bytes[offset] &- 0x30, digit < 10 {
            let (product, past) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, over) = product.addingReportingOverflow(UInt64(digit))
            if past || over { fits = false }
            magnitude = sum
            offset += 1
        }
        guard offset > leading else { throw broken("a JSON value", at: start) }
        guard offset == leading + 1 || bytes[leading] != 0x30 else {
            throw broken("a number without leading zeros", at: start)
        }
        var whole = true
        if passes(UInt8(ascii: ".")) {
            whole = false
            try digits("digits after the point")
        }
        if passes(UInt8(ascii: "e")) || passes(UInt8(ascii: "E")) {
            whole = false
            if !passes(UInt8(ascii: "+")) { _ = passes(UInt8(ascii: "-")) }
            try digits("digits in the exponent")
        }
        if whole, fits {
            if !negative, let number = Int(exactly: magnitude) { return .integer(number) }
            if negative, magnitude <= Int.min.magnitude {
                return .integer(Int(truncatingIfNeeded: 0 &- magnitude))
            }
        }
        let text = String(
            decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<offset]), as: UTF8.self)
        guard let number = Double(text), number.isFinite else {
            throw broken("a number that fits 64 bits", at: start)
        }
        return .number(number)
    }

    private mutating func digits(_ expected: String) throws {
        let start = offset
        while offset < end, bytes[offset] &- 0x30 < 10 { offset += 1 }
        guard offset > start else { throw broken(expected) }
    }

    private mutating func passes(_ byte: UInt8) -> Bool {
        guard offset < end, bytes[offset] == byte else { return false }
        offset += 1
        return true
    }
}
