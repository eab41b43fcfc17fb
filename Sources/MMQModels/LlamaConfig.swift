import Foundation
import MMQBase
import MMQFormats

/// The sizes and constants of a LLaMA decoder, or of Mistral's, which differs from it in its defaults
/// and in a window over the keys that may not be shorter than the context here.
///
/// Defaults for keys that a `config.json` leaves out are those of transformers' `LlamaConfig` or
/// `MistralConfig`.
public struct LlamaConfig: Sendable, Codable, Equatable {
    /// Rows of the embedding table.
    public var vocabularySize: Int
    /// Width of the residual stream.
    public var hiddenSize: Int
    /// Neurons of one layer's MLP.
    public var ffnSize: Int
    /// Decoder blocks.
    public var layers: Int
    /// Query heads.
    public var heads: Int
    /// Key and value heads; divides `heads`.
    public var kvHeads: Int
    /// Width of one head.
    public var headDim: Int
    /// Positions the model was trained for.
    public var contextLength: Int
    /// Epsilon of every RMSNorm.
    public var normEpsilon: Float
    /// Base of the rotary frequencies.
    public var ropeTheta: Float
    /// Whether the output head is the embedding table.
    public var tiedHead: Bool

    /// A decoder of these sizes.
    public init(
        vocabularySize: Int, hiddenSize: Int, ffnSize: Int, layers: Int, heads: Int, kvHeads: Int,
        headDim: Int, contextLength: Int, normEpsilon: Float, ropeTheta: Float, tiedHead: Bool
    ) {
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.ffnSize = ffnSize
        self.layers = layers
        self.heads = heads
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.contextLength = contextLength
        self.normEpsilon = normEpsilon
        self.ropeTheta = ropeTheta
        self.tiedHead = tiedHead
    }

    /// From the `text_config` section of a `config.json`.
    init(_ reader: ConfigReader) throws {
        let isMistral =
            try reader.choice("model_type", ["llama", "mistral"], "llama") == "mistral"
        vocabularySize = try reader.positive("vocab_size", 32000)
        hiddenSize = try reader.positive("hidden_size", 4096)
        ffnSize = try reader.positive("intermediate_size", isMistral ? 14336 : 11008)
        layers = try reader.layers("num_hidden_layers", 32)
        heads = try reader.positive("num_attention_heads", 32)
        let allHeads = !isMistral || reader.isNull("num_key_value_heads")
        kvHeads = try reader.positive("num_key_value_heads", allHeads ? heads : 8)
        contextLength = try reader.positive(
            "max_position_embeddings", isMistral ? 4096 * 32 : 2048)
        if isMistral { try Self.checkWindow(reader, context: contextLength) }
        normEpsilon = try reader.positiveNumber("rms_norm_eps", 1e-6)
        ropeTheta = try Self.ropeTheta(reader)
        tiedHead = try reader.bool("tie_word_embeddings", false)
        guard hiddenSize % heads == 0 else {
            throw reader.wrong(
                "num_attention_heads", "a divisor of hidden_size \(hiddenSize)",
                .integer(heads))
        }
        headDim = try reader.positive("head_dim", hiddenSize / heads)
        _ = try reader.activation("hidden_act", [.silu], .silu)
        try reader.mustBeFalse("attention_bias")
        try reader.mustBeFalse("mlp_bias")
        try check(file: reader.file) { reader.item($0.json) }
    }

    /// Refuses a window over the keys that would hide some of them. Without the key it is 4,096.
    private static func checkWindow(_ reader: ConfigReader, context: Int) throws {
        let key = "sliding_window"
        guard !reader.isNull(key) else { return }
        let window = try reader.positive(key, 4096)
        guard window >= context else {
            throw InputError(
                .unsupported, file: reader.file, item: reader.item(key),
                expected: "null, or at least max_position_embeddings \(context)",
                found: "\(window)")
        }
    }

    /// Base of the rotary frequencies: `rope_parameters` (transformers 5), `rope_scaling` (older)
    /// and `rope_theta`, in that order. Scaled variants are refused.
    private static func ropeTheta(_ reader: ConfigReader) throws -> Float {
        var theta = try reader.positiveNumber("rope_theta", 10_000)
        for key in ["rope_scaling", "rope_parameters"] {
            guard let section = try reader.section(key) else { continue }
            for type in ["rope_type", "type"] {
                _ = try section.choice(type, ["default"], "default")
            }
            theta = try section.positiveNumber("rope_theta", theta)
            let partial = try section.positiveNumber("partial_rotary_factor", 1)
            guard partial == 1 else {
                throw section.wrong(
                    "partial_rotary_factor", "1", section.value("partial_rotary_factor"),
                    .unsupported)
            }
        }
        return theta
    }

