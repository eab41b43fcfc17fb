import CSIMD
import Foundation
import MMQBase
import MMQFormats
import MMQText
import Support
import Testing

@testable import MMQModels

/// Conversions of the golden checkpoints.
@Suite struct ConversionTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// FNV-1a in 64 bits, as tools/goldens/formats.py computes it.
    static func hash(_ bytes: UnsafeRawBufferPointer) -> String {
        var hash = StableHash()
        hash.add(bytes)
        return hash.digits
    }

    /// Every tensor of both files equals what the `gguf` package makes of the checkpoint.
    @Test(arguments: GoldenModel.llavaNext, StoredType.allCases)
    func equalsReference(_ model: GoldenModel, _ type: StoredType) throws {
        let converter = try Converter(
            checkpoint: model.checkpoint,
            options: ConversionOptions(type: type, visionType: type, threads: 2))
        let result = try converter.convert(to: folder("model"))
        #expect(
            try folder.entries(of: "model")
                == ["language-\(type.rawValue).gguf", "vision-\(type.rawValue).gguf"])
        let golden = try Golden.json("formats/convert.json")
        let expected = try #require(golden["\(model.variant).\(type.rawValue)"]?.members)
        let files = try [GGUFFile(path: result.language), GGUFFile(path: result.vision)]
        #expect(files.reduce(0) { $0 + $1.tensors.count } == expected.count)
        #expect(files.reduce(0) { $0 + $1.byteCount } == result.outputBytes)
        for (name, facts) in expected {
            let facts = try #require(facts.array)
            let file = try #require(files.first { $0[name] != nil }, "\(name)")
            let tensor = try file.tensor(name)
            #expect(tensor.type.name == facts[0].text, "\(name)")
            #expect(tensor.shape == facts[1].array?.compactMap(\.integer), "\(name)")
            if facts.count > 2 {
                #expect(Self.hash(try file.bytes(tensor)) == facts[2].text, "\(name)")
            }
        }
    }

    /// InstructBLIP's tensors are those of the checkpoint: as f32, each row of the table equals its
    /// part of the source.
    @Test(arguments: GoldenModel.instructBLIP)
    func instructBLIPKeepsEveryValue(_ model: GoldenModel) throws {
        let path = model.checkpoint
        let converter = try Converter(
            checkpoint: path, options: ConversionOptions(type: .f32, visionType: .f32))
        try converter.convert(to: folder("model"))
        let files = try ModelFiles.open(folder: folder("model"))
        let checkpoint = try SafetensorsCheckpoint(folder: path)
        for row in files.table.rows {
            let source = try #require(row.sources.lazy.compactMap { checkpoint[$0] }.first)
            var values = try source.file.floats(source.tensor.name)
            if let rows = row.sourceRows {
                let width = values.count / source.tensor.shape[0]
                values = Array(values[(rows.lowerBound * width)..<(rows.upperBound * width)])
            }
            if let heads = row.permutedHeads { values = Self.interleaved(values, row, heads) }
            #expect(try files.floats(row.name) == values, "\(row.name)")
        }
        let fused = try #require(
            checkpoint["vision_model.encoder.layers.0.self_attn.qkv.weight"])
        let hidden = files.model.vision.hiddenSize
        #expect(fused.tensor.shape == [3 * hidden, hidden])
    }

    /// llama.cpp's permutation, written down once more: in each head, row i of the first half and
    /// row i of the second half become rows 2 i and 2 i + 1.
    static func interleaved(_ values: [Float], _ row: TensorRow, _ heads: Int) -> [Float] {
        let height = row.rows / heads
        var result: [Float] = []
        for head in 0..<heads {
            for i in 0..<(height / 2) {
                for half in 0..<2 {
                    let from = head * height + half * height / 2 + i
                    result += values[(from * row.cols)..<((from + 1) * row.cols)]
                }
            }
        }
        return result
    }

    @Test(arguments: GoldenModel.all)
    func modelFolderTellsTheSameAsTheCheckpoint(_ model: GoldenModel) throws {
        let path = model.checkpoint
        let converter = try Converter(checkpoint: path, options: ConversionOptions())
        try converter.convert(to: folder("model"))
        let files = try ModelFiles.open(folder: folder("model"))
        #expect(files.model.isSame(as: converter.model))
        let reading: TokenizerReading =
            model.namesPicture ? .asStored : .byClass
        let tables = try TokenizerTables.load(folder: path, reading: reading)
            .padded(to: files.model.text.vocabularySize)
        #expect(try files.tokenizerTables() == tables)
        if reading == .byClass {
            let words = try WordPieceTables.load(folder: path + "/qformer_tokenizer")
            #expect(try files.wordPieceTables() == words)
            _ = try files.squashImageConfig()
        } else if model.architecture == "llava-next" {
            let config = try files.llavaNextImageConfig()
            #expect(config.tileSide == files.model.vision.imageSize)
        }
        #expect(try files.endTokenIDs()?.isEmpty == false)
        let inspection = try Inspection(path: folder("model"))
        #expect(inspection.problems == [] && inspection.kind == .model)
        #expect(inspection.files.allSatisfy { $0.unknownKeys.isEmpty })
        #expect(try Inspection(path: path).problems == [])
    }

    /// The number of threads changes nothing, and nothing but the two files remains.
    @Test func threadsChangeNothing() throws {
        let path = try Golden.path("llava-next/hub-f16/checkpoint")
        for threads in [1, 3] {
            try Converter(checkpoint: path, options: ConversionOptions(threads: threads))
                .convert(to: folder("\(threads)"))
        }
        for name in ["language-q4_0.gguf", "vision-q8_0.gguf"] {
            let one = try Data(contentsOf: URL(fileURLWithPath: folder("1/" + name)))
            let three = try Data(contentsOf: URL(fileURLWithPath: folder("3/" + name)))
            #expect(one == three)
        }
    }

    @Test func largeTensorsAreConvertedInPieces() throws {
        // More than one piece of 2^20 elements, with heads that must not be torn apart.
        let path = try Golden.path("llava-next/hub-f16/checkpoint")
        let model = try Architectures.configuration(configFile: path + "/config.json")
        let checkpoint = try SafetensorsCheckpoint(folder: path)
        var plan = try ConversionPlan(
            model: model, checkpoint: checkpoint, language: WeightTypes(.f32), vision: .f32)
        var random = SeededRandom(seed: 1)
        let (heads, height, cols) = (5, 6, 100_003)
        let rows = heads * height
        let values = random.floats(rows * cols)
        let source = folder("w.safetensors")
        let writer = try SafetensorsWriter(
            path: source, tensors: [.init(name: "w", type: .f32, shape: [rows, cols])])
        try writer.write("w", values)
        try writer.commit()
        let file = try SafetensorsFile(path: source)
        var table = TensorTable()
        table.add("w", .language, ["w"], [rows, cols], .matrix, permutedHeads: heads)
        plan.tensors = [
            PlannedTensor(
                row: table.rows[0], file: file, source: try file.tensor("w"), type: .f32)
        ]
        let output = try GGUFWriter(
            path: folder("w.gguf"), metadata: [],
            tensors: [.init(name: "w", type: .f32, shape: [rows, cols])])
        try TensorConverter(tensors: plan.tensors, writers: [.language: output]) { _ in }
            .run(threads: 2)
        try output.commit()
        #expect(
            try GGUFFile(path: folder("w.gguf")).floats("w")
                == Self.interleaved(values, table.rows[0], heads))
    }

    @Test func existingFilesAreOnlyReplacedWhenAsked() throws {
        let path = try Golden.path("llava-next/hub-f16/checkpoint")
        let model = folder("model")
        try Converter(checkpoint: path, options: ConversionOptions()).convert(to: model)
        let error = #expect(throws: InputError.self) {
            try Converter(checkpoint: path, options: ConversionOptions()).convert(to: model)
        }
        #expect(error?.code == .alreadyExists && error?.file == model)
        try Converter(checkpoint: path, options: ConversionOptions(replace: true))
            .convert(to: model)
        try folder.write("file", [1])
        let other = #expect(throws: InputError.self) {
            try Converter(checkpoint: path, options: ConversionOptions())
                .convert(to: folder("file"))
        }
        #expect(other?.code == .alreadyExists)
    }

    @Test func interruptedConversionLeavesNothing() throws {
        let path = try Golden.path("llava-next/hub-f16/checkpoint")
        #expect(throws: CancellationError.self) {
            try Converter(checkpoint: path, options: ConversionOptions())
                .convert(to: folder("model")) { _ in throw CancellationError() }
        }
        #expect(try folder.entries() == [])
    }

    /// A language file of another program: no row for added tokens, no vocab_size, older keys.
    @Test func communityLanguageFileOpens() throws {
        let path = try Golden.path("llava-next/hub-f16/checkpoint")
        let result = try Converter(checkpoint: path, options: ConversionOptions())
            .convert(to: folder("model"))
        let ours = try GGUFFile(path: result.language)
        let tables = try ModelFiles.open(folder: folder("model")).tokenizerTables()
        let imageToken = 448
        let dropped = [
            "llama.vocab_size", "llama.attention.key_length", "llama.attention.value_length",
            "tokenizer.ggml.padding_token_id",
        ]
        let metadata = ours.metadata.members.compactMap {
            key, value -> (key: String, value: GGUFValue)? in
            if dropped.contains(key) { return nil }
            if case .array(let type, let values) = value {
                return (key, .array(type, Array(values[..<imageToken])))
            }
            return (key, value)
        }
        func declaration(_ tensor: GGUFTensor) -> GGUFWriter.Declaration {
            var shape = tensor.shape
            if shape[0] == tables.pieces.count { shape[0] = imageToken }
            return .init(name: tensor.name, type: tensor.type, shape: shape)
        }
        let other = folder("other.gguf")
        let writer = try GGUFWriter(
            path: other, metadata: metadata, tensors: ours.tensors.map(declaration))
        for tensor in ours.tensors {
            let bytes = try ours.bytes(tensor)
            let count = try #require(tensor.type.byteCount(shape: declaration(tensor).shape))
            try writer.write(tensor.name, .init(rebasing: bytes[..<count]))
        }
        try writer.commit()
        let files = try ModelFiles.open(language: other, vision: result.vision)
        #expect(files.model.text.vocabularySize == imageToken)
        let opened = try files.tokenizerTables()
        #expect(opened.addedTokens == tables.addedTokens)
        #expect(opened.pieces[imageToken] == Array("<image>".utf8))
    }

    @Test func otherVocabularyIsRefused() throws {
        let vision = try Converter(
            checkpoint: Golden.path("llava-next/hub-f16/checkpoint"), options: ConversionOptions()
        ).convert(to: folder("a")).vision
        let language = try Converter(
            checkpoint: Golden.path("llava-next/shards-bf16/checkpoint"),
            options: ConversionOptions()
        ).convert(to: folder("b")).language
        let files = try? ModelFiles.open(language: language, vision: vision)
        if let files {
            #expect(throws: InputError.self) { try files.tokenizerTables() }
        }
    }

    @Test func tableIsEnforcedOnOpening() throws {
        let result = try Converter(
            checkpoint: Golden.path("llava-next/hub-f16/checkpoint"), options: ConversionOptions()
        ).convert(to: folder("model"))
        let vision = try GGUFFile(path: result.vision)
        typealias Declaration = GGUFWriter.Declaration
        let declarations = vision.tensors.map {
            Declaration(name: $0.name, type: $0.type, shape: $0.shape)
        }
        func error(_ tensors: [Declaration]) throws -> InputError? {
            let path = folder("changed.gguf")
            let writer = try GGUFWriter(
                path: path, metadata: vision.metadata.members, tensors: tensors)
            for tensor in tensors {
                let count = try #require(tensor.type.byteCount(shape: tensor.shape))
                try [UInt8](repeating: 0, count: count).withUnsafeBytes {
                    try writer.write(tensor.name, $0)
                }
            }
            try writer.commit()
            do {
                _ = try ModelFiles.open(language: result.language, vision: path)
                return nil
            } catch { return error as? InputError }
        }
        #expect(try error(declarations) == nil)
        let missing = try error(declarations.filter { $0.name != "v.pre_ln.bias" })
        #expect(missing?.code == .missingTensor && missing?.item == "tensor 'v.pre_ln.bias'")
        let extra = try error(declarations + [Declaration(name: "more", type: .f32, shape: [1])])
        #expect(extra?.code == .extraTensor && extra?.item == "tensor 'more'")
        func changed(_ name: String, _ type: GGUFTensorType?, _ shape: [Int]?) -> [Declaration] {
            declarations.map {
                $0.name != name
                    ? $0
                    : Declaration(name: name, type: type ?? $0.type, shape: shape ?? $0.shape)
            }
        }
        let shape = try error(changed("v.class_embd", nil, [65]))
        #expect(shape?.code == .badShape && shape?.item == "tensor 'v.class_embd'")
        let type = try error(changed("v.class_embd", .f16, nil))
        #expect(type?.code == .badType && type?.item == "tensor 'v.class_embd'")
    }
}
