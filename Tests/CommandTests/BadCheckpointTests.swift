import Foundation
import Support
import Testing

/// Checkpoints that `convert` must refuse: exit code 2, the place named, nothing written.
@Suite struct BadCheckpointTests {
    private let norm = "language_model.model.norm.weight"

    @Test func truncatedWeights() throws {
        let whole = try CheckpointCopy(.llava).data("model.safetensors")
        for count in [0, 1, 7, 8, 9, 500, whole.count / 2, whole.count - 1] {
            let copy = try CheckpointCopy(.llava)
            try copy.write("model.safetensors", whole.prefix(count))
            try copy.expectRefusal(naming: ["model.safetensors", "expected", "found"])
        }
        let longer = try CheckpointCopy(.llava)
        try longer.write("model.safetensors", whole + Data(count: 1))
        try longer.expectRefusal(naming: ["model.safetensors"])
    }

    @Test func headerLengths() throws {
        let whole = try CheckpointCopy(.llava).data("model.safetensors")
        for length: UInt64 in [
            0, 1, UInt64(whole.count) - 7, UInt64(whole.count), 1 << 40, 1 << 62, 1 << 63, .max,
        ] {
            let copy = try CheckpointCopy(.llava)
            try copy.write("model.safetensors", littleEndian(length) + whole.dropFirst(8))
            try copy.expectRefusal(naming: ["model.safetensors"])
        }
    }

    @Test func offsets() throws {
        for offsets: [Any] in [
            [0, 128], [-128, 0], [128, 0], [0], [], [0, 1, 2], ["0", "128"], [0.5, 128.5],
            [9_000_000_000_000_000_000, 9_000_000_000_000_000_128],
            [UInt64.max - 127, UInt64.max], [1e30, 2e30], [Int.max - 64, Int.max],
        ] {
            let copy = try CheckpointCopy(.llava)
            try copy.editTensor(norm) { $0["data_offsets"] = offsets }
            try copy.expectRefusal(naming: ["model.safetensors"])
        }
    }

    @Test func typesAndShapes() throws {
        let changes: [(String, Any)] = [
            ("dtype", "I64"), ("dtype", "BOOL"), ("dtype", "Q4"), ("dtype", 3), ("dtype", "F32"),
            ("shape", [32]), ("shape", [63]), ("shape", [64, 1]), ("shape", []), ("shape", [-64]),
            ("shape", [1 << 62, 1 << 62]), ("shape", [0]), ("shape", "64"), ("shape", [64.5]),
            ("shape", [4_294_967_296, 4_294_967_296, 4_294_967_296]),
        ]
        for (key, value) in changes {
            let copy = try CheckpointCopy(.llava)
            try copy.editTensor(norm) { $0[key] = value }
            try copy.expectRefusal(naming: ["model.safetensors", norm])
        }
    }

    /// What neither `ask` nor transformers could run is refused before gigabytes are converted.
    @Test func settingsThatNothingCanRun() throws {
        let full = try CheckpointCopy(.llava)
        try full.edit("config.json") { $0["vision_feature_select_strategy"] = "full" }
        try full.expectRefusal(naming: ["config.json", "vision_feature_select_strategy", "full"])
        for token in [0, 2, 5] {
            let image = try CheckpointCopy(.llava)
            try image.edit("config.json") { $0["image_token_index"] = token }
            try image.expectRefusal(
                naming: ["config.json", "image_token_index", "<image>", "found \(token)"])
        }
        let crop = try CheckpointCopy(.llava)
        let file = try crop.editPictures { $0["crop_size"] = ["height": 4, "width": 4] }
        try crop.expectRefusal(naming: [file, "4 x 4"])
        let square = try CheckpointCopy(.blip)
        let other = try square.editPictures { $0["size"] = ["height": 8, "width": 8] }
        try square.expectRefusal(naming: [other, "8 x 8"])
    }

    @Test func tensorsTooFewAndTooMany() throws {
        let missing = try CheckpointCopy(.llava)
        try missing.editHeader {
            $0["language_model.model.renamed.weight"] = $0.removeValue(forKey: norm)
        }
        try missing.expectRefusal(naming: [norm])

        let extra = try CheckpointCopy(.llava)
        let size = try extra.data("model.safetensors").count
        try extra.editHeader {
            let end =
                $0.values.compactMap { ($0 as? [String: Any])?["data_offsets"] as? [Int] }
                .map { $0[1] }.max() ?? size
            $0["a.surplus.weight"] = [
                "dtype": "F16", "shape": [4], "data_offsets": [end, end + 8],
            ]
        }
        try extra.write(
            "model.safetensors", extra.data("model.safetensors") + Data(count: 8))
        try extra.expectRefusal(naming: ["a.surplus.weight"])
    }

    @Test func shardsAndTheirIndex() throws {
        let golden = GoldenModel("llava-next", "shards-f16")
        let index = "model.safetensors.index.json"
        let shard = "model-00002-of-00003.safetensors"
        let lost = try CheckpointCopy(golden)
        try lost.remove(shard)
        try lost.expectRefusal(naming: [shard])
        let wrong = try CheckpointCopy(golden)
        try wrong.edit(index) {
            var map = $0["weight_map"] as? [String: String] ?? [:]
            map[map.keys.sorted()[0]] = shard
            map["no.such.tensor"] = shard
            $0["weight_map"] = map
        }
        try wrong.expectRefusal(naming: [])
        for path in ["../../etc/passwd", "/etc/passwd", "", ".", "config.json"] {
            let outside = try CheckpointCopy(golden)
            try outside.edit(index) {
                let map = $0["weight_map"] as? [String: String] ?? [:]
                $0["weight_map"] = map.mapValues { $0 == shard ? path : $0 }
            }
            try outside.expectRefusal(naming: [])
        }
        let none = try CheckpointCopy(golden)
        try none.write(index, Data("{}".utf8))
        try none.expectRefusal(naming: [index])
    }

