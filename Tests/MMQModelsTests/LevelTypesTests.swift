import Foundation
import MMQBase
import MMQFormats
import MMQImage
import Support
import Testing

@testable import MMQModels

/// Whole models in blocks of 256: the demo's decoder has rows of 256 and 512.
@Suite struct LevelTypesTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private static let demo = Golden.repository + "/models/demo/llava-next"

    private func convert(_ types: WeightTypes) throws -> ModelFiles {
        let converter = try Converter(
            checkpoint: Self.demo, options: ConversionOptions(types: types, visionType: .f16))
        #expect(converter.fallbacks.isEmpty)
        try converter.convert(to: folder(types.name))
        return try ModelFiles(folder: folder(types.name))
    }

    /// A model of the same numbers in f32.
    private func dequantized(_ files: ModelFiles) throws -> any VisionLanguageModel {
        let name = (files.language.path as NSString).lastPathComponent + "-f32"
        let writer = try GGUFWriter(
            path: folder(name), metadata: files.language.metadata.members,
            tensors: files.language.tensors.map {
                .init(name: $0.name, type: .f32, shape: $0.shape)
            })
        for tensor in files.language.tensors {
            try files.language.floats(tensor.name).withUnsafeBytes {
                try writer.write(tensor.name, $0)
            }
        }
        try writer.commit()
        return try ModelFiles(language: folder(name), vision: files.vision.path).open()
    }

    private func logits(_ model: any VisionLanguageModel) throws -> [Float] {
        let image = try RGBImage.decode(path: GoldenModel.llava.picture())
        let input = try model.prepare(image: image, prompt: "<image>\nWhat color is it?")
        let state = try model.run(
            input, features: input.imageFeatures(observation: nil), observation: nil,
            keepsCache: nil, after: { _, _ in })
        return try model.lastLogits(state)
    }

    /// Types by part, next to f32's numbers, and in a whole pass.
    @Test(arguments: [
        ("q4_k_m", [GGUFTensorType.q4_K, .q6_K], 15), ("q5_k_m", [.q5_K, .q6_K], 17),
        ("q6_k", [.q6_K], 18),
    ])
    func convertsAndOpens(_ name: String, _ types: [GGUFTensorType], _ fileType: UInt32) throws {
        let files = try convert(#require(WeightTypes(named: name)))
        #expect(files.language.metadata["general.file_type"] == .uint32(fileType))
        let exact = try convert(WeightTypes(.f32))
        var found: Set<GGUFTensorType> = []
        for tensor in files.language.tensors where tensor.shape.count > 1 {
            let (part, layer) = try #require(WeightPart.of(tensor.name))
            let isMedium = types.count > 1
            switch part {
            case .embedding, .head:
                let other: GGUFTensorType = isMedium ? part == .head ? .q6_K : types[0] : .q8_0
                #expect(tensor.type == other, "\(tensor.name)")
            case .v, .down:
                // Of three layers the last is one of the sensitive ones.
                #expect(tensor.type == (layer == 2 ? types.last : types[0]), "\(tensor.name)")
            default:
                #expect(tensor.type == types[0], "\(tensor.name)")
            }
            found.insert(tensor.type)
            let (a, b) = try (
                files.language.floats(tensor.name), exact.language.floats(tensor.name)
            )
            let (error, size) = zip(a, b).reduce(into: (0.0, 0.0)) {
                $0.0 += Double($1.0 - $1.1) * Double($1.0 - $1.1)
                $0.1 += Double($1.1) * Double($1.1)
            }
            let most = tensor.type == .q4_K ? 0.01 : tensor.type == .q5_K ? 0.0025 : 0.001
            #expect(error > 0 && error < most * size, "\(tensor.name): \(error / size)")
        }
        #expect(found.isSuperset(of: types))
        let model = try files.open()
        let numbers = try logits(model)
        let same = try logits(dequantized(files))
        // Rows of less than 1,024 columns take activations in f32: only the order of sums differs.
        assertClose(numbers, same, tolerance: 5e-4, "\(name) and its numbers in f32")
        let reference = try logits(exact.open())
        func dot(_ a: [Float], _ b: [Float]) -> Double {
            zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        let cosine =
            dot(numbers, reference)
            / (dot(numbers, numbers) * dot(reference, reference)).squareRoot()
        #expect(numbers != reference && cosine > 0.99, "\(name): \(cosine)")
    }
}
