import MMQBase
import MMQFormats

/// A model's architecture with its configuration: the one place where architectures are told apart
/// by name. A new one adds a case here and its folder.
public enum ModelDescription: Sendable, Equatable {
    /// LLaVA-Next.
    case llavaNext(LlavaNextConfig)
    /// InstructBLIP.
    case instructBLIP(InstructBLIPConfig)

    /// `model_type` of every architecture that mmq runs.
    public static let architectures = [
        LlavaNextConfig.architecture, InstructBLIPConfig.architecture,
    ]

    /// From a checkpoint's `config.json`.
    public init(configFile: String) throws {
        let json = try JSONValue(file: configFile)
        guard case .string(let type) = json["model_type"] ?? .null else {
            throw InputError(
                .missingKey, file: configFile, item: "model_type",
                expected: Self.architectures.joined(separator: " or "),
                found: json["model_type"]?.kind ?? "no such key")
        }
        switch type {
        case LlavaNextConfig.architecture:
            self = .llavaNext(try LlavaNextConfig(json: json, file: configFile))
        case InstructBLIPConfig.architecture:
            self = .instructBLIP(try InstructBLIPConfig(json: json, file: configFile))
        default: throw Self.unknown(type, file: configFile, item: "model_type")
        }
    }

    /// From the metadata of the two files of a model.
    public init(language: GGUFFile, vision: GGUFFile) throws {
        let type = try vision.metadata.string("mmq.architecture")
        switch type {
        case LlavaNextConfig.architecture:
            self = .llavaNext(try LlavaNextConfig(language: language, vision: vision))
        case InstructBLIPConfig.architecture:
            self = .instructBLIP(try InstructBLIPConfig(language: language, vision: vision))
        default:
            throw Self.unknown(type, file: vision.path, item: "key 'mmq.architecture'")
        }
    }

    private static func unknown(_ type: String, file: String, item: String) -> InputError {
        InputError(
            .unsupported, file: file, item: item,
            expected: "an architecture that mmq runs (\(architectures.joined(separator: ", ")))",
            found: "'\(type)'")
    }

    /// `mmq.architecture` and `model_type`.
    public var architecture: String {
        switch self {
        case .llavaNext: LlavaNextConfig.architecture
        case .instructBLIP: InstructBLIPConfig.architecture
        }
    }

    /// The decoder's configuration.
    public var text: LlamaConfig {
        switch self {
        case .llavaNext(let config): config.text
        case .instructBLIP(let config): config.text
        }
    }

    /// The vision tower's configuration.
    public var vision: VisionTowerConfig {
        switch self {
        case .llavaNext(let config): config.vision
        case .instructBLIP(let config): config.vision
        }
    }

    /// The model's tensors.
    ///
    /// - Parameter hasHead: whether the output head is a tensor of its own; by default as the
    ///   configuration says.
    public func table(hasHead: Bool? = nil) -> TensorTable {
        switch self {
        case .llavaNext(let config): TensorTable(config, hasHead: hasHead)
        case .instructBLIP(let config): TensorTable(config, hasHead: hasHead)
        }
    }

    /// The vision file's metadata about the model.
    public var visionMetadata: [(key: String, value: GGUFValue)] {
        switch self {
        case .llavaNext(let config): config.visionMetadata
        case .instructBLIP(let config): config.visionMetadata
        }
    }
}
