import Foundation
import MMQStudy

/// Numbers as a page writes them.
enum PageText {
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
