import Foundation
import MMQBase
import MMQFormats
import MMQImage

/// InstructBLIP: an EVA tower over one picture, a Q-Former that reads the instruction, the decoder.
struct InstructBLIPArchitecture: Architecture {
    let name = "instructblip"
    let title = "InstructBLIP"
    let modelType = "instructblip"
    let exportName = "blip"
    let modules = [
        ModelModule(name: "lang", role: .decoder),
        ModelModule(name: "encoder", role: .tower),
        ModelModule(name: "qformer", role: .textBranch),
        ModelModule(name: "query", role: .queryBranch),
    ]
    /// The official code wants `qformer` to go with the query branch.
    let masks = [
        ModuleMask(name: "lang", modules: ["lang"]),
        ModuleMask(name: "encoder", modules: ["encoder"]),
        ModuleMask(name: "qformer", modules: ["qformer", "query"]),
        ModuleMask(name: "encoder+qformer", modules: ["encoder", "qformer", "query"]),
    ]
    /// The model has no such word: its picture always comes first.
    let namesPicture = false
    let metadataKeys: [String] = []

    /// InstructBLIP takes the words as they are.
    func chatTemplate(_ found: CheckpointTemplate) -> ChatTemplate { .none }

    /// The prompt without `Context: N/A`, but with the empty line where that stood, as in the
    /// official code. The `<image>` that the official code puts in front is left out: the model has
    /// no such word, and only transformers 4.41 let it pass.
    func studyTurn(_ prompt: String, as version: Compatibility) -> String {
        let image = version == .june2024 ? [] : [(PromptText.image + "\n", "")]
        return
            (image + [
                ("Context: N/A", ""),
                ("\nAnswer the question using a single word or phrase.", " Short Answer:"),
            ]).reduce(prompt) { PromptText.replacing($1.0, in: $0, with: $1.1) }
    }

    /// Without white space round it.
    func studyAnswer(_ answer: String) -> String {
        answer.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func configuration(json: JSONValue, file: String) throws -> any ModelConfiguration {
        try InstructBLIPConfig(json: json, file: file)
    }

    func configuration(
        language: GGUFFile, vision: GGUFFile
    ) throws -> any ModelConfiguration {
        try InstructBLIPConfig(language: language, vision: vision)
    }
}
