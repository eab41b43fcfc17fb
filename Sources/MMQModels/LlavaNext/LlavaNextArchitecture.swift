import MMQBase
import MMQFormats

/// LLaVA-Next: a CLIP tower over tiles, a projector, the decoder.
struct LlavaNextArchitecture: LlavaFamily {
    let name = "llava-next"
    let title = "LLaVA-Next"
    let modelType = "llava_next"
    let exportName = "llava"
    let metadataKeys = LlavaCore.metadataKeys + [LlavaNextConfig.pinpointsKey]
    let usualTemplate = ChatTemplate.vicuna

    func configuration(json: JSONValue, file: String) throws -> any ModelConfiguration {
        try LlavaNextConfig(json: json, file: file)
    }

    func configuration(
        language: GGUFFile, vision: GGUFFile
    ) throws -> any ModelConfiguration {
        try LlavaNextConfig(language: language, vision: vision)
    }
}
