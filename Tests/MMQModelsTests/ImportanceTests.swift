import CSIMD
import Foundation
import MMQBase
import MMQFormats
import MMQImage
import Support
import Testing

@testable import MMQModels

/// Importance matrices: what goes into the decoder's products, the file, and conversion with it.
@Suite struct ImportanceTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func measured(
        _ model: any VisionLanguageModel, _ variant: GoldenModel
    ) throws -> InputStatistics {
        let statistics = InputStatistics()
        for item in try variant.cases() {
            try model.measureInputs(image: item.image, prompt: item.prompt, to: statistics)
        }
        return statistics
    }

    private func write(
        _ statistics: InputStatistics, _ name: String, model: String = "m"
    ) throws -> String {
        var calibration = ImportanceFile.Calibration(
            model: model, split: "train", form: "simple", imageWeight: 1)
        calibration.append(.init(domain: "rs", bench: "b"), statistics)
        try ImportanceFile.write(calibration, to: folder(name))
        return folder(name)
    }

    /// Sums of squares are those of the hidden states that the trace's layers put out: of the first
    /// layer's norm, of embeddings, computed here once more.
    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func measuresWhatGoesIn(_ variant: GoldenModel) throws {
        let model = try variant.open(.f32, in: folder)
        let item = try #require(try variant.cases().first)
        let statistics = InputStatistics()
        try model.measureInputs(image: item.image, prompt: item.prompt, to: statistics)
        let input = try model.prepare(image: item.image, prompt: item.prompt)
        let isImage = model.imagePositions(input)
        let layers = model.decoderModule.layers
        #expect(statistics.products.count == 7 * layers)
        for (name, product) in statistics.products {
            #expect(product.image.positions == isImage.count { $0 }, "\(name)")
            #expect(product.text.positions == isImage.count { !$0 }, "\(name)")
        }
        // The second layer's attention takes the norm of what the first put out.
        var hidden: [Float] = []
        _ = try model.run(
            input, features: input.imageFeatures(observation: nil), observation: nil,
            keepsCache: nil
        ) { layer, x in if layer == 0 { hidden = Array(x) } }
        let weight = try model.files.floats("blk.1.attn_norm.weight")
        let epsilon = Double(model.files.model.text.normEpsilon)
        var expected = [[Double]](
            repeating: Array(repeating: 0, count: weight.count), count: 2)
        for (position, image) in isImage.enumerated() {
            let row = hidden[(position * weight.count)..<((position + 1) * weight.count)]
            let mean = row.reduce(0) { $0 + Double($1) * Double($1) } / Double(row.count)
            for (i, value) in row.enumerated() {
                let normed = Double(value) / (mean + epsilon).squareRoot() * Double(weight[i])
                expected[image ? 0 : 1][i] += normed * normed
            }
        }
        for name in ["attn_q", "attn_k", "attn_v"] {
            let product = try #require(statistics.products["blk.1.\(name).weight"])
            for (found, wanted) in zip([product.image, product.text], expected) {
                for (a, b) in zip(found.squares, wanted) {
                    #expect(abs(a - b) <= 1e-5 * max(1, b), "\(name)")
                }
            }
        }
    }

    @Test func doesNotDependOnThreads() throws {
        let model = try GoldenModel.llava.open(.q8_0, in: folder)
        let all = try kernelSettings.withLock {
            let before = csimd_threads()
            defer { csimd_set_threads(before) }
            return try [Int32(1), 2, 3].map { threads in
                csimd_set_threads(threads)
                return try measured(model, .llava).products
            }
        }
        #expect(all[0] == all[1] && all[0] == all[2])
    }

    @Test func fileComesBack() throws {
        let model = try GoldenModel.llava.open(.f16, in: folder)
        let statistics = try measured(model, .llava)
        let file = try ImportanceFile(path: write(statistics, "file"))
        #expect(Set(file.names) == Set(statistics.products.keys))
        #expect(try file.calibration().statistics.map(\.products) == [statistics.products])
        for (name, product) in statistics.products {
            let importance = try #require(
                try file.importance(of: name, inputs: product.text.squares.count))
            for (i, value) in importance.enumerated() {
                let mean =
                    (product.image.squares[i] / Double(product.image.positions)
                        + product.text.squares[i] / Double(product.text.positions)) / 2
                #expect(abs(Double(value) - mean) <= 1e-6 * mean)
            }
        }
    }

    /// llama.cpp's own files have the two tensors of each weight and nothing of mmq's; the sums are
    /// over all positions.
    @Test func readsWhatLlamaCppWrites() throws {
        let writer = try GGUFWriter(
            path: folder("theirs"),
            metadata: [
                ("general.type", .string("imatrix")),
                ("imatrix.datasets", .strings([Array("text.txt".utf8)])),
                ("imatrix.chunk_count", .uint32(2)), ("imatrix.chunk_size", .uint32(512)),
            ],
            tensors: [
                .init(name: "a.weight.in_sum2", type: .f32, shape: [3]),
                .init(name: "a.weight.counts", type: .f32, shape: [1]),
            ])
        try [Float(1024), 0, 512].withUnsafeBytes { try writer.write("a.weight.in_sum2", $0) }
        try [Float(1024)].withUnsafeBytes { try writer.write("a.weight.counts", $0) }
        try writer.commit()
        let file = try ImportanceFile(path: folder("theirs"))
        #expect(file.names == ["a.weight"])
        #expect(try file.importance(of: "a.weight", inputs: 3) == [1, 0, 0.5])
        #expect(try file.importance(of: "b.weight", inputs: 3) == nil)
        #expect(throws: InputError.self) { try file.calibration() }
    }

    /// Only quantized weights of the decoder change, and there the weighed error becomes less.
    @Test(arguments: [StoredType.q8_0, .q4_0, .iq4_nl, .q4_k, .q5_k])
    func conversionWeighsErrors(_ type: StoredType) throws {
        let checkpoint = GoldenModel.llava.checkpoint
        func convert(_ name: String, _ type: StoredType, _ importance: String?) throws -> ModelFiles
        {
            let converter = try Converter(
                checkpoint: checkpoint,
                options: ConversionOptions(type: type, visionType: type, importance: importance))
            try converter.convert(to: folder(name))
            return try ModelFiles(folder: folder(name))
        }
        let exact = try convert("exact", .f32, nil)
        let statistics = try measured(exact.open(), .llava)
        let plain = try convert("plain", type, nil)
        let weighed = try convert("weighed", type, write(statistics, "file"))
        var improved: Set<String> = []
        for tensor in plain.language.tensors + plain.vision.tensors {
            func error(_ files: ModelFiles) throws -> Double {
                let (a, b) = try (files.floats(tensor.name), exact.floats(tensor.name))
                guard let product = statistics.products[tensor.name] else {
                    return zip(a, b).reduce(0) { $0 + Double(abs($1.0 - $1.1)) }
                }
                let (mean, _) = product.mean(imageWeight: 1)
                return a.indices.reduce(0) {
                    let difference = Double(a[$1]) - Double(b[$1])
                    return $0 + difference * difference * mean[$1 % mean.count]
                }
            }
            let (before, after) = try (error(plain), error(weighed))
            if statistics.products[tensor.name] != nil, tensor.type != .f16 {
                #expect(after < before, "\(tensor.name)")
                improved.insert(tensor.name)
            } else {
                #expect(after == before, "\(tensor.name)")
            }
        }
        #expect(improved == Set(statistics.products.keys))
    }

    private func expectRefusal(
        _ path: String, _ code: InputError.Code, _ words: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let error = #expect(throws: InputError.self, sourceLocation: sourceLocation) {
            try Converter(
                checkpoint: GoldenModel.llava.checkpoint,
                options: ConversionOptions(type: .iq4_nl, importance: path))
        }
        guard let error else { return }
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        for word in words + [path] {
            #expect(error.description.contains(word), "\(error)", sourceLocation: sourceLocation)
        }
    }

    @Test func refusesWhatIsNotForTheModel() throws {
        let model = try GoldenModel.llava.open(.f16, in: folder)
        let statistics = try measured(model, .llava)
        let name = "blk.1.ffn_down.weight"
        func variant(_ file: String, _ change: (inout InputStatistics.Product) -> Void) throws
            -> String
        {
            let other = InputStatistics()
            other.products = statistics.products
            var product = try #require(other.products[name])
            change(&product)
            other.products[name] = product
            return try write(other, file)
        }
        func every(_ product: inout InputStatistics.Product, _ value: Double) {
            for i in product.text.squares.indices {
                product.text.squares[i] = value
                product.image.squares[i] = value
            }
        }
        try expectRefusal(
            variant("zeros") { every(&$0, 0) }, .badValue, name, "nothing but zeros")
        try expectRefusal(variant("nan") { $0.text.squares[3] = .nan }, .nonFinite, name, "[3]")
        try expectRefusal(variant("minus") { every(&$0, -1) }, .nonFinite, name)
        try expectRefusal(
            variant("wide") {
                $0.text.squares.append(1)
                $0.image.squares.append(1)
            }, .badShape, name)
        try expectRefusal(
            variant("empty") { ($0.text.positions, $0.image.positions) = (0, 0) }, .badValue,
            name + ".counts")
        let lacking = InputStatistics()
        lacking.products = statistics.products
        lacking.products[name] = nil
        try expectRefusal(write(lacking, "lacking"), .missingTensor, name)
        let other = InputStatistics()
        other.products = statistics.products
        other.products["blk.99.ffn_down.weight"] = statistics.products[name]
        try expectRefusal(write(other, "other"), .mismatch, "blk.99.ffn_down.weight")
        try expectRefusal(model.files.language.path, .badValue, "imatrix")
        // The same decoder behind another tower.
        try expectRefusal(
            write(statistics, "blip", model: "instructblip-12"), .mismatch, "instructblip",
            "llava_next")
        let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: write(statistics, "whole"))))
        for count in [0, 3, 40, whole.count / 2, whole.count - 33] {
            let path = try folder.write("cut", Array(whole.prefix(count)))
            #expect(throws: InputError.self) {
                try Converter(
                    checkpoint: GoldenModel.llava.checkpoint,
                    options: ConversionOptions(type: .iq4_nl, importance: path))
            }
        }
    }
}