    /// From the metadata of a language GGUF file, ours or another program's.
    public init(_ file: GGUFFile) throws {
        let metadata = file.metadata
        let architecture = try metadata.string("general.architecture")
        guard architecture == "llama" else {
            throw InputError(
                .unsupported, file: file.path, item: "key 'general.architecture'",
                expected: "'llama'", found: "'\(architecture)'")
        }
        let positive = 1...Int(Int32.max)
        func size(_ key: String) throws -> Int {
            try metadata.integer("llama." + key, in: positive)
        }
        func optional(_ key: String, _ fallback: Int) throws -> Int {
            metadata["llama." + key] == nil ? fallback : try size(key)
        }
        hiddenSize = try size("embedding_length")
        ffnSize = try size("feed_forward_length")
        layers = try metadata.integer("llama.block_count", in: ConfigReader.layerRange)
        heads = try size("attention.head_count")
        kvHeads = try optional("attention.head_count_kv", heads)
        contextLength = try size("context_length")
        normEpsilon = try metadata.float("llama.attention.layer_norm_rms_epsilon")
        let theta = "llama.rope.freq_base"
        ropeTheta = metadata[theta] == nil ? 10_000 : try metadata.float(theta)
        tiedHead = file["output.weight"] == nil
        // Older files have no vocab_size; the embedding table has one row for each token.
        vocabularySize = try optional(
            "vocab_size", file.tensor("token_embd.weight").shape.first ?? 0)
        guard vocabularySize > 0 else {
            throw InputError(
                .badShape, file: file.path, item: "tensor 'token_embd.weight'",
                expected: "a row for each token", found: "none")
        }
        guard hiddenSize % heads == 0 else {
            throw InputError(
                .badValue, file: file.path, item: "key 'llama.attention.head_count'",
                expected: "a divisor of \(hiddenSize)", found: "\(heads)")
        }
        headDim = try optional("attention.key_length", hiddenSize / heads)
        let rotated = try optional("rope.dimension_count", headDim)
        let valueDim = try optional("attention.value_length", headDim)
        guard rotated == headDim, valueDim == headDim else {
            throw InputError(
                .unsupported, file: file.path, item: "key 'llama.rope.dimension_count'",
                expected: "heads of \(headDim), rotated whole",
                found: "\(rotated) rotated, values of \(valueDim)")
        }
        let scaling = "llama.rope.scaling.type"
        if metadata[scaling] != nil, try metadata.string(scaling) != "none" {
            throw InputError(
                .unsupported, file: file.path, item: "key '\(scaling)'", expected: "'none'",
                found: try metadata.string(scaling))
        }
        let experts = "llama.expert_count"
        if metadata[experts] != nil, try metadata.integer(experts) != 0 {
            throw InputError(
                .unsupported, file: file.path, item: "key '\(experts)'", expected: "no experts",
                found: "\(try metadata.integer(experts))")
        }
        try check(file: file.path) { "key 'llama.\($0.gguf)'" }
    }

    /// Keys that the checks below may blame, by their name in both formats.
    private enum Key {
        case kvHeads, headDim, ropeTheta, normEpsilon

        var json: String {
            switch self {
            case .kvHeads: "num_key_value_heads"
            case .headDim: "head_dim"
            case .ropeTheta: "rope_theta"
            case .normEpsilon: "rms_norm_eps"
            }
        }

        var gguf: String {
            switch self {
            case .kvHeads: "attention.head_count_kv"
            case .headDim: "attention.key_length"
            case .ropeTheta: "rope.freq_base"
            case .normEpsilon: "attention.layer_norm_rms_epsilon"
            }
        }
    }

    private func check(file: String, item: (Key) -> String) throws {
        func wrong(_ key: Key, _ expected: String, _ found: String) -> InputError {
            InputError(.badValue, file: file, item: item(key), expected: expected, found: found)
        }
        guard heads % kvHeads == 0 else {
            throw wrong(.kvHeads, "a divisor of the \(heads) heads", "\(kvHeads)")
        }
        guard headDim % 2 == 0 else { throw wrong(.headDim, "an even number", "\(headDim)") }
        guard ropeTheta > 0 else { throw wrong(.ropeTheta, "a positive number", "\(ropeTheta)") }
        guard normEpsilon > 0 else {
            throw wrong(.normEpsilon, "a positive number", "\(normEpsilon)")
        }
    }

    /// The `llama.*` metadata, key by key as llama.cpp's converter writes it.
    public var metadata: [(key: String, value: GGUFValue)] {
        [
            ("llama.block_count", .uint32(UInt32(layers))),
            ("llama.context_length", .uint32(UInt32(contextLength))),
            ("llama.embedding_length", .uint32(UInt32(hiddenSize))),
            ("llama.feed_forward_length", .uint32(UInt32(ffnSize))),
            ("llama.attention.head_count", .uint32(UInt32(heads))),
            ("llama.attention.head_count_kv", .uint32(UInt32(kvHeads))),
            ("llama.rope.freq_base", .float32(ropeTheta)),
            ("llama.attention.layer_norm_rms_epsilon", .float32(normEpsilon)),
            ("llama.attention.key_length", .uint32(UInt32(headDim))),
            ("llama.attention.value_length", .uint32(UInt32(headDim))),
            ("llama.vocab_size", .uint32(UInt32(vocabularySize))),
            ("llama.rope.dimension_count", .uint32(UInt32(headDim))),
        ]
    }
}
