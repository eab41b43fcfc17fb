/// Small helpers over UTF-8 bytes that are known to be valid.
enum UTF8Scan {
    /// How many bytes the scalar starting with `lead` has.
    @inline(__always)
    static func length(_ lead: UInt8) -> Int {
        if lead < 0x80 { return 1 }
        if lead < 0xE0 { return 2 }
        return lead < 0xF0 ? 3 : 4
    }

    /// The scalar that starts at `index`, and where the next one starts.
    static func scalar(_ bytes: ArraySlice<UInt8>, at index: Int) -> (Unicode.Scalar, Int) {
        let next = min(index + length(bytes[index]), bytes.endIndex)
        var value = UInt32(bytes[index])
        switch next - index {
        case 2: value &= 0x1F
        case 3: value &= 0x0F
        case 4: value &= 0x07
        default: break
        }
        for i in index + 1..<max(next, index + 1) { value = value << 6 | UInt32(bytes[i] & 0x3F) }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", next)
    }

    /// The scalar that ends before `index`, and where it starts.
    static func scalar(_ bytes: ArraySlice<UInt8>, before index: Int) -> (Unicode.Scalar, Int) {
        var start = index - 1
        while start > bytes.startIndex && bytes[start] & 0xC0 == 0x80 { start -= 1 }
        return (scalar(bytes, at: start).0, start)
    }

    /// Whether the bytes are valid UTF-8, by the rules of Unicode (no surrogates, no overlong
    /// forms).
    static func isValid(_ bytes: some Sequence<UInt8>) -> Bool {
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue: continue
            case .emptyInput: return true
            case .error: return false
            }
        }
    }

    /// `bytes` with every occurrence of `pattern` replaced, from left to right.
    static func replacing(
        _ bytes: ArraySlice<UInt8>, _ pattern: [UInt8], with content: [UInt8]
    ) -> [UInt8] {
        guard let first = pattern.first else { return Array(bytes) }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + bytes.count / 2)
        var i = bytes.startIndex
        while i < bytes.endIndex {
            if bytes[i] == first && bytes[i...].starts(with: pattern) {
                result += content
                i += pattern.count
            } else {
                result.append(bytes[i])
                i += 1
            }
        }
        return result
    }
}

extension Unicode.Scalar {
    /// `\w` of the reference's regular expressions (UTS #18): alphabetic, mark, decimal number,
    /// connector punctuation, join control.
    var isWordCharacter: Bool {
        if properties.isAlphabetic || properties.isJoinControl { return true }
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
            return true
        default: return false
        }
    }
}
