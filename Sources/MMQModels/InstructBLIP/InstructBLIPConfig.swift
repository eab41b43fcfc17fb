import Foundation
import MMQBase
import MMQFormats

/// The sizes and constants of InstructBLIP's Q-Former.
public struct QFormerConfig: Sendable, Codable, Equatable {
    /// Rows of the word embedding table.
    public var vocabularySize: Int
    /// Width of the residual stream.
    public var hiddenSize: Int
    /// Neurons of one layer's MLP, in the text and in the query branch.
    public var ffnSize: Int
    /// Layers.
    public var layers: Int
    /// Attention heads; divides `hiddenSize`.
    public var heads: Int
    /// Rows of the position embedding table.
    public var contextLength: Int
    /// Layers whose index is a multiple of this have cross-attention to the image.
    public var crossAttentionFrequency: Int
    /// The MLP's activation.
    public var activation: Activation
    /// Epsilon of every LayerNorm.
    public var normEpsilon: Float

    /// Whether a layer has cross-attention.
    public func hasCrossAttention(_ layer: Int) -> Bool { layer % crossAttentionFrequency == 0 }

    init(_ reader: ConfigReader) throws {
        if reader.value("model_type") != nil {
            let types = ["instructblip_qformer"]
            _ = try reader.choice("model_type", types, types[0])
        }
        vocabularySize = try reader.positive("vocab_size", 30522)
        hiddenSize = try reader.positive("hidden_size", 768)
        ffnSize = try reader.positive("intermediate_size", 3072)
        layers = try reader.layers("num_hidden_layers", 12)
        heads = try reader.positive("num_attention_heads", 12)
        contextLength = try reader.positive("max_position_embeddings", 512)
        crossAttentionFrequency = try reader.positive("cross_attention_frequency", 2)
        activation = try reader.activation("hidden_act", [.gelu, .quickGELU], .gelu)
        normEpsilon = try reader.positiveNumber("layer_norm_eps", 1e-12)
        _ = try reader.choice("position_embedding_type", ["absolute"], "absolute")
        guard hiddenSize % heads == 0 else {
            throw reader.wrong(
                "num_attention_heads", "a divisor of hidden_size \(hiddenSize)",
                .integer(heads))
        }
    }

    init(_ metadata: GGUFMetadata) throws {
        let positive = 1...Int(Int32.max)
        func size(_ key: String) throws -> Int {
            try metadata.integer("mmq.qformer." + key, in: positive)
        }
        vocabularySize = try size("vocab_size")
        hiddenSize = try size("embedding_length")
        ffnSize = try size("feed_forward_length")
        layers = try metadata.integer("mmq.qformer.block_count", in: ConfigReader.layerRange)
        heads = try size("attention.head_count")
        contextLength = try size("context_length")
        crossAttentionFrequency = try size("cross_attention_frequency")
        activation = try metadata.activation("mmq.qformer.activation", [.gelu, .quickGELU])
        normEpsilon = try metadata.positiveFloat("mmq.qformer.attention.layer_norm_epsilon")
        guard hiddenSize % heads == 0 else {
            throw InputError(
                .badValue, file: metadata.file, item: "key 'mmq.qformer.attention.head_count'",
                expected: "a divisor of \(hiddenSize)", found: "\(heads)")
        }
    }

    var metadata: [(key: String, value: GGUFValue)] {
        [
            ("mmq.qformer.vocab_size", .uint32(UInt32(vocabularySize))),
            ("mmq.qformer.embedding_length", .uint32(UInt32(hiddenSize))),
            ("mmq.qformer.feed_forward_length", .uint32(UInt32(ffnSize))),
            ("mmq.qformer.block_count", .uint32(UInt32(layers))),
            ("mmq.qformer.attention.head_count", .uint32(UInt32(heads))),
            ("mmq.qformer.context_length", .uint32(UInt32(contextLength))),
            ("mmq.qformer.cross_attention_frequency", .uint32(UInt32(crossAttentionFrequency))),
            ("mmq.qformer.activation", .string(activation.rawValue)),
            ("mmq.qformer.attention.layer_norm_epsilon", .float32(normEpsilon)),
        ]
    }
}

