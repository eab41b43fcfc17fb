/// The text with everything escaped that a terminal would obey or that would show it in another
/// order: control characters (C0 and C1, DEL), bidirectional controls, line and paragraph
/// separators. Names, pieces of a vocabulary and answers come from files, and files are hostile.
///
/// The escapes are JSON's, so that a JSON document stays one and reads as before.
///
/// - Parameter lines: whether line feeds and tabs stay.
public func shown(_ text: String, lines: Bool = true) -> String {
    func isObeyed(_ scalar: Unicode.Scalar) -> Bool {
        scalar.isUnruly && !(lines && (scalar == "\n" || scalar == "\t"))
    }
    guard text.unicodeScalars.contains(where: isObeyed) else { return text }
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        if isObeyed(scalar) {
            let digits = String(scalar.value, radix: 16)
            out.append(contentsOf: "\\u".unicodeScalars)
            out.append(contentsOf: String(repeating: "0", count: 4 - digits.count).unicodeScalars)
            out.append(contentsOf: digits.unicodeScalars)
        } else {
            out.append(scalar)
        }
    }
    return String(out)
}

extension Unicode.Scalar {
    /// Whether a terminal or a page would obey it rather than show it: control characters (C0 with
    /// line feed and tab, DEL, C1), line and paragraph separators, marks that turn the direction of
    /// what follows.
    public var isUnruly: Bool {
        switch value {
        case 0..<0x20, 0x7f..<0xa0, 0x61c, 0x200e, 0x200f, 0x2028...0x202e, 0x2066...0x2069: true
        default: false
        }
    }
}
