extension Unicode.Scalar {
    /// White space, with what a text mostly has told without the tables.
    var isSpace: Bool {
        isASCII ? value == 0x20 || (0x09...0x0D).contains(value) : properties.isWhitespace
    }

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
