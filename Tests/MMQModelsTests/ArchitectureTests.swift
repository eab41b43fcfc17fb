import Foundation
import MMQBase
import MMQImage
import Support
import Testing

@testable import MMQModels

/// What architectures say of themselves holds together, and models keep to it.
@Suite struct ArchitectureTests {
    static let goldens = ["llava-next/hub-f16", "instructblip/hub-f32"]
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func modulesAndSettingsFitTogether() {
        for architecture in Architectures.all {
            let modules = architecture.modules
            #expect(Set(modules.map(\.name)).count == modules.count)
            for role in [ModuleRole.decoder, .tower] {
                #expect(modules.filter { $0.role == role }.count == 1)
            }
            for mask in architecture.masks {
                let places = mask.modules.map { name in
                    modules.firstIndex { $0.name == name } ?? -1
                }
                #expect(places == places.filter { $0 >= 0 }.sorted(), "\(mask.name)")
            }
            #expect(architecture.decoderMask == architecture.decoder)
        }
        for names in [Architectures.all.map(\.name), Architectures.all.map(\.modelType)] {
            #expect(Set(names).count == names.count)
        }
    }

    /// The order of the official code's modules and settings, whichever models have them.
    @Test func namesComeInTheOfficialOrder() {
        #expect(
            Architectures.moduleNames == [
                "lang", "vision", "mmproj", "encoder", "qformer", "query",
            ]
        )
        #expect(
            Architectures.maskNames == [
                "lang", "vision", "mmproj", "encoder", "qformer", "encoder+qformer",
            ])
        #expect(Architectures.visionModules == ["vision", "encoder"])
        #expect(Architectures.all.map(\.exportName).prefix(2) == ["llava", "blip"])
    }

    private func model(_ golden: String) throws -> any VisionLanguageModel {
        let path = folder(golden.replacingOccurrences(of: "/", with: "-"))
        try Converter(
            checkpoint: try Golden.path(golden + "/checkpoint"),
            options: ConversionOptions(type: .q8_0, visionType: .q8_0)
        ).convert(to: path)
        return try ModelFiles(folder: path).open()
    }

    @Test(arguments: goldens)
    func modelsAreWhatTheirArchitectureSays(_ golden: String) throws {
        let model = try model(golden)
        let architecture = model.architecture
        #expect(golden.hasPrefix(architecture.name + "/"))
        #expect(model.modules.map(\.name) == architecture.modules.map(\.name))
        #expect(model.fingerprint.hasPrefix(architecture.modelType + "-"))
        #expect(model.decoderModule.name == architecture.decoder)
        #expect(model.decoderModule.layers == model.backend.decoder.layers.count)
        #expect(try model.files.chatTemplateName() == architecture.templateName)
        #expect(
            Architectures.first(fingerprint: model.fingerprint, modules: [])?.name
                == architecture.name)
    }

    /// Towers come with the input; the language model takes none that another one checked.
    @Test func inputsRunInTheirOwnModelOnly() throws {
        let (first, second) = (try model(Self.goldens[0]), try model(Self.goldens[1]))
        let image = RGBImage(
            width: 40, height: 30, pixels: [UInt8](repeating: 90, count: 40 * 30 * 3))
        let input = try first.prepare(image: image, prompt: "<image>\nWhat?")
        let features = try input.imageFeatures(observation: nil)
        _ = try first.run(
            input, features: features, observation: nil, keepsCache: nil, after: { _, _ in })
        let error = #expect(throws: InputError.self) {
            try second.run(
                input, features: features, observation: nil, keepsCache: nil, after: { _, _ in })
        }
        #expect(error?.code == .badPrompt)
        #expect(!input.hasTokens(of: try second.prepare(image: image, prompt: "What?")))
    }
}
