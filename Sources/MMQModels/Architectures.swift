import MMQBase
import MMQFormats

/// The one list of architectures. A new one adds its folder and a line here.
public enum Architectures {
    /// Every architecture that mmq runs, in the order in which modules and mask settings are listed.
    public static let all: [any Architecture] = [
        LlavaNextArchitecture(),
        InstructBLIPArchitecture(),
        Llava15Architecture(),
    ]

    /// Every module's name, each once.
    public static let moduleNames = unique(all.flatMap { $0.modules.map(\.name) })
    /// Every mask setting's name, each once, without `none` and `all`.
    public static let maskNames = unique(all.flatMap { $0.masks.map(\.name) })
    /// The modules whose tokens count as vision tokens.
    public static let visionModules = unique(all.map(\.visionModule))

    private static func unique(_ names: [String]) -> [String] {
        var seen: Set<String> = []
        return names.filter { seen.insert($0).inserted }
    }

    /// The configuration in a checkpoint's `config.json`.
    public static func configuration(configFile: String) throws -> any ModelConfiguration {
        let json = try JSONValue(file: configFile)
        guard case .string(let type) = json["model_type"] ?? .null else {
            throw InputError(
                .missingKey, file: configFile, item: "model_type",
                expected: all.map(\.modelType).joined(separator: " or "),
                found: json["model_type"]?.kind ?? "no such key")
        }
        return try named(type, file: configFile, item: "model_type")
            .configuration(json: json, file: configFile)
    }

    /// The configuration in the metadata of the two files of a model.
    public static func configuration(
        language: GGUFFile, vision: GGUFFile
    ) throws -> any ModelConfiguration {
        let type = try vision.metadata.string("mmq.architecture")
        return try named(type, file: vision.path, item: "key 'mmq.architecture'")
            .configuration(language: language, vision: vision)
    }

    private static func named(
        _ type: String, file: String, item: String
    ) throws -> any Architecture {
        if let found = all.first(where: { $0.modelType == type }) { return found }
        let types = all.map(\.modelType).joined(separator: ", ")
        throw InputError(
            .unsupported, file: file, item: item,
            expected: "an architecture that mmq runs (\(types))", found: "'\(type)'")
    }

    /// How a model's fingerprint is written.
    static func fingerprint(of architecture: any Architecture, hash: StableHash) -> String {
        architecture.modelType + "-" + hash.digits
    }

    /// The architecture's type in a fingerprint; nil if it is none.
    static func architecture(of fingerprint: String) -> String? {
        fingerprint.lastIndex(of: "-").map { String(fingerprint[..<$0]) }
    }

    /// The architecture of a model that is not at hand.
    ///
    /// - Parameters:
    ///   - fingerprint: the model's, if it is known: it begins with the architecture's type.
    ///   - modules: names of its modules, which tell where the fingerprint does not: the first
    ///     architecture that has them all.
    public static func first(fingerprint: String?, modules: [String]) -> (any Architecture)? {
        let named = fingerprint.flatMap { fingerprint in
            all.first { $0.modelType == architecture(of: fingerprint) }
        }
        return named
            ?? all.first { Set($0.modules.map(\.name)).isSuperset(of: modules) }
    }
}
