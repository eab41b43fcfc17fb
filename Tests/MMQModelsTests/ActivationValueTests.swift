import Foundation
import MMQBase
import MMQFormats
import MMQModels
import Support
import Testing

/// Activations as values, against hooks in transformers and against themselves.
@Suite struct ActivationValueTests {
    private static let goldens = [GoldenModel.llava, .blip, .llava15]

    private func trace(
        _ model: any VisionLanguageModel, _ item: GoldenModel.Case, _ words: [String],
        sites: Set<TraceSite> = [], as type: SafetensorsType = .f32, mask: NeuronMask? = nil,
        in folder: TemporaryFolder
    ) throws -> SafetensorsFile {
        let path = folder(UUID().uuidString)
        try model.trace(
            image: item.image, prompt: item.prompt, sites: sites,
            activations: ActivationSite.sites(words, of: model.modules), as: type, mask: mask,
            to: path)
        return try SafetensorsFile(path: path)
    }

    @Test(arguments: goldens) func areThoseOfHooks(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(in: folder)
        let item = try #require(try golden.cases().first)
        let found = try trace(model, item, ["mlp"], in: folder)
        let expected = try Golden.tensors("activations/\(golden.architecture).safetensors")
        #expect(Set(found.names) == Set(expected.names))
        for name in expected.names.sorted() {
            #expect(try found.tensor(name).shape == expected.tensor(name).shape, "\(name)")
            assertClose(
                try found.floats(name), try expected.floats(name), tolerance: 1e-4,
                "\(golden) \(name)")
        }
    }

    /// A layer alone is what it is among all, a half float is the float rounded, and who looks on
    /// changes nothing.
    @Test(arguments: goldens) func doNotDependOnWhatIsAsked(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(in: folder)
        let item = try #require(try golden.cases().first)
        let stages: Set<TraceSite> = [.lastLogits, .counts]
        let plain = try trace(model, item, [], sites: stages, in: folder)
        let all = try trace(model, item, ["mlp"], sites: stages, in: folder)
        for name in plain.names {
            #expect(try plain.bytes(name) == all.bytes(name), "\(name)")
        }
        for module in model.modules {
            let name = "mlp:\(module.name).\(module.layers - 1)"
            let alone = try trace(model, item, [name], in: folder)
            #expect(alone.names == [name])
            #expect(try alone.bytes(name) == all.bytes(name), "\(name)")
            let half = try trace(model, item, [name], as: .f16, in: folder)
            #expect(try half.tensor(name).type == .f16)
            let rounded = try all.floats(name).map { Float(Float16($0)) }
            #expect(try half.floats(name) == rounded, "\(name)")
        }
    }

    /// What was counted is what the values say, with a mask and without.
    @Test(arguments: goldens) func addUpToTheCounts(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(in: folder)
        let item = try #require(try golden.cases().first)
        let path = try Golden.path("\(golden.architecture)/\(golden.variant)/mask.json")
        let mask = try NeuronMask(
            json: Data(contentsOf: URL(fileURLWithPath: path)), modules: model.modules, file: path)
        for mask in [nil, mask] {
            let trace = try trace(
                model, item, ["mlp"], sites: [.counts], mask: mask, in: folder)
            for module in model.modules {
                let width = module.neurons
                var counts = [Int64](repeating: 0, count: module.layers * width)
                var sums = [Double](repeating: 0, count: module.layers * width)
                for layer in 0..<module.layers {
                    let values = try trace.floats("mlp:\(module.name).\(layer)")
                    for (i, value) in values.enumerated() {
                        counts[layer * width + i % width] += value > 0 ? 1 : 0
                        sums[layer * width + i % width] += Double(value)
                    }
                }
                #expect(try trace.integers(module.name + "_log") == counts, "\(module.name)")
                let held = try trace.doubles(module.name + "_value")
                for (a, b) in zip(held, sums) {
                    #expect(abs(a - b) <= 1e-9 * max(1, abs(b)), "\(module.name)")
                }
            }
        }
    }
}
