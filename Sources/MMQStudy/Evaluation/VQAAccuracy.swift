import MMQBase
import MMQFormats

/// VQAv2's accuracy, as the data set's own `vqaEval.py` computes it, quirks included.
///
/// - Both sides are normalised only where the ten answers are not all equal; otherwise letter case
///   decides.
/// - Each annotator's own record is left out by comparing whole records: records that are equal in
///   every field leave together.
/// - `re.UNICODE` reaches the period rule as the greatest number of replacements, 32; its
///   look-behind is mistyped and never holds anything back.
enum VQAAccuracy {
    /// The mean over annotators of min(1, equal answers among the others / 3).
    ///
    /// - Parameters:
    ///   - answer: the model's answer.
    ///   - records: the annotators' records, each with its answer.
    static func score(answer: String, records: [Record]) -> Double {
        var answer = trimmed(answer)
        var texts = records.map { trimmed($0.answer) }
        if Set(texts).count > 1 {
            texts = texts.map(normalised)
            answer = normalised(answer)
        }
        var sum = 0.0
        for own in records.indices {
            let matches = records.indices.filter { other in
                texts[other] == answer
                    && !(texts[other] == texts[own] && records[other].rest == records[own].rest)
            }
            sum += min(1, Double(matches.count) / 3)
        }
        return sum / Double(records.count)
    }

    /// One annotator's answer and what tells the record from others with the same answer.
    struct Record {
        /// The answer.
        let answer: String
        /// The record's other fields (`answer_id`, `answer_confidence`), or its number.
        let rest: String
    }

    /// Punctuation, then digits, articles and contractions.
    static func normalised(_ text: PythonText) -> PythonText {
        withoutArticles(withoutPunctuation(text))
    }

    private static func trimmed(_ text: String) -> PythonText {
        let scalars = text.unicodeScalars.map { $0 == "\n" || $0 == "\t" ? " " : $0 }
        return PythonText(scalars: scalars).stripped()
    }

    private static let punctuation = Array(";/[]\"{}()=+\\_-><@`,?!".unicodeScalars)
    private static let greatestPeriods = 32
    private static let articles = Set(["a", "an", "the"].map(PythonText.init))
    private static let numbers: [PythonText: PythonText] = {
        let words = [
            "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4",
            "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
        ]
        return Dictionary(
            uniqueKeysWithValues: words.map { (PythonText($0.key), PythonText($0.value)) })
    }()

    /// A mark goes where it touches a space somewhere in the text, or where the text has a comma
    /// between digits; otherwise it becomes a space. Then periods before no digit go.
    static func withoutPunctuation(_ text: PythonText) -> PythonText {
        let scalars = text.scalars
        let pairs = zip(scalars, scalars.dropFirst())
        var besideSpace: Set<Unicode.Scalar> = []
        for (left, right) in pairs {
            if right == " " { besideSpace.insert(left) }
            if left == " " { besideSpace.insert(right) }
        }
        let hasDigitComma = scalars.indices.dropFirst().dropLast().contains { i in
            scalars[i] == "," && PythonText.digit(scalars[i - 1]) != nil
                && PythonText.digit(scalars[i + 1]) != nil
        }
        var out = text
        for mark in punctuation {
            let goes = hasDigitComma || besideSpace.contains(mark)
            out = out.replacing(mark, with: goes ? nil : " ")
        }
        var periods = 0
        var kept: [Unicode.Scalar] = []
        for (i, scalar) in out.scalars.enumerated() {
            let isLast = i + 1 == out.scalars.count
            if scalar == ".", periods < greatestPeriods,
                isLast || PythonText.digit(out.scalars[i + 1]) == nil
            {
                periods += 1
            } else {
                kept.append(scalar)
            }
        }
        return PythonText(scalars: kept)
    }

    private static func withoutArticles(_ text: PythonText) -> PythonText {
        let words = text.lowered().words().map { numbers[$0] ?? $0 }
        let kept = words.filter { !articles.contains($0) }
        return PythonText.joined(kept.map { vqaContractions[$0] ?? $0 })
    }
}
