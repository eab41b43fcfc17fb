import Foundation
import MMQBase
import Support
import Testing

@testable import MMQModels

/// Which template a checkpoint has, by its own Jinja text.
@Suite struct ChatTemplateTests {
    private typealias Form = CheckpointTemplate.Form

    private static let images =
        "{% for item in message['content'] | selectattr('type', 'equalto', 'image') %}"
        + #"{{ '<image>\n' }}{% endfor %}"#
    private static func words(_ more: String) -> String {
        "{% for item in message['content'] | selectattr('type', 'equalto', 'text') %}"
            + "{{ item['text']\(more) }}{% endfor %}"
    }

    @Test func userAssistant() {
        let role = "{{ message['role'].upper() + ': ' }}"
        let end = "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
        let plain =
            "{% for message in messages %}" + role + Self.images + Self.words(" + ' '")
            + "{% endfor %}" + end
        let branches =
            "{% for message in messages %}{% if message['role'] == 'system' %}"
            + "{{ message['content'][0]['text'] }}{% else %}" + role
            + "{% endif %}{# pictures first, }} or not #}" + Self.images
            + "{% if message['role'] != 'assistant' %}" + Self.words(" + ' '") + "{% else %}"
            + "{% generation %}" + Self.words("+' '") + "{% endgeneration %}{% endif %}"
            + "{% endfor %}" + end
        for text in [plain, branches] { #expect(Form(text) == .userAssistant, "\(text)") }
        // Other words, another order, another end: another template.
        for text in [
            plain.replacingOccurrences(of: "ASSISTANT:", with: "ASSISTANT: "),
            plain.replacingOccurrences(of: "ASSISTANT:", with: "BOT:"),
            plain.replacingOccurrences(of: " + ' '", with: ""),
            plain.replacingOccurrences(of: #"<image>\n"#, with: "<image>"),
            plain.replacingOccurrences(of: "{% endfor %}" + end, with: "</s>{% endfor %}" + end),
            plain.replacingOccurrences(of: role, with: "{{ message['role'] + ': ' }}"),
            plain.replacingOccurrences(of: "item['text'] +", with: "item +"),
            plain.replacingOccurrences(of: "item['text'] +", with: "words +"),
            "{% for message in messages %}" + role + Self.words(" + ' '") + Self.images
                + "{% endfor %}" + end,
        ] {
            #expect(Form(text) == .other, "\(text)")
        }
    }

    @Test func instructions() {
        let text =
            "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
            + Self.images + Self.words("")
            + "{{' [/INST]' }}{% elif message['role'] == 'assistant' %}"
            + #"{{ ' ' + message['content'][0]['text'] + '<\s> '}}{% else %}"#
            + "{{ raise_exception('Only \"user\" and {{ assistant }}!') }}{% endif %}{% endfor %}"
        #expect(Form(text) == .instructions)
        #expect(Form(text.replacingOccurrences(of: "[INST] ", with: "[INST]")) == .other)
    }

    /// In `chat_template.json` the JSON has the escape, so that the template's literal has a line end.
    @Test func aLineEndIsThatOfALiteral() throws {
        let llava = GoldenModel.llava15.checkpoint + "/chat_template.json"
        let mistral = GoldenModel("llava-next", "mistral-bf16").checkpoint + "/chat_template.jinja"
        for (text, form) in [
            (try JSONValue(file: llava)["chat_template"]?.text, Form.userAssistant),
            (try String(contentsOfFile: mistral, encoding: .utf8), .instructions),
        ] {
            let text = try #require(text)
            try #require(text.contains("'<image>\n'") && !text.contains(#"\n"#))
            #expect(Form(text) == form)
            for end in [#"\n"#, "\r\n", "\r"] {
                #expect(Form(text.replacingOccurrences(of: "\n", with: end)) == form)
            }
            for other in [#"\\n"#, #"\t"#, "\n\n", " ", #"\x0a"#, "\n'+'", ""] {
                let text = text.replacingOccurrences(of: "<image>\n", with: "<image>" + other)
                #expect(Form(text) == .other, "\(other)")
            }
        }
    }

    /// What `trim_blocks` and `lstrip_blocks` leave of the space between tags is put out.
    @Test func spaceBetweenTags() {
        let start = "{% if message['role'] == 'user' %}"
        let opening = "{{ '[INST] ' }}"
        let closing = "{{ ' [/INST]' }}"
        let middle = Self.images + Self.words("")
        let user = opening + middle + closing
        for text in [
            start + "\n" + user + "{% endif %}\n", "  " + start + "\n" + user,
            start + "\n    {%- if true %}\n\t{# a \n comment #}\n" + user + "{% endif -%} \n ",
            start + " \n {%- if true -%} \n " + user,
            start + opening + "{# #}\n" + middle + closing,
            start + opening + middle + "\n {{- ' [/INST]' -}} \n{% endif %}",
        ] {
            #expect(Form(text) == .instructions, "\(text)")
        }
        for text in [
            " " + user, start + "\n " + user, start + "\n\n" + user, "\n  " + start + user,
            start + " {% if true %}" + user, "{% if true +%}\n" + user, "  {%+ if true %}" + user,
            user + "\n{% endif %}", user + "\n\n",
            start + user.replacingOccurrences(of: "}}{% endfor", with: "}}\n{% endfor"),
            start + opening + " {# #}" + middle + closing,
        ] {
            #expect(Form(text) == .other, "\(text)")
        }
    }

    @Test(arguments: [
        "", "{{", "{{-}}", "{{ '[INST] ' }}{{ '<image>\\n' }}{{ item['text'] }}{{ ' [/INST]' ",
        "{{ '[INST] ' }}{{ '<image>\\n' }}$words{{ ' [/INST]' }}", "{%", "{# {{ '[INST] ' }}",
        "{{ 'a", "USER: ", "{{ '\\", "{{ bos_token }}",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}{% endfor %}",
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}",
    ])
    func anythingElse(_ text: String) { #expect(Form(text) == .other) }

    /// A copy of a checkpoint with other files about its turns.
    private func template(
        _ files: [String: String], in folder: TemporaryFolder,
        _ golden: GoldenModel = .llava
    ) throws -> ChatTemplate {
        let copy = folder("checkpoint")
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.copyItem(atPath: golden.checkpoint, toPath: copy)
        try? FileManager.default.removeItem(atPath: copy + "/chat_template.json")
        try FileManager.default.createDirectory(
            atPath: copy + "/chat_templates", withIntermediateDirectories: true)
        for (name, text) in files {
            try Data(text.utf8).write(to: URL(fileURLWithPath: copy + "/" + name))
        }
        let converter = try Converter(checkpoint: copy, options: ConversionOptions(replace: true))
        try converter.convert(to: folder("model"))
        return try ModelFiles(folder: folder("model")).chatTemplate()
    }

    @Test func whereTransformersLooks() throws {
        let folder = try TemporaryFolder()
        #expect(try template([:], in: folder) == .vicuna)
        #expect(try template([:], in: folder, .llava15) == .userAssistant)
        #expect(try template([:], in: folder, .blip) == .none)
        let mine = "{{ 'mine' }}"
        let mistral =
            "{{ '[INST] ' }}\(Self.images)\(Self.words("")){{ ' [/INST]' }}"
        func json(_ text: String) throws -> String {
            String(decoding: try JSONEncoder().encode(["chat_template": text]), as: UTF8.self)
        }
        let (settings, legacy) = ("processor_config.json", "chat_template.json")
        let (jinja, folders) = ("chat_template.jinja", "chat_templates/default.jinja")
        #expect(try template([legacy: json(mine)], in: folder) == .unknown)
        #expect(try template([legacy: json(mine)], in: folder, .blip) == .none)
        // Each before those that follow it.
        let order = [settings, legacy, jinja, folders]
        for first in order.indices {
            var files: [String: String] = [:]
            for (place, name) in order.enumerated().dropFirst(first) {
                let text = place == first ? mistral : mine
                files[name] = name.hasSuffix(".json") ? try json(text) : text
            }
            #expect(try template(files, in: folder) == .mistral, "\(order[first])")
        }
        let null = #"{"chat_template": null}"#
        #expect(try template([settings: null, jinja: mistral], in: folder) == .mistral)
        #expect(try template([legacy: null, jinja: mistral], in: folder) == .vicuna)
        #expect(try template([legacy: json(""), jinja: mistral], in: folder) == .vicuna)
        #expect(throws: InputError.self) { try template([legacy: "{}"], in: folder) }
        #expect(throws: InputError.self) {
            try template(["chat_template.json": #"{"chat_template": 3}"#], in: folder)
        }
    }

    /// The model runs, but nobody guesses how to ask it.
    @Test func unknownTemplateIsSaid() throws {
        let folder = try TemporaryFolder()
        _ = try template(["chat_template.jinja": "{{ 'mine' }}"], in: folder)
        let model = try ModelFiles(folder: folder("model")).open()
        for ask in [model.prompt, model.studyPrompt] {
            let error = #expect(throws: InputError.self) { try ask("Why?") }
            #expect(error?.code == .unsupported && error?.item == "key 'mmq.chat_template'")
            #expect(error?.expected?.contains("--raw-prompt") == true)
        }
    }
}
