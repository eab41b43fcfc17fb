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

    /// transformers 5's `ProcessorMixin.get_processor_dict`: what the processor's settings say comes
    /// first, then `chat_template.json`, and only where there is no such file the Jinja files.
    private func templateText() throws -> String? {
        let settings = "processor_config.json"
        if has(settings) {
            let value = try JSONValue(file: file(settings))["chat_template"] ?? .null
            if let text = try template(value, file: settings) { return text }
        }
        let legacy = "chat_template.json"
        if has(legacy) {
            guard let value = try JSONValue(file: file(legacy))["chat_template"] else {
                throw InputError(
                    .missingKey, file: file(legacy), item: "chat_template", expected: "a text",
                    found: "no such key")
            }
            // An empty one is none.
            return try template(value, file: legacy).flatMap { $0.isEmpty ? nil : $0 }
        }
        for name in ["chat_template.jinja", "chat_templates/default.jinja"] where has(name) {
            let text = String(decoding: try readSmallFile(file(name)), as: UTF8.self)
            return text.isEmpty ? nil : text
        }
        return nil
    }

    private func template(_ value: JSONValue, file name: String) throws -> String? {
        switch value {
        case .null: return nil
        case .string(let text): return text
        default:
            throw InputError(
                .badValue, file: file(name), item: "chat_template", expected: "a text",
                found: value.kind)
        }
    }
}

extension CheckpointTemplate.Form {
    /// Recognizes a Jinja template by what it writes: all that it puts out for a user's turn, in the
    /// order in which it stands there. How it gets there (loops, roles, other turns) is not looked at.
    init(_ jinja: String) {
        self =
            switch JinjaOutputs(jinja)?.texts {
            case ["message['role'].upper()+': '", #"'<image>\n'"#, "$words+' '", "'ASSISTANT:'"]:
                .userAssistant
            case ["'[INST] '", #"'<image>\n'"#, "$words", "' [/INST]'"]: .instructions
            default: .other
            }
    }
}
