/// How a reader takes strings.
extension JSONReader {
    /// A string as it lies in the file.
    private struct RawString {
        /// Between the quotes.
        var range: Range<Int>
        var hasEscapes: Bool
        var isASCII: Bool
    }

    /// Reads a string, from its opening quote on.
    mutating func string() throws -> String {
        let raw = try rawString()
        let content = UnsafeRawBufferPointer(rebasing: bytes[raw.range])
        guard raw.hasEscapes || !raw.isASCII else {
            return String(decoding: content, as: UTF8.self)
        }
        try check(raw)
        guard raw.hasEscapes else { return String(decoding: content, as: UTF8.self) }
        // No escape is shorter than what it stands for.
        return try String(unsafeUninitializedCapacity: content.count) {
            try resolve(raw.range, into: $0)
        }
    }

    /// Passes over a string, checking all that reading it would check.
    mutating func skipString() throws {
        let raw = try rawString()
        try check(raw)
        if raw.hasEscapes { _ = try resolve(raw.range, into: nil) }
    }

    /// Escapes are ASCII and stand for whole characters, so what they resolve to is UTF-8 exactly
    /// if the bytes of the file are.
    private func check(_ raw: RawString) throws {
        let content = UnsafeRawBufferPointer(rebasing: bytes[raw.range])
        guard raw.isASCII || UTF8Scan.isValid(content) else {
            throw broken("a string in UTF-8", at: raw.range.lowerBound - 1)
        }
    }

    /// Finds the end of a string and passes over it, eight bytes at a time.
    private mutating func rawString() throws -> RawString {
        let start = offset + 1
        var at = start
        var seen: UInt64 = 0
        var hasEscapes = false
        while true {
            if end - at >= 8 {
                let word = UInt64(
                    littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
                let marks = Self.marks(word)
                guard marks != 0 else {
                    seen |= word
                    at += 8
                    continue
                }
                let place = marks.trailingZeroBitCount & ~7
                seen |= word & ((1 << UInt64(place)) &- 1)
                at += place / 8
            } else if at >= end {
                throw broken("the end of the string", at: offset)
            }
            switch bytes[at] {
            case UInt8(ascii: "\""):
                offset = at + 1
                return RawString(
                    range: start..<at, hasEscapes: hasEscapes,
                    isASCII: seen & 0x8080_8080_8080_8080 == 0)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                at += 2
            case 0..<0x20: throw broken("no control character in a string", at: at)
            case let byte:
                seen |= UInt64(byte)
                at += 1
            }
        }
    }

    /// Not zero where a byte of `word` is a quote, a backslash or a control character; the lowest
    /// bit that is set is in the first such byte.
    @inline(__always)
    private static func marks(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5c)
        let found =
            ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)
            | ((word &- ones &* 0x20) & ~word)
        return found & (ones &* 0x80)
    }

    /// Writes a string's bytes with its escapes resolved, or only checks them; gives their number.
    private func resolve(
        _ range: Range<Int>, into output: UnsafeMutableBufferPointer<UInt8>?
    ) throws -> Int {
        var count = 0
        func put(_ byte: UInt8) {
            output?[count] = byte
            count += 1
        }
        var at = range.lowerBound
        while at < range.upperBound {
            let byte = bytes[at]
            at += 1
            guard byte == UInt8(ascii: "\\") else {
                put(byte)
                continue
            }
            let letter = bytes[at]  // a backslash is never the last byte: it would escape the quote
            at += 1
            switch letter {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): put(letter)
            case UInt8(ascii: "b"): put(0x08)
            case UInt8(ascii: "f"): put(0x0c)
            case UInt8(ascii: "n"): put(0x0a)
            case UInt8(ascii: "r"): put(0x0d)
            case UInt8(ascii: "t"): put(0x09)
            case UInt8(ascii: "u"):
                for unit in try scalar(&at, before: range.upperBound).utf8 {
                    put(unit)
                }
            default: throw broken("a JSON escape", at: at - 2)
            }
        }
        return count
    }

    /// Reads what follows `\u`: four digits, or those of a pair.
    private func scalar(_ at: inout Int, before limit: Int) throws -> Unicode.Scalar {
        let start = at - 2
        let first = try unit(&at, before: limit)
        if let scalar = Unicode.Scalar(first) { return scalar }
        var next = at
        if first < 0xdc00, limit - at >= 2, bytes[at] == UInt8(ascii: "\\"),
            bytes[at + 1] == UInt8(ascii: "u")
        {
            next += 2
            let second = try unit(&next, before: limit)
            if (0xdc00..<0xe000).contains(second),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
            {
                at = next
                return scalar
            }
        }
        guard rules.loneSurrogates == .replaced else {
            throw broken("both halves of a surrogate pair", at: start)
        }
        return "\u{fffd}"
    }

    /// Reads four hexadecimal digits.
    private func unit(_ at: inout Int, before limit: Int) throws -> UInt32 {
        guard limit - at >= 4 else { throw broken("four hexadecimal digits", at: at) }
        var value: UInt32 = 0
        for byte in bytes[at..<at + 4] {
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46, 0x61...0x66: digit = (byte | 0x20) - 0x61 + 10
            default: throw broken("four hexadecimal digits", at: at)
            }
            value = value << 4 | UInt32(digit)
        }
        at += 4
        return value
    }
}
