import CSIMD
import Foundation
import MMQBase
import MMQModels
import Support
import Testing

/// The words that neurons of the decoder write.
@Suite struct NeuronWordsTests {
    private static let goldens = [GoldenModel.llava, .blip, .llava15]

    /// PyTorch's, on the same weights.
    @Test(arguments: goldens, [StoredType.f16, .q8_0])
    func areThoseOfPyTorch(_ golden: GoldenModel, _ type: StoredType) throws {
        let folder = try TemporaryFolder()
        let model = try golden.open(type, in: folder)
        let expected = try Golden.tensors(
            "words/\(golden.architecture)-\(type.rawValue).safetensors")
        let places = try expected.integers("neurons").map { Int($0) }
        let neurons = stride(from: 0, to: places.count, by: 2).map {
            DecoderNeuron(layer: places[$0], neuron: places[$0 + 1])
        }
        #expect(neurons.count > 20)
        let found = try model.words(of: neurons, top: 10, hidesFiller: false)
        #expect(found.map(\.neuron) == neurons)
        for (name, words) in [("raised", found.map(\.raised)), ("lowered", found.map(\.lowered))] {
            let ids = try expected.integers(name + "_ids")
            #expect(words.flatMap { $0.map { Int64($0.id) } } == ids, "\(golden) \(type) \(name)")
            assertClose(
                words.flatMap { $0.map(\.weight) }, try expected.floats(name), tolerance: 1e-5,
                "\(golden) \(type) \(name)")
        }
    }

    /// Of every type, and of all neurons together as of each alone: a product of all of them in
    /// doubles.
    @Test(arguments: [StoredType.q4_0, .q8_0, .f32])
    func areTheStrongest(_ type: StoredType) throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.open(type, in: folder)
        func rows(_ name: String) throws -> [[Float]] {
            let view = try model.files.weight(name)
            return (0..<view.rows).map { row in
                var values = [Float](repeating: 0, count: view.cols)
                csimd_dequantize_row(
                    view.type, view.pointer + row * view.rowBytes, &values, view.cols)
                return values
            }
        }
        let gain = try rows("output_norm.weight")[0]
        let head = try rows("output.weight")
        let shape = model.decoderModule
        let layer = shape.layers - 1
        let down = try rows("blk.\(layer).ffn_down.weight")
        let neurons = (0..<shape.neurons).map { DecoderNeuron(layer: layer, neuron: $0) }
        for hides in [true, false] {
            let words = model.lensVocabulary(LensOptions(hidesFiller: hides))
            let found = try model.words(of: neurons, top: 5, hidesFiller: hides)
            for (neuron, entry) in found.enumerated() {
                let weights = head[..<words].map { row in
                    zip(row, down.indices).reduce(0.0) {
                        $0 + Double($1.0) * Double(gain[$1.1]) * Double(down[$1.1][neuron])
                    }
                }
                for (list, sign) in [(entry.raised, 1.0), (entry.lowered, -1.0)] {
                    let best = weights.sorted { sign * $0 > sign * $1 }.prefix(5)
                    assertClose(list.map(\.weight), Array(best), tolerance: 1e-5)
                    for word in list {
                        #expect(abs(weights[Int(word.id)] - Double(word.weight)) <= 1e-5)
                    }
                }
            }
            let alone = try model.words(of: [neurons[3]], top: 5, hidesFiller: hides)
            #expect(alone == [found[3]])
        }
        #expect(try model.words(of: []).isEmpty)
        let all = try model.words(of: [neurons[0]], top: 1000, hidesFiller: false)
        #expect(all[0].raised.count == model.vocabularySize)
    }
}
