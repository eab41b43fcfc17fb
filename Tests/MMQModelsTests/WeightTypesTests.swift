import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQModels

/// Recipes and rules: which part of the decoder is stored as what.
@Suite struct WeightTypesTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func convert(_ types: WeightTypes, _ model: GoldenModel = .llava) throws
        -> (files: ModelFiles, result: ConversionResult)
    {
        let converter = try Converter(
            checkpoint: model.checkpoint, options: ConversionOptions(types: types))
        let result = try converter.convert(to: folder(types.name + model.variant))
        return (try ModelFiles(folder: folder(types.name + model.variant)), result)
    }

    /// The types of the decoder's matrices, by part.
    private func types(_ files: ModelFiles) -> [String: Set<GGUFTensorType>] {
        files.language.tensors.filter { $0.shape.count > 1 }.reduce(into: [:]) {
            $0[WeightPart.of($1.name)?.part.rawValue ?? $1.name, default: []].insert($1.type)
        }
    }

    @Test func everyMatrixOfTheDecoderIsAPart() throws {
        let table = TensorTable(
            try #require(
                try Architectures.configuration(
                    configFile: GoldenModel.llava.checkpoint + "/config.json") as? LlavaNextConfig))
        let rows = table.rows(.language).filter { $0.kind != .plain }
        let parts = rows.compactMap { WeightPart.of($0.name)?.part }
        #expect(parts.count == rows.count)
        #expect(Set(parts) == Set(WeightPart.allCases))
        #expect(WeightPart.of("blk.11.ffn_gate.weight")?.layer == 11)
        #expect(WeightPart.of("blk.0.ffn_norm.weight") == nil)
    }

    @Test func rulesChangeTheirPartsAndNothingElse() throws {
        let rules = try WeightRule.list(["gate=q8_0,o=f16", "head=q4_0"])
        let (files, result) = try convert(WeightTypes(.q4_0).keeping(rules))
        #expect(result.language.hasSuffix("/language-q4_0-mix.gguf"))
        #expect(
            types(files) == [
                "q": [.q4_0], "k": [.q4_0], "v": [.q4_0], "o": [.f16], "gate": [.q8_0],
                "up": [.q4_0], "down": [.q4_0], "embedding": [.q8_0], "head": [.q4_0],
            ])
        let plain = try convert(WeightTypes(.q4_0)).files
        let all = try convert(WeightTypes(.q8_0)).files
        for tensor in plain.language.tensors {
            let mixed = try files.language.floats(tensor.name)
            if tensor.name.contains("ffn_gate") {
                #expect(try mixed == all.language.floats(tensor.name), "\(tensor.name)")
            } else if !tensor.name.contains("attn_output") && tensor.name != "output.weight" {
                #expect(try mixed == plain.language.floats(tensor.name), "\(tensor.name)")
            }
        }
        #expect(plain.decoderBits < files.decoderBits && files.decoderBits < all.decoderBits)
    }

    @Test func recipesHaveNames() throws {
        let recipe = try #require(WeightTypes(named: "iq4_nl_gate"))
        let (files, result) = try convert(recipe)
        #expect(result.language.hasSuffix("/language-iq4_nl_gate.gguf"))
        #expect(types(files)["gate"] == [.q8_0] && types(files)["up"] == [.iq4_nl])
        #expect(WeightTypes(named: "q4_0") == WeightTypes(.q4_0))
        #expect(WeightTypes(named: "q9_9") == nil)
        #expect(WeightTypes.names.count == Set(WeightTypes.names).count)
        // A rule has the last word over a recipe's.
        let other = recipe.keeping([WeightRule(.gate, .q4_0)])
        #expect(try types(convert(other).files)["gate"] == [.q4_0])
    }

    /// llama.cpp's choices for 32 layers, and for a model whose table is its head too.
    @Test func mediumRecipesAreLlamaCpps() throws {
        var table = TensorTable()
        func add(_ name: String, _ kind: TensorKind) {
            table.add(name, .language, [name], [64, 256], kind)
        }
        add("token_embd.weight", .embedding)
        add("output.weight", .embedding)
        for layer in 0..<32 {
            for part in ["attn_q", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
                add("blk.\(layer).\(part).weight", .matrix)
            }
        }
        let sensitive = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
        let names = Set(
            sensitive.flatMap { ["blk.\($0).attn_v.weight", "blk.\($0).ffn_down.weight"] })
        for (name, base) in [("q4_k_m", GGUFTensorType.q4_K), ("q5_k_m", .q5_K)] {
            let types = try #require(WeightTypes(named: name))
            for row in table.rows {
                let type = types.type(of: row, layers: 32, hasHead: true)
                let expected = names.contains(row.name) || row.name == "output.weight"
                #expect(type == (expected ? .q6_K : base), "\(row.name)")
            }
            #expect(types.type(of: table.rows[0], layers: 32, hasHead: false) == .q6_K)
        }
        #expect(WeightTypes(named: "q4_k_m")?.fileType == 15)
        #expect(WeightTypes(named: "q5_k_m")?.fileType == 17)
    }

    @Test func rowsThatAreNoWholeBlocksFallBackAsInLlamaCpp() {
        for (type, small) in [
            (GGUFTensorType.q4_K, GGUFTensorType.q5_0), (.q5_K, .q5_1), (.q6_K, .q8_0),
        ] {
            #expect(type.storable(cols: 768) == type && type.storable(cols: 576) == small)
            #expect(type.storable(cols: 100) == .f16)
        }
    }

    @Test func inspectionTellsBitsAWeight() throws {
        let recipe = try #require(WeightTypes(named: "iq4_nl_gate"))
        let (files, result) = try convert(recipe)
        let inspection = try Inspection(path: result.language)
        let bits = try #require(inspection.files.first?.bits)
        func of(_ group: String) throws -> WeightBits {
            try #require(bits.first { $0.group == group }, "\(group)")
        }
        #expect(try of("blk").bits == files.decoderBits)
        #expect(try of("blk.*.ffn_gate").bits == 8.5 && of("blk.*.ffn_up").bits == 4.5)
        #expect(try of("token_embd").bits == 8.5)
        let matrices = files.language.tensors.filter { $0.shape.count > 1 }
        #expect(try of("all").bytes == matrices.reduce(0) { $0 + $1.byteCount })
        let modules = ["blk", "token_embd", "output"]
        #expect(try modules.map { try of($0).bytes }.reduce(0, +) == of("all").bytes)
        let vision = try Inspection(path: result.vision).files[0]
        #expect(vision.bits.contains { $0.group == "v.blk" })
        // Positions are no weights of a product.
        let positions = vision.tensors.filter { $0.name.contains("position") }
        let others = vision.tensors.filter { $0.shape.count > 1 && !$0.name.contains("position") }
        #expect(!positions.isEmpty)
        #expect(vision.bits.first?.bytes == others.reduce(0) { $0 + $1.bytes })
    }

    /// A header of a megabyte may name tens of thousands of tensors, each a group of its own.
    @Test func bitsOfManyGroups() {
        let names =
            (0..<40_000).map { "m\($0).weight" }
            + (0..<40_000).map { "blk.\($0 % 7).p\($0).weight" }
        let bits = WeightBits.of(names.lazy.map { ($0, [2, 3], 24) })
        #expect(bits.count == 80_002 && bits[0].weights == 480_000)
        #expect(bits.first { $0.group == "blk" }?.weights == 240_000)
    }

    @Test(arguments: [
        ("", "''"), ("gate", "gate"), ("gate=", "gate="), ("gate=q9", "q9"), ("gat=q8_0", "gat"),
        ("gate=q8_0,", "''"), ("gate=q8_0,gate=f16", "gate=f16"), ("gate=q8_0=f16", "q8_0=f16"),
    ])
    func refusesWhatIsNoRule(_ text: String, _ named: String) {
        let error = #expect(throws: InputError.self) { try WeightRule.list([text]) }
        #expect(error?.description.contains(named) == true, "\(error as Any)")
    }

    /// A tied model has no head to keep.
    @Test func refusesRulesForPartsThatAreNotThere() throws {
        let tied = try #require(
            GoldenModel.all.first {
                (try? convert(WeightTypes(.f16), $0).files.language["output.weight"]) == .some(nil)
            })
        let error = #expect(throws: InputError.self) {
            try convert(WeightTypes(.q8_0).keeping([WeightRule(.head, .f16)]), tied)
        }
        #expect(error?.item == "rule 'head'" && error?.file == tied.checkpoint)
    }
}