/// What an InstructBLIP model is: its `config.json`, or the metadata of the two GGUF files made of
/// it. Defaults are those of transformers' `InstructBlipConfig`.
public struct InstructBLIPConfig: Sendable, Codable, Equatable {
    private static let modelType = InstructBLIPArchitecture().modelType

    /// The decoder.
    public var text: LlamaConfig
    /// The EVA tower.
    public var vision: VisionTowerConfig
    /// Whether the tower's query, key and value projections have biases (the key's is zero).
    public var visionQKVBias: Bool
    /// The Q-Former.
    public var qformer: QFormerConfig
    /// Learned query embeddings: image tokens that the decoder sees.
    public var queryTokens: Int
    /// The token that stands for an image token in newer checkpoints' prompts; nil in older ones.
    public var imageTokenID: Int?

    /// From a checkpoint's `config.json`.
    public init(json: JSONValue, file: String) throws {
        let reader = try ConfigReader(json, file: file)
        _ = try reader.choice("model_type", [Self.modelType], Self.modelType)
        // The default text model is OPT, so the type has to be there.
        guard let textSection = try reader.section("text_config") else {
            throw reader.wrong("text_config", "an object", reader.value("text_config"))
        }
        guard textSection.value("model_type") != nil else {
            throw textSection.wrong("model_type", "\"llama\"", nil)
        }
        text = try LlamaConfig(textSection)
        let visionSection =
            try reader.section("vision_config") ?? reader.emptySection("vision_config")
        vision = try VisionTowerConfig(
            visionSection, defaults: Self.visionDefaults,
            modelTypes: ["instructblip_vision_model"])
        visionQKVBias = try visionSection.bool("qkv_bias", true)
        let qformerSection =
            try reader.section("qformer_config") ?? reader.emptySection("qformer_config")
        // transformers sets encoder_hidden_size to the tower's width whatever the file says.
        qformer = try QFormerConfig(qformerSection)
        queryTokens = try reader.integer(
            "num_query_tokens", in: 1...65536, "an integer from 1 to 65536", 32)
        let key = reader.value("image_token_index") == nil ? "image_token_id" : "image_token_index"
        if reader.value(key) != nil {
            imageTokenID = try reader.integer(
                key, in: 0...(text.vocabularySize - 1),
                "a token id below vocab_size \(text.vocabularySize)")
        }
    }

    /// transformers' `InstructBlipVisionConfig`.
    static let visionDefaults = VisionTowerConfig(
        hiddenSize: 1408, ffnSize: 6144, layers: 39, heads: 16, imageSize: 224, patchSize: 14,
        activation: .gelu, normEpsilon: 1e-6)

    /// From the metadata of a language and a vision GGUF file.
    public init(language: GGUFFile, vision file: GGUFFile) throws {
        let metadata = file.metadata
        try metadata.requireArchitecture(Self.modelType)
        text = try LlamaConfig(language)
        vision = try VisionTowerConfig(metadata)
        visionQKVBias = try metadata.bool("mmq.vision.qkv_bias")
        qformer = try QFormerConfig(metadata)
        queryTokens = try metadata.integer("mmq.query_tokens", in: 1...65536)
        if metadata["mmq.image_token_id"] != nil {
            // As in LLaVA-Next, a language file of another program may have no row for it.
            imageTokenID = try metadata.integer("mmq.image_token_id", in: 0...Int(Int32.max))
        }
    }

    /// The vision file's metadata about the model.
    public var visionMetadata: [(key: String, value: GGUFValue)] {
        var members: [(key: String, value: GGUFValue)] = [
            ("mmq.architecture", .string(Self.modelType)),
            ("clip.projector_type", .string("instructblip")),
        ]
        members += vision.metadata
        members.append(("clip.vision.projection_dim", .uint32(UInt32(text.hiddenSize))))
        members.append(("mmq.vision.qkv_bias", .bool(visionQKVBias)))
        members += qformer.metadata
        members.append(("mmq.query_tokens", .uint32(UInt32(queryTokens))))
        if let imageTokenID {
            members.append(("mmq.image_token_id", .uint32(UInt32(imageTokenID))))
        }
        return members
    }
}
