import MMQBase
import MMQFormats
import MMQModels
import Support
import Testing

/// Configurations in the hub's form, which leaves out what is default.
@Suite struct ConversionConfigTests {
    func llavaNext(_ text: String) throws -> LlavaNextConfig {
        try LlavaNextConfig(
            json: JSONValue(parsing: Array(text.utf8), file: "config.json"), file: "config.json")
    }

    /// The keys that llava-v1.6-vicuna-7b's file has.
    static let hub = """
        {"architectures": ["LlavaNextForConditionalGeneration"], "ignore_index": -100,
         "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
         "image_token_index": 32000, "model_type": "llava_next", "projector_hidden_act": "gelu",
         "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "max_position_embeddings": 4096,
          "model_type": "llama", "pad_token_id": 0, "rms_norm_eps": 1e-05,
          "torch_dtype": "float16", "vocab_size": 32064},
         "tie_word_embeddings": false, "use_image_newline_parameter": true,
         "vision_config": {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
          "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24,
          "patch_size": 14, "projection_dim": 768, "vocab_size": 32000},
         "vision_feature_layer": -2, "vision_feature_select_strategy": "default"}
        """

    @Test func hubFormTakesDefaults() throws {
        let config = try llavaNext(Self.hub)
        #expect(
            config.text
                == LlamaConfig(
                    vocabularySize: 32064, hiddenSize: 4096, ffnSize: 11008, layers: 32, heads: 32,
                    kvHeads: 32, headDim: 128, contextLength: 4096, normEpsilon: 1e-5,
                    ropeTheta: 10000, tiedHead: false))
        #expect(
            config.vision
                == VisionTowerConfig(
                    hiddenSize: 1024, ffnSize: 4096, layers: 24, heads: 16, imageSize: 336,
                    patchSize: 14, activation: .quickGELU, normEpsilon: 1e-5))
        #expect(config.vision.tokens == 577)
        #expect(config.core.featureLayer == 23 && config.core.featureStrategy == .default)
        #expect(config.core.projectorActivation == .gelu && config.core.projectorBias)
        #expect(config.core.imageTokenID == 32000)
        #expect(config.pinpoints[3] == .init(height: 1008, width: 336))
        let table = TensorTable(config)
        #expect(table.rows.count == 291 + 3 + 2 + 24 * 16 + 2 + 5)
        #expect(Set(table.rows.map(\.name)).count == table.rows.count)
        let parameters = table.rows(.language).reduce(0) { $0 + $1.rows * $1.cols }
        #expect(parameters == 6_738_939_904)
    }

    @Test func emptySectionsAreTransformersDefaults() throws {
        let config = try llavaNext(#"{"model_type": "llava_next", "image_token_index": 5}"#)
        // LlamaConfig() and the tower of LlavaNextConfig.sub_configs_defaults.
        #expect(config.text.layers == 32 && config.text.normEpsilon == 1e-6)
        #expect(config.text.contextLength == 2048 && config.text.vocabularySize == 32000)
        #expect(config.vision.hiddenSize == 1024 && config.vision.layers == 24)
        // A section that is there takes CLIPVisionConfig's defaults for what it leaves out.
        let section = try llavaNext(
            #"""
            {"model_type": "llava_next", "image_token_index": 5,
             "vision_config": {"image_size": 224, "patch_size": 16},
             "image_grid_pinpoints": [[224, 448]]}
            """#)
        #expect(section.vision.hiddenSize == 768 && section.vision.layers == 12)
    }

    @Test func ropeThetaInItsThreePlaces() throws {
        func theta(_ text: String) throws -> Float {
            try llavaNext(
                #"{"model_type": "llava_next", "image_token_index": 5, "text_config": {\#(text)}}"#
            ).text.ropeTheta
        }
        #expect(try theta("") == 10000)
        #expect(try theta(#""rope_theta": 500000.0"#) == 500_000)
        #expect(try theta(#""rope_theta": 500000.0, "rope_scaling": null"#) == 500_000)
        #expect(
            try theta(#""rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}"#) == 1e6)
    }

    @Test func tiedHeadHasNoTensor() throws {
        let config = try llavaNext(
            #"{"model_type": "llava_next", "image_token_index": 5, "tie_word_embeddings": true}"#)
        #expect(config.text.tiedHead)
        // transformers ties LLaVA-1.5 by either flag: older files have it in the decoder's section.
        for (flags, isTied) in [
            (#""tie_word_embeddings": true"#, true),
            (#""text_config": {"model_type": "llama", "tie_word_embeddings": true}"#, true),
            (#""tie_word_embeddings": false"#, false),
        ] {
            let text = #"{"model_type": "llava", "image_token_index": 5, "# + flags + "}"
            let config = try Llava15Config(
                json: JSONValue(parsing: Array(text.utf8), file: "config.json"),
                file: "config.json")
            #expect(config.core.text.tiedHead == isTied, "\(flags)")
        }
        let names = TensorTable(config).rows(.language).map(\.name)
        #expect(!names.contains("output.weight"))
        #expect(TensorTable(config, hasHead: true).rows.contains { $0.name == "output.weight" })
    }

    @Test func instructBLIPDefaults() throws {
        let text = """
            {"model_type": "instructblip", "text_config": {"model_type": "llama",
             "vocab_size": 32001, "rms_norm_eps": 1e-06}, "num_query_tokens": 32}
            """
        let config = try InstructBLIPConfig(
            json: JSONValue(parsing: Array(text.utf8), file: "config.json"), file: "config.json")
        #expect(config.vision.layers == 39 && config.vision.hiddenSize == 1408)
        #expect(config.vision.ffnSize == 6144 && config.vision.tokens == 257)
        #expect(config.vision.activation == .gelu && config.vision.normEpsilon == 1e-6)
        #expect(config.qformer.layers == 12 && config.qformer.normEpsilon == 1e-12)
        #expect(config.visionQKVBias && config.imageTokenID == nil)
        let names = Set(TensorTable(config).rows.map(\.name))
        #expect(names.contains("q.blk.0.cross_attn_q.weight"))
        #expect(!names.contains("q.blk.1.cross_attn_q.weight"))
        #expect(names.contains("q.blk.11.ffn_up.weight"))
    }

    @Test func instructBLIPNeedsALlama() {
        for text in [
            #"{"model_type": "instructblip"}"#,
            #"{"model_type": "instructblip", "text_config": {}}"#,
            #"{"model_type": "instructblip", "text_config": {"model_type": "t5"}}"#,
        ] {
            #expect(throws: InputError.self) {
                try InstructBLIPConfig(
                    json: JSONValue(parsing: Array(text.utf8), file: "c"), file: "c")
            }
        }
    }
}
