import MMQBase
import MMQFormats

/// LLaVA-1.5: a CLIP tower over one square from the picture's middle, a projector, the decoder.
struct Llava15Architecture: LlavaFamily {
    let name = "llava-1.5"
    let title = "LLaVA-1.5"
    let modelType = "llava"
    /// The official code knows no such model.
    let exportName = "llava-1.5"
    let usualTemplate = ChatTemplate.userAssistant

    func configuration(json: JSONValue, file: String) throws -> any ModelConfiguration {
        try Llava15Config(json: json, file: file)
    }

    func configuration(
        language: GGUFFile, vision: GGUFFile
    ) throws -> any ModelConfiguration {
        try Llava15Config(language: language, vision: vision)
    }
}