    @Test func configurations() throws {
        for key in [
            "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "vocab_size",
        ] {
            // transformers' default takes the place of a missing key, and fits no tensor.
            let copy = try CheckpointCopy(.llava)
            try copy.editSection("text_config") { $0[key] = nil }
            try copy.expectRefusal(naming: [copy.path])
        }
        let unknown = try CheckpointCopy(.llava)
        try unknown.edit("config.json") { $0["model_type"] = "qwen2_vl" }
        try unknown.expectRefusal(naming: ["config.json", "model_type", "qwen2_vl", "llava_next"])
        for (name, value) in [("{", "{"), ("[]", "[]"), ("empty", ""), ("nul", "\0")] {
            let copy = try CheckpointCopy(.llava)
            try copy.write("config.json", Data(value.utf8))
            try copy.expectRefusal(naming: ["config.json"])
            _ = name
        }
        let deep = try CheckpointCopy(.llava)
        try deep.write("config.json", Data(String(repeating: "[", count: 200_000).utf8))
        try deep.expectRefusal(naming: ["config.json"])
        for key in ["model_type", "text_config"] {
            let copy = try CheckpointCopy(.blip)
            try copy.edit("config.json") { $0[key] = nil }
            try copy.expectRefusal(naming: [copy.path])
        }
        let token = try CheckpointCopy(.llava)
        try token.edit("config.json") { $0["image_token_index"] = 5000 }
        try token.expectRefusal(naming: ["image_token_index"])
    }

    @Test(arguments: [
        ("text_config", "num_attention_heads"), ("text_config", "num_key_value_heads"),
        ("text_config", "hidden_size"), ("text_config", "intermediate_size"),
        ("text_config", "num_hidden_layers"), ("text_config", "vocab_size"),
        ("text_config", "head_dim"), ("text_config", "rms_norm_eps"),
        ("text_config", "max_position_embeddings"),
        ("vision_config", "num_attention_heads"), ("vision_config", "hidden_size"),
        ("vision_config", "num_hidden_layers"), ("vision_config", "image_size"),
        ("vision_config", "patch_size"), ("vision_config", "intermediate_size"),
    ])
    func absurdValues(_ section: String, _ key: String) throws {
        let values: [Any] = [0, -1, 1 << 31, 1 << 62, 1e308, "4", 7]
        let golden = key.hasSuffix("heads") ? GoldenModel.blip : .llava
        for value in values {
            let copy = try CheckpointCopy(golden)
            try copy.editSection(section) { $0[key] = value }
            // Seven positions, and an epsilon of seven, are possible if unusual.
            let isFree = ["max_position_embeddings", "rms_norm_eps"].contains(key)
            if isFree, let number = value as? Int,
                number == 7 || key == "rms_norm_eps" && number > 0
            {
                try expectExit(0, ["convert", copy.path, "--output", copy.folder("output")])
            } else {
                try copy.expectRefusal(naming: [copy.path])
            }
        }
    }

    @Test func tokenizers() throws {
        let none = try CheckpointCopy(.llava)
        try none.remove("tokenizer.json")
        try none.remove("tokenizer.model")
        try none.expectRefusal(naming: ["tokenizer.json", "tokenizer.model"])
        let words = try CheckpointCopy(.blip)
        try words.remove("qformer_tokenizer")
        try words.expectRefusal(naming: ["qformer_tokenizer"])
        let broken = try CheckpointCopy(.blip)
        try broken.write("tokenizer.json", Data("{\"model\": 3}".utf8))
        try broken.expectRefusal(naming: ["tokenizer.json"])
        let binary = try CheckpointCopy(.llava)
        try binary.remove("tokenizer.json")
        try binary.write("tokenizer.model", Data([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]))
        try binary.expectRefusal(naming: ["tokenizer.model"])
    }

    @Test func foldersThatAreNone() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("file", text: "x")
        for path in [folder.path, folder("nowhere"), file, "", "/dev/null"] {
            try expectRefusal(["convert", path, "--output", folder("output")], naming: [path])
            #expect(try folder.entries() == ["file"])
        }
        let copy = try CheckpointCopy(.llava)
        try copy.remove("model.safetensors")
        try copy.expectRefusal(naming: ["safetensors"])
        try FileManager.default.createDirectory(
            at: copy.file("model.safetensors"), withIntermediateDirectories: false)
        try copy.expectRefusal(naming: ["model.safetensors"])
    }

    @Test func outputsThatAreInTheWay() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("file", text: "mine")
        let checkpoint = GoldenModel.llava.checkpoint
        for output in [file, file + "/below"] {
            let result = try Command.run(["convert", checkpoint, "--output", output])
            #expect(result.code == 1 || result.code == 2, "\(result.errors)")
            #expect(result.errors.contains(file))
        }
        let model = try GoldenModel.llava.convert(in: folder)
        try expectRefusal(["convert", checkpoint, "--output", model], naming: [model, "--force"])
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "mine")
        #expect(try folder.entries() == ["file", "model"])
    }
}
