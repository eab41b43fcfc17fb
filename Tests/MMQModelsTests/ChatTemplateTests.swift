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
        let laidOut =
            branches.replacingOccurrences(of: "%}{", with: "%}\n    {")
            .replacingOccurrences(of: "{{ '", with: "{{- '")
            .replacingOccurrences(of: "'text']", with: "\"text\"]")
        for text in [plain, branches, laidOut] {
            #expect(Form(text) == .userAssistant, "\(text)")
        }
        // Other words, another order, another end: another template.
        for text in [
            plain.replacingOccurrences(of: "ASSISTANT:", with: "ASSISTANT: "),
            plain.replacingOccurrences(of: "ASSISTANT:", with: "BOT:"),
            plain.replacingOccurrences(of: " + ' '", with: ""),
            plain.replacingOccurrences(of: #"<image>\n"#, with: "<image>"),
            plain.replacingOccurrences(of: "{% endfor %}" + end, with: "</s>{% endfor %}" + end),
            plain.replacingOccurrences(of: role, with: "{{ message['role'] + ': ' }}"),
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

    @Test(arguments: [
        "", "{{", "{%", "{# {{ '[INST] ' }}", "{{ 'a", "USER: ", "{{ '\\", "{{ bos_token }}",
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
        let mine = #"{"chat_template": "{{ 'mine' }}"}"#
        #expect(try template(["chat_template.json": mine], in: folder) == .unknown)
        #expect(try template(["chat_template.json": mine], in: folder, .blip) == .none)
        #expect(
            try template(
                [
                    "chat_template.json": mine,
                    "chat_template.jinja": "{{ '[INST] ' }}\(Self.images)\(Self.words(""))"
                        + "{{ ' [/INST]' }}",
                ], in: folder) == .mistral)
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
