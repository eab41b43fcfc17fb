/// What a chat template puts out, without the turns of others than the user: what stands between its
/// tags, and its expressions.
///
/// Reads a template as transformers has Jinja read it (`trim_blocks` and `lstrip_blocks`).
struct JinjaOutputs {
    /// In the order in which they stand in the template: expressions without space outside of
    /// literals, with `$words` for the text of a loop's variable; what stands between tags as a literal.
    /// Literals are in single quotes, with `\n`, `\'` and `\\` as their only escapes.
    private(set) var texts: [String] = []

    private typealias Part = ArraySlice<Unicode.Scalar>

    /// Nil for a tag without an end.
    init?(_ jinja: String) {
        // Jinja knows one kind of line end, inside of literals too, and drops the file's last.
        var source: [Unicode.Scalar] = []
        var previous: Unicode.Scalar?
        for scalar in jinja.unicodeScalars {
            if scalar == "\r" || scalar == "\n" && previous != "\r" {
                source.append("\n")
            } else if scalar != "\n" {
                source.append(scalar)
            }
            previous = scalar
        }
        if source.last == "\n" { source.removeLast() }
        var rest = source[...]
        var startsLine = true
        while let tag = Self.firstTag(in: rest) {
            guard let end = Self.end(of: rest[(tag.start + 2)...], kind: tag.kind) else {
                return nil
            }
            add(text: Self.before(tag, rest[..<tag.start], next: rest[tag.start + 2], startsLine))
            if tag.kind == "{" { add(expression: rest[(tag.start + 2)..<end]) }
            let sign = rest[end - 1]
            rest = rest[(end + 2)...]
            let skipped =
                if sign == "-", end - 1 > tag.start + 2 {
                    rest.prefix(while: \.properties.isWhitespace)
                } else if tag.kind != "{", sign != "+" {
                    rest.prefix(1).prefix { $0 == "\n" }
                } else {
                    rest.prefix(0)
                }
            rest = rest[skipped.endIndex...]
            startsLine = skipped.last == "\n"
        }
        add(text: rest)
    }

    private static func firstTag(in part: Part) -> (start: Int, kind: Unicode.Scalar)? {
        for at in part.indices.dropLast()
        where part[at] == "{" && "{%#".unicodeScalars.contains(part[at + 1]) {
            return (at, part[at + 1])
        }
        return nil
    }

    /// Where `}}`, `%}` or `#}` stands, outside of literals.
    private static func end(of part: Part, kind: Unicode.Scalar) -> Int? {
        var quote: Unicode.Scalar?
        var at = part.startIndex
        while at + 1 < part.endIndex {
            let now = part[at]
            if let open = quote {
                if now == "\\" { at += 1 } else if now == open { quote = nil }
            } else if kind != "#", now == "'" || now == "\"" {
                quote = now
            } else if now == (kind == "{" ? "}" : kind), part[at + 1] == "}" {
                return at
            }
            at += 1
        }
        return nil
    }

    /// What is left of the text before a tag: a minus takes all space at its end, and without a plus
    /// a statement or a comment takes the space that it is indented by.
    private static func before(
        _ tag: (start: Int, kind: Unicode.Scalar), _ text: Part, next: Unicode.Scalar,
        _ startsLine: Bool
    ) -> Part {
        let space = text.reversed().prefix(while: \.properties.isWhitespace)
        if next == "-" { return text.dropLast(space.count) }
        guard tag.kind != "{", next != "+" else { return text }
        let indent = space.prefix { $0 != "\n" }.count
        return indent < space.count || indent == text.count && startsLine
            ? text.dropLast(indent) : text
    }

    private mutating func add(text: Part) {
        if !text.isEmpty { texts.append(Self.literal(text)) }
    }

    private mutating func add(expression part: Part) {
        let text = Self.plain(part)
        // A system's and an assistant's turn, and what the template refuses.
        guard !text.contains("message['content'][0]['text']"), !text.hasPrefix("raise_exception(")
        else { return }
        // The same words are put out in one branch for the user and in one for the assistant.
        if texts.last != text { texts.append(text) }
    }

    private static func plain(_ part: Part) -> String {
        var part = part
        if let first = part.first, first == "-" || first == "+" { part.removeFirst() }
        if part.last == "-" { part.removeLast() }
        var text = ""
        var at = part.startIndex
        while at < part.endIndex {
            let scalar = part[at]
            at += 1
            if scalar == "'" || scalar == "\"" {
                var value: [Unicode.Scalar] = []
                while at < part.endIndex, part[at] != scalar {
                    // A line end in a literal is what it is: many templates have it there.
                    if part[at] == "\\", at + 1 < part.endIndex {
                        at += 1
                        value += unescaped(part[at])
                    } else {
                        value.append(part[at])
                    }
                    at += 1
                }
                at += 1
                text += literal(value[...])
            } else if !scalar.properties.isWhitespace {
                text.unicodeScalars.append(scalar)
            }
        }
        let key = "['text']"
        if let found = text.range(of: key),
            text[..<found.lowerBound].allSatisfy({ $0.isLetter || $0 == "_" })
        {
            text = "$words" + text[found.upperBound...]
        }
        return text
    }

    /// The escapes of Python's literals that stand for one sign; others stay as they are, which no
    /// form has.
    private static func unescaped(_ escape: Unicode.Scalar) -> [Unicode.Scalar] {
        switch escape {
        case "n": ["\n"]
        case "t": ["\t"]
        case "r": ["\r"]
        case "\\", "'", "\"": [escape]
        case "\n": []
        default: ["\\", escape]
        }
    }

    private static func literal(_ value: Part) -> String {
        var text = "'"
        for scalar in value {
            switch scalar {
            case "\n": text += #"\n"#
            case "\\", "'":
                text += #"\"#
                text.unicodeScalars.append(scalar)
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "'"
    }
}
