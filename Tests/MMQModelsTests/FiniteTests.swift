import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQModels

/// A weight that is NaN or infinite is named, whatever command meets it; no number comes of it.
@Suite struct FiniteTests {
    /// Half floats and floats whose first byte pair (of F32: the upper one) says so.
    private static let bad: [(name: String, half: UInt16, float: UInt32)] = [
        ("NaN", 0x7e00, 0x7fc0_0000), ("infinity", 0x7c00, 0x7f80_0000),
    ]

    /// Tensors whose output no result takes: behind the last neurons of LLaVA-Next's tower, whose
    /// features are those of an earlier layer, and of the Q-Former's text branch.
    private static let unused = [
        "v.blk.2.ffn_down", "v.post_ln", "q.blk.2.ffn_down", "q.blk.2.ffn_ln",
    ]

    /// The bytes of a file with a tensor's first scale or element replaced; in a table of
    /// embeddings each row's, because a prompt takes some rows only.
    private func damaged(
        _ bytes: Data, _ tensor: GGUFTensor, half: UInt16, float: UInt32
    ) -> Data {
        var bytes = bytes
        let isFloat = tensor.type == .f32
        let rows = tensor.name.hasSuffix("token_embd.weight") ? tensor.shape[0] : 1
        for row in 0..<rows {
            let start = tensor.offset + tensor.byteCount / rows * row
            for place in 0..<(isFloat ? 4 : 2) {
                bytes[start + place] = UInt8(
                    truncatingIfNeeded: (isFloat ? Int(float) : Int(half)) >> (8 * place))
            }
        }
        return bytes
    }

    @Test(
        arguments: [GoldenModel.llava, .blip, .llava15], [StoredType.f16, .q8_0, .q4_0, .iq4_nl])
    func everyWeightIsNamed(_ golden: GoldenModel, _ type: StoredType) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(type, in: folder)
        let item = try #require(try golden.cases().first)
        let state = try model.run(
            model.prepare(image: item.image, prompt: item.prompt),
            features: model.prepare(image: item.image, prompt: item.prompt)
                .imageFeatures(observation: nil), observation: nil, keepsCache: nil,
            after: { _, _ in })
        let expected = (
            counts: try model.count(image: item.image, prompt: item.prompt),
            logits: try model.lastLogits(state)
        )
        let paths = [model.files.language.path, model.files.vision.path]
        for path in paths {
            let file = try GGUFFile(path: path)
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            for tensor in file.tensors {
                for kind in Self.bad {
                    try damaged(whole, tensor, half: kind.half, float: kind.float)
                        .write(to: URL(fileURLWithPath: path))
                    let broken = try GoldenModel.open(paths)
                    var error: InputError?
                    do {
                        let input = try broken.prepare(image: item.image, prompt: item.prompt)
                        let counts = try broken.count(image: item.image, prompt: item.prompt)
                        let state = try broken.run(
                            input, features: input.imageFeatures(observation: nil),
                            observation: nil, keepsCache: nil, after: { _, _ in })
                        let logits = try broken.lastLogits(state)
                        // What comes behind the last neurons of a tower's unused end is lost.
                        #expect(Self.unused.contains { tensor.name.hasPrefix($0) })
                        #expect(counts == expected.counts && logits == expected.logits)
                        continue
                    } catch let caught as InputError {
                        error = caught
                    }
                    #expect(error?.code == .nonFinite, "\(kind.name) in \(tensor.name)")
                    #expect(error?.file == path)
                    #expect(error?.item == "tensor '\(tensor.name)'")
                }
            }
            try whole.write(to: URL(fileURLWithPath: path))
        }
        _ = try GoldenModel.open(paths).count(image: item.image, prompt: item.prompt)
    }

    /// Factors of a mask take results out of range as well: the weights are not to blame.
    @Test func factorsThatAreTooLarge() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.open(.f16, in: folder)
        let item = try #require(try GoldenModel.llava.cases().first)
        let lang = model.decoderModule
        let layer = LayerMask(
            Array(0..<lang.neurons), scales: Array(repeating: 1e38, count: lang.neurons),
            shifts: Array(repeating: 1e38, count: lang.neurons))
        let mask = try NeuronMask(
            layers: [lang.name: Array(repeating: layer, count: lang.layers)],
            modules: model.modules)
        let input = try model.prepare(image: item.image, prompt: item.prompt)
        let error = #expect(throws: InputError.self) {
            try model.run(
                input, features: input.imageFeatures(observation: nil),
                observation: Observation(modules: model.modules, counting: false, mask: mask),
                keepsCache: nil, after: { _, _ in })
        }
        #expect(error?.code == .nonFinite && error?.problem.contains("mask's factors") == true)
    }
}

extension GoldenModel {
    /// The model in a language and a vision file.
    fileprivate static func open(_ paths: [String]) throws -> any VisionLanguageModel {
        try ModelFiles(language: paths[0], vision: paths[1]).open()
    }
}
