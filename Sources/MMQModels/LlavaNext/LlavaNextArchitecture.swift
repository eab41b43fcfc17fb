import MMQBase
import MMQFormats

/// LLaVA-Next: a CLIP tower over tiles, a projector, the decoder.
struct LlavaNextArchitecture: Architecture {
    let name = "llava-next"
    let title = "LLaVA-Next"
    let modelType = "llava_next"
    let exportName = "llava"
    let modules = [
        ModelModule(name: "lang", role: .decoder),
        ModelModule(name: "vision", role: .tower),
        ModelModule(name: "mmproj", role: .projector),
    ]
    /// The official code wants `vision` to go with the projector. Its `mmproj` setting masks nothing
    /// by a slip of spelling; here it is what its name says.
    let masks = [
        ModuleMask(name: "lang", modules: ["lang"]),
        ModuleMask(name: "vision", modules: ["vision", "mmproj"]),
        ModuleMask(name: "mmproj", modules: ["mmproj"]),
    ]
    let namesPicture = true
    let metadataKeys = [
        "clip.has_llava_projector", "clip.vision.feature_layer",
        "clip.vision.mm_patch_merge_type", "clip.vision.image_grid_pinpoints",
    ]
    let templateName = VicunaTemplate.name

    /// The Vicuna template; the picture comes first where the words do not name it.
    func template(_ words: String) -> String {
        let hasPicture = PromptText.count(PromptText.image, in: words) > 0
        return VicunaTemplate.around(hasPicture ? words : PromptText.image + "\n" + words)
    }

    /// The Vicuna template.
    func studyPrompt(_ prompt: String) -> String { VicunaTemplate.around(prompt) }

    /// As it is.
    func studyAnswer(_ answer: String) -> String { answer }

    func configuration(json: JSONValue, file: String) throws -> any ModelConfiguration {
        try LlavaNextConfig(json: json, file: file)
    }

    func configuration(
        language: GGUFFile, vision: GGUFFile
    ) throws -> any ModelConfiguration {
        try LlavaNextConfig(language: language, vision: vision)
    }
}
