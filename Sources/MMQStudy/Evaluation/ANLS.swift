import MMQBase

/// Average normalized Levenshtein similarity: DocVQA's score.
enum ANLS {
    /// As the Robust Reading Competition's script computes it: distances between cleaned texts
    /// over the length of the raw ones (in upper case, "ß" counts as two), and nothing below one
    /// half counts.
    static func official(answer: String, references: [String]) -> Double {
        let raw = PythonText(answer)
        let cleaned = raw.collapsed()
        let least = references.reduce(Double.infinity) { least, reference in
            let reference = PythonText(reference)
            let distance = distance(reference.collapsed(), cleaned)
            let length = max(reference.upperedCount, raw.upperedCount)
            return min(least, length == 0 ? 0 : Double(distance) / Double(length))
        }
        let score = 1 - least
        return score < 0.5 ? 0 : score
    }

    /// As MMNeuron computes it, with the package `anls` and a threshold of 1: distances over the
    /// length of the cleaned texts, no cut.
    static func uncut(answer: String, references: [String]) -> Double {
        let answer = PythonText(answer).lowered().collapsed()
        return references.reduce(0) { best, reference in
            let reference = PythonText(reference).lowered().collapsed()
            let length = max(reference.upperedCount, answer.upperedCount)
            let distance = distance(answer, reference)
            let part = length == 0 ? 0 : Double(distance) / Double(length)
            return max(best, part < 1 ? 1 - part : 0)
        }
    }

    /// Insertions, deletions and substitutions of code points from one text to the other.
    static func distance(_ one: PythonText, _ other: PythonText) -> Int {
        let (short, long) =
            one.count < other.count ? (one.scalars, other.scalars) : (other.scalars, one.scalars)
        var row = Array(0...short.count)
        for (i, scalar) in long.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in short.indices {
                let above = row[j + 1]
                row[j + 1] =
                    scalar == short[j] ? diagonal : 1 + min(diagonal, min(above, row[j]))
                diagonal = above
            }
        }
        return row[short.count]
    }
}
