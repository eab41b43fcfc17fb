import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQModels
import Support
import Testing

/// What transformers computes with a checkpoint of Tests/Golden.
extension GoldenModel {
    struct Case {
        let name: String
        let image: RGBImage
        let prompt: String
        let expected: SafetensorsFile
        let greedy: [Int32]
        let greedyMasked: [Int32]
    }

    func description() throws -> JSONValue { try Golden.json(name + "/cases.json") }

    func cases() throws -> [Case] {
        try #require(description()["cases"]?.array).map { item in
            let name = try #require(item["name"]?.text)
            func tokens(_ key: String) throws -> [Int32] {
                try #require(item[key]?["tokens"]?.array).map { Int32(try #require($0.integer)) }
            }
            return Case(
                name: name,
                image: try RGBImage.decode(
                    path: Golden.path(self.name + "/" + #require(item["image"]?.text))),
                prompt: try #require(item["prompt"]?.text),
                expected: try Golden.tensors(
                    self.name + "/" + #require(item["expected"]?.text)),
                greedy: try tokens("greedy"), greedyMasked: try tokens("greedy_masked"))
        }
    }

    /// Converts the checkpoint to `type` (its own storage type by default) and opens it.
    func open(_ type: StoredType? = nil, in folder: TemporaryFolder) throws
        -> any VisionLanguageModel
    {
        let stored = try StoredType(rawValue: #require(description()["type"]?.text))
        let type = try #require(type ?? stored)
        let output = folder("model-\(type.rawValue)")
        try Converter(
            checkpoint: checkpoint,
            options: ConversionOptions(type: type, visionType: type)
        ).convert(to: output)
        return try ModelFiles(folder: output).open()
    }

    func mask(for model: any VisionLanguageModel) throws -> NeuronMask {
        try NeuronMask(path: self.mask, modules: model.modules)
    }
}

extension SafetensorsFile {
    var names: Set<String> { Set(tensors.map(\.name)) }
}

@Suite struct GoldenModelTests {
    /// Every checkpoint that lies in Tests/Golden is one that the tests name, and none is missing.
    @Test func allAreNamed() throws {
        for (architecture, models) in GoldenModel.families {
            let folder = try Golden.path(architecture)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            #expect(names.filter { $0 != "images" } == models.map(\.variant).sorted())
        }
    }
}

/// Stage by stage against transformers in f32, on checkpoints in their stored type.
@Suite struct GoldenLadderTests {
    /// Writes a trace with every site and reads it back.
    private func trace(
        _ model: any VisionLanguageModel, _ item: GoldenModel.Case, mask: NeuronMask? = nil,
        in folder: TemporaryFolder
    ) throws -> SafetensorsFile {
        let path = folder("trace.safetensors")
        try model.trace(
            image: item.image, prompt: item.prompt, sites: Set(TraceSite.allCases), mask: mask,
            to: path)
        return try SafetensorsFile(path: path)
    }

    private func compareCounts(
        _ trace: SafetensorsFile, _ expected: SafetensorsFile, prefix: String,
        modules: [ModuleShape], what: String
    ) throws {
        for module in modules {
            let name = module.name
            let want = try expected.integers(prefix + name + "_log")
            let got = try trace.integers(name + "_log")
            // The goldens keep clear of activations near 0, so even f32's rounding flips none.
            let wrong = zip(got, want).count { $0 != $1 }
            #expect(got.count == want.count)
            #expect(wrong == 0, "\(what) \(prefix)\(name)_log: \(wrong) of \(want.count) differ")
            #expect(
                try trace.integers(name + "_len") == expected.integers(prefix + name + "_len"),
                "\(what) \(prefix)\(name)_len")
            // Sums of up to some hundred activations of size 1, each within f32's rounding.
            assertClose(
                try trace.doubles(name + "_value"), try expected.doubles(prefix + name + "_value"),
                tolerance: 2e-3, "\(what) \(prefix)\(name)_value")
        }
    }

    @Test(arguments: GoldenModel.all)
    func everyStage(_ variant: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try variant.open(in: folder)
        let mask = try variant.mask(for: model)
        for item in try variant.cases() {
            let what = "\(variant.testDescription) \(item.name)"
            let expected = item.expected
            let trace = try trace(model, item, in: folder)
            for ids in ["input_ids", "qformer_input_ids"] where expected.names.contains(ids) {
                #expect(try trace.integers(ids) == expected.integers(ids), "\(what) \(ids)")
            }
            // What a goal in tokens is planned by, from the picture's size alone.
            #expect(
                try model.visionTokens(
                    size: PixelSize(height: item.image.height, width: item.image.width),
                    prompt: item.prompt)
                    == trace.integers(model.visionModule + "_len").first.map { Int($0) },
                "\(what) vision tokens")
            assertClose(
                try trace.floats("pixel_values"), try expected.floats("pixel_values"),
                tolerance: 1e-5, "\(what) pixel_values")
            assertClose(
                try trace.floats("image_features"), try expected.floats("image_features"),
                tolerance: 1e-4, "\(what) image_features")
            for name in expected.names.sorted() where name.hasPrefix("hidden.") {
                assertClose(
                    try trace.floats(name), try expected.floats(name), tolerance: 5e-4,
                    "\(what) \(name)")
            }
            assertClose(
                try trace.floats("last_logits"), try expected.floats("last_logits"),
                tolerance: 5e-4, "\(what) last_logits")
            let logits = try trace.floats("logits")
            let last = try trace.floats("last_logits")
            #expect(Array(logits.suffix(last.count)) == last, "\(what): logits end as last_logits")
            try compareCounts(trace, expected, prefix: "", modules: model.modules, what: what)

            let masked = try self.trace(model, item, mask: mask, in: folder)
            assertClose(
                try masked.floats("last_logits"), try expected.floats("masked.last_logits"),
                tolerance: 5e-4, "\(what) masked.last_logits")
            try compareCounts(
                masked, expected, prefix: "masked.", modules: model.modules, what: what)
        }
    }

    @Test(arguments: GoldenModel.all)
    func greedyAnswers(_ variant: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try variant.open(in: folder)
        let mask = try variant.mask(for: model)
        let options = GenerationOptions(maxTokens: 24)
        for item in try variant.cases() {
            let plain = try model.generate(
                image: item.image, prompt: item.prompt, options: options)
            #expect(plain.tokens == item.greedy, "\(variant.testDescription) \(item.name)")
            let masked = try model.generate(
                image: item.image, prompt: item.prompt, options: options, mask: mask)
            #expect(
                masked.tokens == item.greedyMasked, "\(variant.testDescription) \(item.name) masked"
            )
        }
    }
}
