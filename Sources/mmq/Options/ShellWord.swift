import MMQBase

/// A text as one word of a shell's command line: in quotes where it needs them.
///
/// What a terminal would obey stands there as an escape (`$'...'`, which bash and zsh know): such a line
/// is copied into a terminal, and its words may be a bench's.
func shellWord(_ text: String) -> String {
    let isPlain = text.unicodeScalars.allSatisfy {
        ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
            || "-_./+,=:".unicodeScalars.contains($0)
    }
    if isPlain && !text.isEmpty { return text }
    guard text.unicodeScalars.contains(where: { $0.isUnruly && $0 != "\n" }) else {
        return "'" + text.replacing("'", with: "'\\''") + "'"
    }
    var word = String.UnicodeScalarView("$'".unicodeScalars)
    for scalar in text.unicodeScalars {
        if scalar == "'" || scalar == "\\" {
            word += ["\\", scalar]
        } else if scalar.isUnruly {
            for byte in String(scalar).utf8 {
                let digits = String(byte, radix: 16)
                word += (#"\x"# + (digits.count < 2 ? "0" : "") + digits).unicodeScalars
            }
        } else {
            word.append(scalar)
        }
    }
    return String(word) + "'"
}
