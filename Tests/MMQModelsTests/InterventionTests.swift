import Foundation
import MMQBase
import MMQFormats
import MMQModels
import Support
import Testing

/// Against hooks in transformers: neurons off, put to a value, scaled and moved, in every module.
@Suite struct InterventionTests {
    @Test(arguments: ["llava-next", "instructblip", "llava-1.5"])
    func everyKindIsThatOfTransformers(architecture: String) throws {
        let golden = try Golden.json("interventions/\(architecture).json")
        let variant = GoldenModel(architecture, try #require(golden["variant"]?.text))
        let folder = try TemporaryFolder()
        let model = try variant.open(in: folder)
        let name = try #require(golden["case"]?.text)
        let item = try #require(try variant.cases().first { $0.name == name })
        let masks = try #require(golden["masks"]?.array)
        #expect(masks.map { $0["name"]?.text } == ["zero", "mean", "scale", "add", "mixed"])
        var seen: Set<[Int32]> = []
        for entry in masks {
            let what = "\(architecture) \(entry["name"]?.text ?? "")"
            let mask = try NeuronMask(
                json: Data(try #require(entry["mask"]).jsonLine.utf8), modules: model.modules,
                file: what)
            #expect(Set(mask.layers.keys) == Set(model.modules.map(\.name)), "\(what)")
            let path = folder("trace.safetensors")
            try model.trace(
                image: item.image, prompt: item.prompt, sites: [.lastLogits], mask: mask, to: path)
            let logits = try SafetensorsFile(path: path).floats("last_logits")
            let want = try #require(entry["last_logits"]?.array).map {
                Float(try #require($0.double))
            }
            assertClose(Array(logits.suffix(want.count)), want, tolerance: 5e-4, what)
            let answer = try model.generate(
                image: item.image, prompt: item.prompt, options: GenerationOptions(maxTokens: 24),
                mask: mask)
            let tokens = try #require(entry["tokens"]?.array).map {
                Int32(try #require($0.integer))
            }
            #expect(answer.tokens == tokens, "\(what)")
            seen.insert(tokens)
        }
        // Kinds do change answers, else this would show nothing.
        #expect(seen.count >= 4)
    }
}
