import Foundation
import MMQBase
import MMQFormats

@testable import MMQModels

/// Files of which an input is the head: the first byte says which file, the rest stands before what
/// follows the head.
final class HeadCases {
    struct Case {
        let folder: String
        let file: String
        let head: [UInt8]
        let rest: [UInt8]
        /// What the file holds with another head.
        let joined: (_ head: [UInt8], _ rest: [UInt8]) -> [UInt8]
    }

    private let cases: [Case]
    private var damaged: Case?

    init(_ cases: [Case]) { self.cases = cases }

    /// - Parameter read: reads the folder; `choice` is what the first byte says beyond the file.
    func target(_ read: @escaping (_ chosen: Case, _ choice: Int) throws -> Void) -> Target {
        Target { [cases] in
            cases.enumerated().map {
                let name = "\($0)-" + ($1.file as NSString).lastPathComponent
                return Seed(name, [UInt8($0)] + $1.head)
            }
        } run: { [self] input in
            guard let first = input.first else { return }
            let chosen = cases[Int(first) % cases.count]
            if let damaged, damaged.file != chosen.file {
                try Scratch.write(damaged.joined(damaged.head, damaged.rest), to: damaged.file)
            }
            damaged = chosen
            try Scratch.write(
                chosen.joined(Array(input.dropFirst()), chosen.rest), to: chosen.file)
            try read(chosen, Int(first) / cases.count)
        }
    }
}

extension HeadCases.Case {
    /// A GGUF file: its head is all before the weights.
    init(gguf file: String) throws {
        let bytes = try readSmallFile(file)
        let offset = try GGUFFile(path: file).tensors.map(\.offset).min() ?? bytes.count
        self.init(
            folder: (file as NSString).deletingLastPathComponent, file: file,
            head: Array(bytes[..<offset]), rest: Array(bytes[offset...])
        ) { head, rest in
            let padding = -head.count & (GGUFWriter.alignment - 1)
            return head + [UInt8](repeating: 0, count: padding) + rest
        }
    }

    /// A safetensors file: its head is the JSON document.
    init(safetensors file: String) throws {
        let bytes = try readSmallFile(file)
        let count = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        self.init(
            folder: (file as NSString).deletingLastPathComponent, file: file,
            head: Array(bytes[8..<8 + count]), rest: Array(bytes[(8 + count)...])
        ) { head, rest in
            withUnsafeBytes(of: UInt64(head.count).littleEndian) { Array($0) } + head + rest
        }
    }
}

extension Targets {
    /// A copy of a golden checkpoint.
    private static func checkpoint(_ name: String) throws -> String {
        let folder = Scratch.path("copy-" + name.replacingOccurrences(of: "/", with: "-"))
        try? FileManager.default.removeItem(atPath: folder)
        try FileManager.default.copyItem(
            atPath: "\(Golden.folder)/\(name)/checkpoint", toPath: folder)
        return folder
    }

    /// Checkpoints whose weights say other things of themselves, converted up to the writing.
    static func weights() throws -> Target {
        let names = ["llava-next/hub-f16", "instructblip/new-f16", "lingo-judge/plain"]
        let cases = try names.map {
            try HeadCases.Case(safetensors: checkpoint($0) + "/model.safetensors")
        }
        return HeadCases(cases).target { chosen, _ in
            // All that only weights change. Configuration and tokenizers have targets of their own.
            let weights = try SafetensorsCheckpoint(folder: chosen.folder)
            let config = chosen.folder + "/config.json"
            if chosen.folder.contains("judge") {
                let judge = try LingoJudgeConfig(json: JSONValue(file: config), file: config)
                _ = try ConversionPlan(judge: judge, folder: chosen.folder, type: .q8_0)
            } else {
                let model = try Architectures.configuration(configFile: config)
                _ = try ConversionPlan(
                    model: model, checkpoint: weights, language: WeightTypes(.q4_0),
                    vision: .q8_0)
            }
        }
    }

    /// Models whose language or vision file has another head: opened or inspected.
    static func model() throws -> Target {
        let cases = try ["llava-next/hub-f16", "instructblip/new-f16", "llava-1.5/hub-f16"]
            .flatMap { name in
                let folder = try Golden.converted(name, .q8_0)
                return try [ModelFileRole.language, .vision].map {
                    try HeadCases.Case(gguf: ModelFiles.file($0, in: folder))
                }
            }
        return HeadCases(cases).target { chosen, choice in
            if choice % 4 == 3 {
                let inspection = try Inspection(path: chosen.folder)
                precondition(inspection.problems.allSatisfy { $0.utf8.count < 4096 })
            } else {
                _ = try ModelFiles.open(folder: chosen.folder).open()
            }
        }
    }

    /// A judge whose file has another head: opened, and its tokenizer tried.
    static func judge() throws -> Target {
        let folder = Scratch.path("judge")
        try JudgeConverter(
            checkpoint: Golden.folder + "/lingo-judge/plain/checkpoint",
            options: ConversionOptions(type: .f32, replace: true)
        ).convert(to: folder)
        let cases = [try HeadCases.Case(gguf: ModelFiles.file(.judge, in: folder))]
        return HeadCases(cases).target { chosen, _ in
            let judge = try LingoJudge.open(chosen.folder)
            _ = judge.ids(question: "Why?", reference: " A <mask>", answer: "é\u{0}中")
        }
    }

    /// Chat templates: which of the forms that mmq knows they have.
    static func template() -> Target {
        let instructions =
            "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
            + "{% for content in message['content'] %}{{ '<image>\\n' }}{{ content['text'] }}"
            + "{% endfor %}{{ ' [/INST]' }}{%- endif -%}{% endfor %}"
        return Target {
            let file = "llava-1.5/hub-f16/checkpoint/chat_template.json"
            let own = try JSONValue(parsing: Golden.bytes(file), file: file)["chat_template"]
            return [
                Seed("own", text: own?.text ?? ""), Seed("instructions", text: instructions),
                Seed("comment", text: "  {#- a -#}\n{%+ set a = \"b\\'\" +%}\r\n{{- 'c' -}}\r"),
            ]
        } run: { input in
            let form = CheckpointTemplate.Form(String(decoding: input, as: UTF8.self))
            for architecture in Architectures.all {
                let template = architecture.chatTemplate(
                    CheckpointTemplate(form: form, decoder: "llama"))
                _ = template.around("a")
            }
        }
    }
}
