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
    ///
    /// Columns of the usual table as bits, 64 rows a step (Myers, "A fast bit-vector algorithm for
    /// approximate string matching", 1999, with the carries between words of Hyyrö 2003): answers
    /// and references come from files, and the table of two long ones would take minutes.
    static func distance(_ one: PythonText, _ other: PythonText) -> Int {
        let (short, long) =
            one.count < other.count ? (one.scalars, other.scalars) : (other.scalars, one.scalars)
        guard !short.isEmpty else { return long.count }
        let words = (short.count + 63) / 64
        // Bit i % 64 of word i / 64: row i holds the character.
        var rows: [Unicode.Scalar: [UInt64]] = [:]
        for (i, scalar) in short.enumerated() {
            rows[scalar, default: Array(repeating: 0, count: words)][i / 64] |= 1 << UInt64(i % 64)
        }
        let none = [UInt64](repeating: 0, count: words)
        // Where a row is one more (or less) than the row above.
        var more = [UInt64](repeating: .max, count: words)
        var less = none
        var distance = short.count
        let last: UInt64 = 1 << UInt64((short.count - 1) % 64)
        for scalar in long {
            let matches = rows[scalar] ?? none
            // The row above the first grows by one with every column.
            var moreIn: UInt64 = 1
            var lessIn: UInt64 = 0
            for word in 0..<words {
                let match = matches[word]
                let vertical = match | less[word]
                let carried = match | lessIn
                let diagonal = (((carried & more[word]) &+ more[word]) ^ more[word]) | carried
                var right = less[word] | ~(diagonal | more[word])
                var left = more[word] & diagonal
                if word == words - 1 {
                    if right & last != 0 { distance += 1 }
                    if left & last != 0 { distance -= 1 }
                }
                let (moreOut, lessOut) = (right >> 63, left >> 63)
                right = right << 1 | moreIn
                left = left << 1 | lessIn
                more[word] = left | ~(vertical | right)
                less[word] = right & vertical
                (moreIn, lessIn) = (moreOut, lessOut)
            }
        }
        return distance
    }
}
