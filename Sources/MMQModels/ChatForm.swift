import MMQBase

/// What a checkpoint says of its turns.
public struct CheckpointTemplate: Sendable {
    /// The forms that these models' Jinja templates have.
    public enum Form: Sendable {
        /// `USER: <image>` and the words, `ASSISTANT:`.
        case userAssistant
        /// `[INST] <image>`, the words, `[/INST]`.
        case instructions
        /// None of these.
        case other
    }

    /// The form of the checkpoint's own template; nil where it has none.
    public let form: Form?
    /// The decoder's type in `config.json`.
    public let decoder: String
}

extension CheckpointFolder {
    /// Reads the template where transformers' processor looks for it, in its order. (What
    /// `tokenizer_config.json` says is the language model's alone and knows no pictures.)
    func template() throws -> CheckpointTemplate {
        let config = try JSONValue(file: file("config.json"))
        let type = config["text_config"]?["model_type"]?.text
        return CheckpointTemplate(
            form: try templateText().map(CheckpointTemplate.Form.init), decoder: type ?? "llama")
    }

    private func templateText() throws -> String? {
        let jinja = "chat_template.jinja"
        if has(jinja) { return String(decoding: try readSmallFile(file(jinja)), as: UTF8.self) }
        for name in ["chat_template.json", "processor_config.json"] where has(name) {
            let value = try JSONValue(file: file(name))["chat_template"] ?? .null
            switch value {
            case .null: continue
            case .string(let text): return text
            default:
                throw InputError(
                    .badValue, file: file(name), item: "chat_template", expected: "a text",
                    found: value.kind)
            }
        }
        return nil
    }
}

extension CheckpointTemplate.Form {
    /// Recognizes a Jinja template by what it writes: all that it puts out for a user's turn, in the
    /// order in which it stands there. How it gets there (loops, roles, other turns) is not looked at.
    init(_ jinja: String) {
        let outputs = JinjaOutputs(jinja).texts
        self =
            switch outputs {
            case ["message['role'].upper()+': '", "'<image>\\n'", "words+' '", "'ASSISTANT:'"]:
                .userAssistant
            case ["'[INST] '", "'<image>\\n'", "words", "' [/INST]'"]: .instructions
            default: .other
            }
    }
}

/// What a Jinja template of these models puts out, without the turns of others than the user.
private struct JinjaOutputs {
    private(set) var texts: [String] = []

    init(_ jinja: String) {
        var rest = Array(jinja.unicodeScalars)[...]
        while let open = Self.firstTag(in: rest) {
            add(text: rest[..<open.start])
            let inside = rest[(open.start + 2)...]
            let close = Self.end(of: inside, tag: open.kind) ?? inside.endIndex
            if open.kind == "{" { add(expression: inside[..<close]) }
            rest = inside[min(close + 2, inside.endIndex)...]
        }
        add(text: rest)
    }

    private typealias Part = ArraySlice<Unicode.Scalar>

    private static func firstTag(in part: Part) -> (start: Int, kind: Unicode.Scalar)? {
        for at in part.indices.dropLast()
        where part[at] == "{" && "{%#".unicodeScalars.contains(part[at + 1]) {
            return (at, part[at + 1])
        }
        return nil
    }

    /// Where `}}`, `%}` or `#}` stands, outside of literals.
    private static func end(of part: Part, tag: Unicode.Scalar) -> Int? {
        var quote: Unicode.Scalar?
        var at = part.startIndex
        while at + 1 < part.endIndex {
            let now = part[at]
            if let open = quote {
                if now == "\\" { at += 1 } else if now == open { quote = nil }
            } else if tag != "#", now == "'" || now == "\"" {
                quote = now
            } else if now == (tag == "{" ? "}" : tag), part[at + 1] == "}" {
                return at
            }
            at += 1
        }
        return nil
    }

    /// Space between tags is how the template is laid out, not what it writes.
    private mutating func add(text: Part) {
        let text = String(String.UnicodeScalarView(text))
        if !text.allSatisfy(\.isWhitespace) { texts.append(text) }
    }

    private mutating func add(expression part: Part) {
        let text = Self.plain(part)
        // A system's and an assistant's turn, and what the template refuses.
        guard !text.contains("message['content'][0]['text']"), !text.hasPrefix("raise_exception(")
        else { return }
        // The same words are put out in one branch for the user and in one for the assistant.
        if texts.last != text { texts.append(text) }
    }

    /// An expression without space outside of literals, these in single quotes, and with `words` for
    /// the text of the loop's variable.
    private static func plain(_ part: Part) -> String {
        var text = ""
        var quote: Unicode.Scalar?
        for scalar in part {
            if let open = quote {
                if scalar == open { quote = nil }
                text.unicodeScalars.append(scalar == open ? "'" : scalar)
            } else if scalar == "'" || scalar == "\"" {
                quote = scalar
                text += "'"
            } else if !scalar.properties.isWhitespace {
                text.unicodeScalars.append(scalar)
            }
        }
        if text.hasPrefix("-") { text.removeFirst() }
        if text.hasSuffix("-") { text.removeLast() }
        let key = "['text']"
        if let found = text.range(of: key),
            text[..<found.lowerBound].allSatisfy({ $0.isLetter || $0 == "_" })
        {
            text = "words" + text[found.upperBound...]
        }
        return text
    }
}
