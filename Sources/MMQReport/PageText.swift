import Foundation
import MMQStudy

/// Text on its way into a page.
enum PageText {
    /// Text as HTML content or as an attribute's value in double quotes.
    ///
    /// Control characters, and those that turn the direction of what follows, become U+FFFD: a name
    /// must not rearrange the page.
    static func escaped(_ text: String) -> String {
        var out = ""
        out.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "'": out += "&#39;"
            case "\n", "\t": out.unicodeScalars.append(scalar)
            default:
                if isUnruly(scalar) {
                    out += "\u{FFFD}"
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out
    }

    /// Control characters, line ends that only JavaScript knows, and marks that turn the direction
    /// of what follows.
    private static func isUnruly(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069, 0xFFFE, 0xFFFF: true
        default: false
        }
    }

    /// A document as JSON that can stand inside a script element: no `<`, `>`, `&` and nothing
    /// unruly, written as escapes. These occur in JSON inside texts alone.
    static func scriptJSON(_ document: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let json = String(decoding: try encoder.encode(document), as: UTF8.self)
        var out = ""
        out.reserveCapacity(json.utf8.count)
        for scalar in json.unicodeScalars {
            switch scalar {
            case "<": out += "\\u003c"
            case ">": out += "\\u003e"
            case "&": out += "\\u0026"
            default:
                if isUnruly(scalar) {
                    out += String(format: "\\u%04x", scalar.value)
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out
    }

    // MARK: - Numbers

    /// A number with so many places, a true minus sign, and none for zero; `–` for none.
    static func number(_ value: Double?, _ places: Int = 2, sign: Bool = false) -> String {
        guard let value, value.isFinite else { return "–" }
        let text = String(format: "%.\(places)f", abs(value))
        let isZero = !text.contains { ("1"..."9").contains($0) }
        if isZero { return text }
        return (value < 0 ? "\u{2212}" : sign ? "+" : "") + text
    }

    /// A share in per cent.
    static func percent(_ value: Double?, _ places: Int = 1, sign: Bool = false) -> String {
        number(value.map { $0 * 100 }, places, sign: sign)
    }

    /// A whole number with a comma between thousands.
    static func whole(_ value: some BinaryInteger) -> String {
        var digits = Array(String(value))
        var at = digits.count - 3
        let first = value < 0 ? 1 : 0
        while at > first {
            digits.insert(",", at: at)
            at -= 3
        }
        return String(digits)
    }

    /// A p value.
    static func probability(_ p: Double) -> String {
        p < 0.0001 ? "&lt; 0.0001" : number(p, p < 0.1 ? 4 : 2)
    }

    /// A size in bytes.
    static func size(_ bytes: Int) -> String {
        switch bytes {
        case ..<1_000: "\(bytes) B"
        case ..<1_000_000: number(Double(bytes) / 1e3, 1) + " kB"
        case ..<1_000_000_000: number(Double(bytes) / 1e6, 1) + " MB"
        default: number(Double(bytes) / 1e9, 2) + " GB"
        }
    }
}

extension Domain {
    /// What the pictures show, in a word.
    var subject: String {
        switch self {
        case .ad: "driving"
        case .med: "medical"
        case .rs: "aerial"
        case .com: "everyday"
        case .doc: "documents"
        }
    }
}
