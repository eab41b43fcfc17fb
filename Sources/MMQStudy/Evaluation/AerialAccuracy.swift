import MMQBase

/// RSVQA's accuracy.
///
/// The data set's own model is a classifier whose classes are normalised answers; a text counts as
/// right if it normalises to the class of the true answer.
enum AerialAccuracy {
    /// The four types of the high-resolution data set.
    static let types = ["presence", "count", "comp", "area"]

    /// Whether both texts are of the same class.
    static func official(answer: String, truth: String) -> Bool {
        answerClass(answer) == answerClass(truth)
    }

    /// Whether the raw texts are equal but for letter case.
    static func exact(answer: String, truth: String) -> Bool {
        PythonText(answer).lowered() == PythonText(truth).lowered()
    }

    /// A text's class: without a final `?` or `.`, lower case, areas in bins. (In the
    /// high-resolution data set counts are not binned.)
    static func answerClass(_ text: String) -> [PythonText] {
        var text = PythonText(text)
        if let last = text.scalars.last, last == "?" || last == "." { text.scalars.removeLast() }
        return text.words().map { area($0.lowered()) }
    }

    /// The bin of `<number>m2`; other words stay. The original fails where no whole number stands
    /// before `m2`: here such a word stays as it is.
    private static func area(_ word: PythonText) -> PythonText {
        guard word.scalars.suffix(2) == ["m", "2"],
            let number = integer(word.scalars.dropLast(2))
        else { return word }
        return switch number {
        case 1...10: PythonText("between 0m2 and 10m2")
        case 11...100: PythonText("between 10m2 and 100m2")
        case 101...1000: PythonText("between 100m2 and 1000m2")
        case 1001...: PythonText("more than 1000m2")
        default: word
        }
    }

    /// `int(text)`: a sign, decimal digits of any script, single underscores between digits. A
    /// number above 10⁹ is given as that.
    private static func integer(_ text: ArraySlice<Unicode.Scalar>) -> Int? {
        var digits = text
        let isNegative = digits.first == "-"
        if isNegative || digits.first == "+" { digits.removeFirst() }
        var value = 0
        var afterDigit = false
        for scalar in digits {
            if scalar == "_", afterDigit {
                afterDigit = false
                continue
            }
            guard let digit = PythonText.digit(scalar) else { return nil }
            value = min(value * 10 + digit, 1_000_000_000)
            afterDigit = true
        }
        return afterDigit ? (isNegative ? -value : value) : nil
    }
}
