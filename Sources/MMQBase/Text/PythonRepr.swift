/// A string as Python's `repr` prints it.
///
/// The official PMC-VQA prompt prints a list of the four choices, so quotes, escapes and the choice
/// between `'` and `"` are part of what the model reads. Characters count as printable as in
/// Python 3.11 (Unicode 14): one that a later Unicode added is written as an escape.
public func pythonRepr(_ text: String) -> String {
    let scalars = text.unicodeScalars
    let quote: Unicode.Scalar = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
    var out = String.UnicodeScalarView()
    out.append(quote)
    for scalar in scalars {
        switch scalar {
        case quote, "\\": out.append(contentsOf: ["\\", scalar])
        case "\n": out.append(contentsOf: "\\n".unicodeScalars)
        case "\r": out.append(contentsOf: "\\r".unicodeScalars)
        case "\t": out.append(contentsOf: "\\t".unicodeScalars)
        case _ where isPrintable(scalar): out.append(scalar)
        default:
            let (letter, width) =
                scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
            let hex = String(scalar.value, radix: 16)
            let padded = String(repeating: "0", count: width - hex.count) + hex
            out.append(contentsOf: "\\\(letter)\(padded)".unicodeScalars)
        }
    }
    out.append(quote)
    return String(out)
}

/// Python's `str.isprintable` for one character: not of the categories Other and Separator, the
/// space excepted.
private func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    if (0x20..<0x7f).contains(scalar.value) { return true }
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
        .paragraphSeparator, .spaceSeparator:
        return false
    default:
        guard let age = scalar.properties.age else { return false }
        return age.major <= 14
    }
}

/// A float as Python's `repr` prints it: the shortest digits that read back the same, with an
/// exponent below 1e-4 and from 1e16 on.
public func pythonRepr(_ number: Double) -> String {
    if number.isNaN { return "nan" }
    if number.isInfinite { return number < 0 ? "-inf" : "inf" }
    if number == 0 { return number.sign == .minus ? "-0.0" : "0.0" }
    // Swift prints the same digits; only the place of the point has to be found.
    var digits: [Character] = []
    var exponent = 0
    var pointAt: Int?
    let text = "\(number.magnitude)"
    let parts = text.split(separator: "e")
    for character in parts[0] {
        if character == "." { pointAt = digits.count } else { digits.append(character) }
    }
    exponent = (pointAt ?? digits.count) + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
    while digits.count > 1, digits[0] == "0" {
        digits.removeFirst()
        exponent -= 1
    }
    while digits.count > 1, digits[digits.count - 1] == "0" { digits.removeLast() }
    // The value is now 0.DIGITS × 10^exponent.
    let sign = number < 0 ? "-" : ""
    let power = exponent - 1
    if power < -4 || power >= 16 {
        let fraction = digits.count > 1 ? "." + String(digits.dropFirst()) : ""
        let size = power.magnitude < 10 ? "0\(power.magnitude)" : "\(power.magnitude)"
        return "\(sign)\(digits[0])\(fraction)e\(power < 0 ? "-" : "+")\(size)"
    }
    if exponent <= 0 {
        return "\(sign)0.\(String(repeating: "0", count: -exponent))\(String(digits))"
    }
    if digits.count <= exponent {
        let zeros = String(repeating: "0", count: exponent - digits.count)
        return "\(sign)\(String(digits))\(zeros).0"
    }
    return "\(sign)\(String(digits[..<exponent])).\(String(digits[exponent...]))"
}
