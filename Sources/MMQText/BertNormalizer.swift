import Foundation
import MMQBase

/// Text clean-up of BERT (`BertNormalizer` and `BertPreTokenizer` of Hugging Face tokenizers), on
/// Unicode scalars, never on Swift characters.
///
/// The reference's tables of categories are those of Unicode 8, its decompositions those of Unicode
/// 12. What came later is therefore no mark, no punctuation and no control character, whatever the
/// platform's own tables say; checked against the reference for every scalar there is.
struct BertNormalizer: Sendable, Equatable {
    /// Drops control characters and U+FFFD, turns all whitespace into spaces.
    var cleanText = true
    /// Puts spaces around CJK ideographs.
    var spaceChinese = true
    /// Decomposes and drops nonspacing marks.
    var stripAccents = true
    /// Lowercases scalar by scalar.
    var lowercase = true

    /// The text as the vocabulary spells it, UTF-8.
    func normalize(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var scalars: [Unicode.Scalar] = []
        scalars.reserveCapacity(text.count)
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            if cleanText {
                if Self.isDropped(scalar) { continue }
                scalars.append(scalar.isSpace ? " " : scalar)
            } else {
                scalars.append(scalar)
            }
        }
        if spaceChinese && scalars.contains(where: Self.isChinese) {
            scalars = scalars.flatMap { Self.isChinese($0) ? [" ", $0, " "] : [$0] }
        }
        if stripAccents && scalars.contains(where: { $0.value >= 0xC0 }) {
            scalars = Self.decompose(scalars).filter { !Self.isNonspacingMark($0) }
        }
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        for scalar in scalars {
            if scalar.isASCII {
                let byte = UInt8(truncatingIfNeeded: scalar.value)
                result.append(lowercase && byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte)
            } else if lowercase {
                result += Array(scalar.properties.lowercaseMapping.utf8)
            } else {
                result += Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        return result
    }

    /// Cuts normalized text into words: at whitespace, and around every punctuation character.
    static func words(_ text: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var words: [ArraySlice<UInt8>] = []
        var start = text.startIndex
        var i = text.startIndex
        while i < text.endIndex {
            let (scalar, next) = UTF8Scan.scalar(text, at: i)
            let isSpace = scalar.isSpace
            if isSpace || isPunctuation(scalar) {
                if start < i { words.append(text[start..<i]) }
                if !isSpace { words.append(text[i..<next]) }
                start = next
            }
            i = next
        }
        if start < i { words.append(text[start..<i]) }
        return words
    }

    /// Canonical decomposition. Scalars that the reference does not know are left alone, and marks
    /// are not sorted across them.
    private static func decompose(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var run = String.UnicodeScalarView()
        func flush() {
            result += String(run).decomposedStringWithCanonicalMapping.unicodeScalars
            run = String.UnicodeScalarView()
        }
        for scalar in scalars {
            if isKnown(scalar, since: 12) {
                run.append(scalar)
            } else {
                flush()
                result.append(scalar)
            }
        }
        flush()
        return result
    }

    /// Whether the scalar was assigned in this major version of Unicode.
    private static func isKnown(_ scalar: Unicode.Scalar, since version: Int) -> Bool {
        if scalar.value < 0x300 { return true }
        guard let age = scalar.properties.age else { return false }
        return age.major < version || (age.major == version && (version == 12 || age.minor == 0))
    }

    private static func isDropped(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09, 0x0A, 0x0D: return false
        case 0, 0xFFFD: return true
        case 0x20..<0x7F: return false
        default:
            switch scalar.properties.generalCategory {
            case .control, .privateUse: return true
            case .format: return isKnown(scalar, since: 8)
            default: return false
            }
        }
    }

    /// The reference's ranges; the gap between 0x2B820 and 0x2B91F is its own.
    static func isChinese(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F,
            0x2B740...0x2B81F, 0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }

    static func isNonspacingMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x300: false
        case 0x1734, 0x1171E: true  // spacing marks today
        case 0x111C9: false  // punctuation in Unicode 8
        case 0x1885, 0x1886, 0xA9BD: false  // letters and a spacing mark there
        default: scalar.properties.generalCategory == .nonspacingMark && isKnown(scalar, since: 8)
        }
    }

    static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 33...47, 58...64, 91...96, 123...126: return true
        case 0..<0x80: return false
        case 0x166D, 0x111C9: return true  // a symbol and a mark today
        default:
            switch scalar.properties.generalCategory {
            case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
                .initialPunctuation, .finalPunctuation, .otherPunctuation:
                return isKnown(scalar, since: 8)
            default: return false
            }
        }
    }
}
