import Foundation
import MMQBase
import MMQImage
import Support
import Testing

@testable import MMQModels

/// What architectures say of themselves holds together, and models keep to it.
@Suite struct ArchitectureTests {
    static let goldens = ["llava-next/hub-f16", "instructblip/hub-f32", "llava-1.5/hub-f16"]
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

    /// A new architecture is a folder and a line in the registry: nothing else in Sources knows a
    /// module's or a model's name.
    @Test func namesStayInTheirFolders() throws {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Sources").path
        let own = ["Llava/", "LlavaNext/", "InstructBLIP/", "Llava15/"].map { "MMQModels/" + $0 }
        let files = try FileManager.default.subpathsOfDirectory(atPath: sources)
            .filter { path in path.hasSuffix(".swift") && !own.contains { path.hasPrefix($0) } }
        try #require(files.count > 100)
        let models = Architectures.all.flatMap { [$0.name, $0.title, $0.modelType, $0.exportName] }
            .map { $0.lowercased() }
        for file in files {
            let text = try String(contentsOfFile: sources + "/" + file, encoding: .utf8)
            for literal in Self.literals(text) {
                // HTML's attribute is no module.
                let isModule = Architectures.moduleNames.contains(literal.text)
                #expect(
                    !isModule || literal.line.contains("\"lang\": \"en\""), "\(file): \(literal)")
                #expect(
                    !models.contains { literal.text.lowercased().contains($0) },
                    "\(file): \(literal)")
            }
        }
    }

    /// String literals outside comments, with their lines; each line of a longer text by itself.
    private static func literals(_ source: String) -> [(text: String, line: String)] {
        var found: [(String, String)] = []
        var isInside = false
        for line in source.components(separatedBy: "\n") {
            let trimmed = line.trimmingCharacters(in: .whitespaces)
            if trimmed.hasPrefix("//"), !isInside { continue }
            let marks = line.components(separatedBy: "\"\"\"").count - 1
            if marks == 0, isInside { found.append((trimmed, trimmed)) }
            if marks == 0, !isInside {
                let parts = line.components(separatedBy: "\"")
                found += parts.indices.filter { $0 % 2 == 1 }.map { (parts[$0], trimmed) }
            }
            if marks % 2 == 1 { isInside.toggle() }
        }
        return found
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
        #expect(
            Architectures.first(fingerprint: model.fingerprint, modules: [])?.name
                == architecture.name)
    }

    /// Towers come with the input; the language model takes none that another one checked.
    @Test func inputsRunInTheirOwnModelOnly() throws {
        let first = try model(Self.goldens[0])
        for other in Self.goldens[1...] { try expectRefusal(of: first, by: model(other)) }
    }

    private func expectRefusal(
        of first: any VisionLanguageModel, by second: any VisionLanguageModel
    ) throws {
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
        #expect(
            !input.hasTokens(
                of: try second.prepare(image: image, prompt: second.architecture.turn("What?"))))
    }
}
