import Foundation
import MMQModels
import MMQStudy
import Support

/// A golden checkpoint and the small bench, for runs of a real model.
public enum LensFixture {
    /// The folder of the small bench.
    public static let bench = Golden.folder + "/bench"

    /// A golden checkpoint, converted into the folder once, and opened.
    public static func model(
        _ name: String = "llava-next/hub-f16", _ type: StoredType = .f16, in folder: TemporaryFolder
    ) throws -> any VisionLanguageModel {
        let output =
            folder.path + "/" + name.replacingOccurrences(of: "/", with: "-")
            + "-\(type.rawValue)"
        if !FileManager.default.fileExists(atPath: output) {
            try Converter(
                checkpoint: Golden.folder + "/" + name + "/checkpoint",
                options: ConversionOptions(type: type, visionType: type)
            ).convert(to: output)
        }
        return try ModelFiles(folder: output).open()
    }

    /// Some neurons of every layer of every module, others in each domain.
    public static func identify(_ study: Study, _ model: any VisionLanguageModel) throws {
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
        for module in model.modules {
            try study.save(
                Identification(
                    module: module, domains: [.rs, .com], split: "train", settings: .init(),
                    filterThreshold: 0, activationThreshold: 0, selected: 4,
                    neurons: (0..<2).map { domain in
                        (0..<module.layers).map { layer in
                            layer == 0 ? [] : [domain + layer, module.neurons - 1 - domain]
                        }
                    }))
        }
    }
}
