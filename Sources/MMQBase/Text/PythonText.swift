/// A text as Python sees it: a list of code points.
///
/// The metrics compare, cut and measure texts as Python does. Swift's `String` would take "é" and
/// "e\u{301}" for the same text and count a flag as one character. Properties are those of
/// Unicode 14, which Python 3.11 has: a character that a later Unicode added has none.
public struct PythonText: Hashable, Sendable {
    /// The code points.
    public var scalars: [Unicode.Scalar]

    /// The code points of a Swift string.
    public init(_ text: String) { scalars = Array(text.unicodeScalars) }

    /// These code points.
    public init(scalars: some Sequence<Unicode.Scalar>) { self.scalars = Array(scalars) }

    /// The text as a Swift string.
    public var string: String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    /// `len(text)`.
    public var count: Int { scalars.count }

    /// `text.lower()`: full case mapping, a sigma at the end of a word in its final form.
    public func lowered() -> PythonText {
        var out: [Unicode.Scalar] = []
        out.reserveCapacity(scalars.count)
        for (i, scalar) in scalars.enumerated() {
            if scalar.value < 0x80 {
                let isUpper = (0x41...0x5a).contains(scalar.value)
                out.append(isUpper ? Unicode.Scalar(UInt8(scalar.value + 0x20)) : scalar)
            } else if scalar == "\u{3a3}" {
                out.append(endsWord(at: i) ? "\u{3c2}" : "\u{3c3}")
            } else {
                out += Self.mapped(scalar, scalar.properties.lowercaseMapping)
            }
        }
        return PythonText(scalars: out)
    }

    /// `len(text.upper())`: "ß" counts as two.
    public var upperedCount: Int {
        scalars.reduce(0) { sum, scalar in
            scalar.value < 0x80
                ? sum + 1 : sum + Self.mapped(scalar, scalar.properties.uppercaseMapping).count
        }
    }

    /// `text.strip()`.
    public func stripped() -> PythonText {
        guard let first = scalars.firstIndex(where: { !Self.isSpace($0) }),
            let last = scalars.lastIndex(where: { !Self.isSpace($0) })
        else { return PythonText(scalars: []) }
        return PythonText(scalars: scalars[first...last])
    }

    /// `text.split()`.
    public func words() -> [PythonText] {
        scalars.split(whereSeparator: Self.isSpace).map { PythonText(scalars: $0) }
    }

    /// `" ".join(words)`.
    public static func joined(_ words: [PythonText]) -> PythonText {
        PythonText(scalars: words.map(\.scalars).joined(separator: [" "]))
    }

    /// `text.replace(one, other)` for a single character.
    public func replacing(_ one: Unicode.Scalar, with other: Unicode.Scalar?) -> PythonText {
        PythonText(scalars: scalars.compactMap { $0 == one ? other : $0 })
    }

    /// `" ".join(text.strip().lower().split())`.
    public func collapsed() -> PythonText { Self.joined(stripped().lowered().words()) }

    /// `str.isspace()` of one character: the bidirectional classes WS, B and S, and the space
    /// separators.
    public static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0d, 0x1c...0x20, 0x85, 0xa0, 0x1680, 0x2000...0x200a, 0x2028, 0x2029, 0x202f,
            0x205f, 0x3000:
            true
        default: false
        }
    }

    /// The value of `\d`, a decimal digit of any script; nil for everything else.
    public static func digit(_ scalar: Unicode.Scalar) -> Int? {
        if scalar.value < 0x80 {
            return (0x30...0x39).contains(scalar.value) ? Int(scalar.value) - 0x30 : nil
        }
        guard scalar.properties.generalCategory == .decimalNumber, isKnown(scalar),
            let value = scalar.properties.numericValue
        else { return nil }
        return Int(exactly: value)
    }

    /// Whether the sigma at `index` is the last letter of a word, as CPython decides it.
    private func endsWord(at index: Int) -> Bool {
        func isPassedOver(_ scalar: Unicode.Scalar) -> Bool {
            Self.isKnown(scalar) && scalar.properties.isCaseIgnorable
        }
        func isCased(_ scalar: Unicode.Scalar) -> Bool {
            Self.isKnown(scalar) && scalar.properties.isCased
        }
        guard let before = scalars[..<index].last(where: { !isPassedOver($0) }), isCased(before)
        else { return false }
        guard let after = scalars[(index + 1)...].first(where: { !isPassedOver($0) }) else {
            return true
        }
        return !isCased(after)
    }

    /// A case mapping, unless a Unicode after 14 made it.
    private static func mapped(_ scalar: Unicode.Scalar, _ mapping: String) -> [Unicode.Scalar] {
        let scalars = Array(mapping.unicodeScalars)
        return isKnown(scalar) && scalars.allSatisfy(isKnown) ? scalars : [scalar]
    }

    private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x80 || scalar.properties.age.map { $0.major <= 14 } ?? false
    }
}
