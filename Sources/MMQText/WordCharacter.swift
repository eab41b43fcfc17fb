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
