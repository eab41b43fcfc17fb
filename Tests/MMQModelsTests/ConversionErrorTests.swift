import Foundation
import MMQBase
import MMQFormats
import MMQModels
import Support
import Testing

/// Checkpoints that are wrong somewhere: each error names the place, and nothing is left behind.
@Suite struct ConversionErrorTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A copy of a golden checkpoint.
    func copy(_ variant: String = "llava-next/plain-f32") throws -> String {
        let path = folder("checkpoint")
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: Golden.path(variant + "/checkpoint"), toPath: path)
        return path
    }

    /// Writes the checkpoint's one weights file anew, with changes.
    func rewrite(
        _ checkpoint: String,
        _ change: (inout [SafetensorsWriter.Declaration], inout [String: [UInt8]]) throws -> Void
    ) throws {
        let path = checkpoint + "/model.safetensors"
        let file = try SafetensorsFile(path: path)
        var tensors = file.tensors.map {
            SafetensorsWriter.Declaration(name: $0.name, type: $0.type, shape: $0.shape)
        }
        var data: [String: [UInt8]] = [:]
        for tensor in file.tensors { data[tensor.name] = try file.bytes(tensor.name) }
        try change(&tensors, &data)
        let writer = try SafetensorsWriter(path: path, tensors: tensors)
        for tensor in tensors {
            try (data[tensor.name] ?? []).withUnsafeBytes { try writer.write(tensor.name, $0) }
        }
        try writer.commit()
    }

    /// Changes values in config.json; nil removes a key. Paths have dots.
    func configure(_ checkpoint: String, _ changes: [String: Any?]) throws {
        let url = URL(fileURLWithPath: checkpoint + "/config.json")
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: url))
        var config = try #require(json as? [String: Any])
        for (path, value) in changes {
            let parts = path.split(separator: ".").map(String.init)
            if parts.count == 1 {
                config[parts[0]] = value
            } else {
                var section = try #require(config[parts[0]] as? [String: Any])
                section[parts[1]] = value
                config[parts[0]] = section
            }
        }
        try JSONSerialization.data(withJSONObject: config).write(to: url)
    }

    /// The error of converting, after checking that it left nothing.
    func failure(_ checkpoint: String, _ options: ConversionOptions = .init()) throws -> InputError
    {
        let output = folder("model")
        var failure: (any Error)?
        do {
            try Converter(checkpoint: checkpoint, options: options).convert(to: output)
        } catch { failure = error }
        #expect(!FileManager.default.fileExists(atPath: output))
        return try #require(failure as? InputError, "\(String(describing: failure))")
    }

    static let tensor = "multi_modal_projector.linear_1.weight"

    @Test(arguments: [
        "language_model.model.layers.0.self_attn.q_proj.weight", "image_newline",
        "language_model.lm_head.weight", "vision_tower.pre_layrnorm.bias",
    ])
    func missingTensor(_ name: String) throws {
        let checkpoint = try copy()
        try rewrite(checkpoint) { tensors, _ in
            let count = tensors.count
            tensors.removeAll { $0.name == name }
            try #require(tensors.count == count - 1)
        }
        let error = try failure(checkpoint)
        #expect(error.code == .missingTensor && error.item == "tensor '\(name)'")
    }

    @Test func extraTensor() throws {
        let checkpoint = try copy()
        try rewrite(checkpoint) { tensors, data in
            tensors.append(.init(name: "language_model.extra", type: .f32, shape: [1]))
            // Buffers of older versions are no weights and are skipped.
            tensors.append(
                .init(
                    name: "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
                    type: .f32, shape: [1]))
            for tensor in tensors.suffix(2) { data[tensor.name] = [0, 0, 0, 0] }
        }
        let error = try failure(checkpoint)
        #expect(error.code == .extraTensor && error.item == "tensor 'language_model.extra'")
    }

    @Test func sameTensorUnderTwoNames() throws {
        let checkpoint = try copy()
        try rewrite(checkpoint) { tensors, data in
            let newline = try #require(tensors.first { $0.name == "image_newline" })
            tensors.append(.init(name: "model.image_newline", type: .f32, shape: newline.shape))
            data["model.image_newline"] = data["image_newline"]
        }
        let error = try failure(checkpoint)
        #expect(error.code == .duplicate && error.item == "tensor 'image_newline'")
    }

    @Test func wrongShapeAndType() throws {
        var checkpoint = try copy()
        try rewrite(checkpoint) { tensors, _ in
            tensors = tensors.map {
                $0.name != Self.tensor
                    ? $0 : .init(name: $0.name, type: $0.type, shape: $0.shape.reversed())
            }
        }
        let shape = try failure(checkpoint)
        #expect(shape.code == .badShape && shape.item == "tensor '\(Self.tensor)'")
        try FileManager.default.removeItem(atPath: checkpoint)

        checkpoint = try copy()
        try rewrite(checkpoint) { tensors, _ in
            tensors = tensors.map {
                $0.name != Self.tensor ? $0 : .init(name: $0.name, type: .i32, shape: $0.shape)
            }
        }
        let type = try failure(checkpoint)
        #expect(type.code == .badType && type.item == "tensor '\(Self.tensor)'")
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity, 1e30])
    func weightThatCannotBeStored(_ value: Float) throws {
        let checkpoint = try copy()
        try rewrite(checkpoint) { tensors, data in
            let columns = try #require(tensors.first { $0.name == Self.tensor }).shape[1]
            withUnsafeBytes(of: value.bitPattern.littleEndian) {
                let place = (2 * columns + 5) * 4
                data[Self.tensor]?.replaceSubrange(place..<(place + 4), with: $0)
            }
        }
        let error = try failure(checkpoint)
        #expect(error.code == .nonFinite && error.item == "tensor '\(Self.tensor)'")
        #expect(error.found?.hasSuffix("at [2, 5]") == true)
        // f32 stores what is finite.
        if value.isFinite {
            try Converter(
                checkpoint: checkpoint, options: ConversionOptions(type: .f32, visionType: .f32)
            ).convert(to: folder("f32"))
        }
    }

    @Test func weightsCutShort() throws {
        let checkpoint = try copy()
        let path = checkpoint + "/model.safetensors"
        let size = try InputFile(path: path).count
        try #require(truncate(path, off_t(size - 10)) == 0)
        let error = try failure(checkpoint)
        #expect(error.code == .truncated && error.file == path)
    }

    struct BadConfig: Sendable, CustomTestStringConvertible {
        let path: String
        let value: (any Sendable)?
        let code: InputError.Code
        let item: String

        init(
            _ path: String, _ value: (any Sendable)?, _ code: InputError.Code,
            _ item: String? = nil
        ) {
            (self.path, self.value, self.code, self.item) = (path, value, code, item ?? path)
        }

        var testDescription: String { "\(path) = \(value.map { "\($0)" } ?? "nothing")" }
    }

    static let configs: [BadConfig] = [
        BadConfig("model_type", nil, .missingKey),
        BadConfig("model_type", "vipllava", .unsupported),
        BadConfig("model_type", 3, .missingKey),
        BadConfig("text_config.model_type", "qwen2", .unsupported),
        BadConfig("text_config.num_hidden_layers", -3, .badValue),
        BadConfig("text_config.num_hidden_layers", 1_000_000, .badValue),
        BadConfig("text_config.hidden_size", "64", .badValue),
        BadConfig("text_config.hidden_size", 1.5, .badValue),
        BadConfig("text_config.num_attention_heads", 7, .badValue),
        BadConfig("text_config.num_key_value_heads", 3, .badValue),
        BadConfig("text_config.vocab_size", 0, .badValue),
        BadConfig("text_config.rms_norm_eps", 0, .badValue),
        BadConfig("text_config.rope_theta", -1, .badValue),
        BadConfig(
            "text_config.rope_scaling", ["type": "linear", "factor": "2"], .unsupported,
            "text_config.rope_scaling.type"),
        BadConfig(
            "text_config.rope_parameters", ["rope_type": "yarn"], .unsupported,
            "text_config.rope_parameters.rope_type"),
        BadConfig("text_config.hidden_act", "gelu", .unsupported),
        BadConfig("text_config.attention_bias", true, .unsupported),
        BadConfig("text_config.mlp_bias", true, .unsupported),
        BadConfig("vision_config.model_type", "siglip_vision_model", .unsupported),
        BadConfig("vision_config.hidden_act", "relu", .unsupported),
        BadConfig("vision_config.patch_size", 13, .badValue),
        BadConfig("vision_config.num_attention_heads", 0, .badValue),
        BadConfig("vision_config.num_channels", 1, .unsupported),
        BadConfig("vision_config", 5, .badValue),
        BadConfig("vision_feature_layer", [-2, -5], .badValue),
        BadConfig("vision_feature_layer", -100, .badValue),
        BadConfig("vision_feature_select_strategy", "cls", .unsupported),
        BadConfig("projector_hidden_act", "relu", .unsupported),
        BadConfig("image_token_index", 1_000_000, .badValue),
        BadConfig("image_token_index", nil, .missingKey, "image_token_id"),
        BadConfig("image_grid_pinpoints", [[28, 28, 28]], .badValue),
        BadConfig("image_grid_pinpoints", [[29, 28]], .badValue),
        BadConfig("image_grid_pinpoints", [Int](), .badValue),
        BadConfig("use_image_newline_parameter", false, .unsupported),
    ]

    @Test(arguments: configs)
    func badConfig(_ config: BadConfig) throws {
        let checkpoint = try copy()
        try configure(checkpoint, [config.path: config.value])
        let error = try failure(checkpoint)
        #expect(error.code == config.code)
        #expect(error.item == config.item)
        #expect(error.file == checkpoint + "/config.json")
    }

    /// What a Mistral decoder may say of its window.
    @Test func slidingWindows() throws {
        let type = "text_config.model_type"
        let window = "text_config.sliding_window"
        let context = "text_config.max_position_embeddings"
        let heads = "text_config.num_key_value_heads"
        for (value, length) in [(4096, 32768), (100, 101)] {
            let checkpoint = try copy()
            try configure(checkpoint, [type: "mistral", window: value, context: length])
            let error = try failure(checkpoint)
            #expect(error.code == .unsupported && error.item == window)
            #expect(error.found == "\(value)" && error.expected?.contains("\(length)") == true)
        }
        // Without the key it is 4,096.
        let silent = try copy()
        try configure(silent, [type: "mistral", context: 8192])
        #expect(try failure(silent).item == window)
        let text = try copy()
        try configure(text, [type: "mistral", context: 64, window: "none"])
        #expect(try failure(text).code == .badValue)
        for value in [NSNull(), 64, 65] as [Any] {
            let checkpoint = try copy()
            try configure(checkpoint, [type: "mistral", window: value, context: 64])
            let model = try Converter(checkpoint: checkpoint, options: ConversionOptions()).model
            #expect(model.text.contextLength == 64)
        }
        // Eight key heads, unless the file says null: this checkpoint has four heads.
        let grouped = try copy()
        try configure(grouped, [type: "mistral", window: NSNull(), heads: nil])
        #expect(try failure(grouped).item == heads)
        let config = """
            {"model_type": "llava_next", "image_token_index": 5, "text_config": \
            {"model_type": "mistral", "sliding_window": null, "num_key_value_heads": %@}}
            """
        for (value, count) in [("null", 32), ("4", 4)] {
            let json = config.replacingOccurrences(of: "%@", with: value)
            let read = try LlavaNextConfig(
                json: JSONValue(parsing: Array(json.utf8), file: "c"), file: "c")
            #expect(read.text.kvHeads == count && read.text.ffnSize == 14336)
            #expect(read.text.contextLength == 131_072)
        }
    }

    @Test func unknownArchitectureListsThoseThatRun() throws {
        let checkpoint = try copy()
        try configure(checkpoint, ["model_type": "qwen2_vl"])
        let text = try failure(checkpoint).description
        #expect(text.contains("llava_next, instructblip") && text.contains("'qwen2_vl'"))
    }

    @Test(arguments: ["config.json", "preprocessor_config.json", "model.safetensors"])
    func missingFile(_ name: String) throws {
        let checkpoint = try copy()
        try FileManager.default.removeItem(atPath: checkpoint + "/" + name)
        let error = try failure(checkpoint)
        #expect(error.code == .unreadable && error.file == checkpoint)
    }

    @Test func noTokenizer() throws {
        let checkpoint = try copy()
        for name in ["tokenizer.json", "tokenizer.model"] {
            try? FileManager.default.removeItem(atPath: checkpoint + "/" + name)
        }
        let error = try failure(checkpoint)
        #expect(error.file.hasPrefix(checkpoint))
        #expect(error.description.contains("tokenizer"))
    }

    @Test func notACheckpoint() throws {
        #expect(try failure(folder("nothing")).code == .unreadable)
        let checkpoint = try copy()
        try Data("{".utf8).write(to: URL(fileURLWithPath: checkpoint + "/config.json"))
        #expect(try failure(checkpoint).code == .badHeader)
    }

    @Test func outputThatCannotBeMade() throws {
        let path = try Golden.path("llava-next/plain-f32/checkpoint")
        let error = #expect(throws: InputError.self) {
            try Converter(checkpoint: path, options: .init()).convert(to: "/proc/none/model")
        }
        #expect(error?.code == .writeFailed)
    }
}
