import Foundation
import MMQBase
import MMQFormats

/// The sizes and constants of a vision transformer: CLIP's (LLaVA-Next) or EVA's (InstructBLIP).
public struct VisionTowerConfig: Sendable, Codable, Equatable {
    /// Width of the residual stream.
    public var hiddenSize: Int
    /// Neurons of one layer's MLP.
    public var ffnSize: Int
    /// Encoder blocks.
    public var layers: Int
    /// Attention heads; divides `hiddenSize`.
    public var heads: Int
    /// Side of the square input in pixels.
    public var imageSize: Int
    /// Side of a patch in pixels; divides `imageSize`.
    public var patchSize: Int
    /// The MLP's activation.
    public var activation: Activation
    /// Epsilon of every LayerNorm.
    public var normEpsilon: Float

    /// A tower of these sizes.
    public init(
        hiddenSize: Int, ffnSize: Int, layers: Int, heads: Int, imageSize: Int, patchSize: Int,
        activation: Activation, normEpsilon: Float
    ) {
        self.hiddenSize = hiddenSize
        self.ffnSize = ffnSize
        self.layers = layers
        self.heads = heads
        self.imageSize = imageSize
        self.patchSize = patchSize
        self.activation = activation
        self.normEpsilon = normEpsilon
    }

    /// Width of one head.
    public var headDim: Int { hiddenSize / heads }
    /// Patches along one side.
    public var patchesPerSide: Int { imageSize / patchSize }
    /// Patches of one input.
    public var patches: Int { patchesPerSide * patchesPerSide }
    /// Tokens of one input: the class token, then the patches row by row.
    public var tokens: Int { patches + 1 }

    /// From the `vision_config` section of a `config.json`, with defaults for missing keys.
    init(_ reader: ConfigReader, defaults: VisionTowerConfig, modelTypes: [String]) throws {
        // Some files carry the type of the whole CLIP or BLIP model here; transformers accepts them.
        if reader.value("model_type") != nil {
            _ = try reader.choice("model_type", modelTypes, modelTypes[0])
        }
        hiddenSize = try reader.positive("hidden_size", defaults.hiddenSize)
        ffnSize = try reader.positive("intermediate_size", defaults.ffnSize)
        layers = try reader.layers("num_hidden_layers", defaults.layers)
        heads = try reader.positive("num_attention_heads", defaults.heads)
        let side = 1...16384
        imageSize = try Self.side(reader, "image_size", side, defaults.imageSize)
        patchSize = try Self.side(reader, "patch_size", side, defaults.patchSize)
        activation = try reader.activation(
            "hidden_act", [.quickGELU, .gelu], defaults.activation)
        normEpsilon = try reader.positiveNumber("layer_norm_eps", defaults.normEpsilon)
        let channels = try reader.positive("num_channels", 3)
        guard channels == 3 else {
            throw reader.wrong("num_channels", "3", .integer(channels), .unsupported)
        }
        guard hiddenSize % heads == 0 else {
            throw reader.wrong(
                "num_attention_heads", "a divisor of hidden_size \(hiddenSize)",
                .integer(heads))
        }
        guard imageSize % patchSize == 0 else {
            throw reader.wrong(
                "patch_size", "a divisor of image_size \(imageSize)", .integer(patchSize))
        }
    }

    /// A side in pixels, also written as [n, n].
    private static func side(
        _ reader: ConfigReader, _ key: String, _ range: ClosedRange<Int>, _ fallback: Int
    ) throws -> Int {
        if case .array(let values) = reader.value(key) {
            guard values.count == 2, values[0] == values[1], case .integer(let size) = values[0],
                range.contains(size)
            else { throw reader.wrong(key, "a square's side", reader.value(key), .unsupported) }
            return size
        }
        return try reader.integer(key, in: range, "a side from 1 to \(range.upperBound)", fallback)
    }

    /// From the metadata of a vision GGUF file.
    init(_ metadata: GGUFMetadata) throws {
        let positive = 1...Int(Int32.max)
        func size(_ key: String) throws -> Int {
            try metadata.integer("clip.vision." + key, in: positive)
        }
        hiddenSize = try size("embedding_length")
        ffnSize = try size("feed_forward_length")
        layers = try metadata.integer("clip.vision.block_count", in: ConfigReader.layerRange)
        heads = try size("attention.head_count")
        imageSize = try metadata.integer("clip.vision.image_size", in: 1...16384)
        patchSize = try metadata.integer("clip.vision.patch_size", in: 1...16384)
        activation = try metadata.activation("mmq.vision.activation", [.quickGELU, .gelu])
        normEpsilon = try metadata.positiveFloat("clip.vision.attention.layer_norm_epsilon")
        guard hiddenSize % heads == 0 else {
            throw InputError(
                .badValue, file: metadata.file, item: "key 'clip.vision.attention.head_count'",
                expected: "a divisor of \(hiddenSize)", found: "\(heads)")
        }
        guard imageSize % patchSize == 0 else {
            throw InputError(
                .badValue, file: metadata.file, item: "key 'clip.vision.patch_size'",
                expected: "a divisor of \(imageSize)", found: "\(patchSize)")
        }
    }

    /// The `clip.vision.*` metadata under llama.cpp's names, and our own key for the activation.
    var metadata: [(key: String, value: GGUFValue)] {
        [
            ("clip.has_vision_encoder", .bool(true)),
            ("clip.vision.image_size", .uint32(UInt32(imageSize))),
            ("clip.vision.patch_size", .uint32(UInt32(patchSize))),
            ("clip.vision.embedding_length", .uint32(UInt32(hiddenSize))),
            ("clip.vision.feed_forward_length", .uint32(UInt32(ffnSize))),
            ("clip.vision.block_count", .uint32(UInt32(layers))),
            ("clip.vision.attention.head_count", .uint32(UInt32(heads))),
            ("clip.vision.attention.layer_norm_epsilon", .float32(normEpsilon)),
            ("clip.use_gelu", .bool(activation == .gelu)),
            ("mmq.vision.activation", .string(activation.rawValue)),
        ]
    }
}

extension GGUFMetadata {
    /// An activation function out of those that a site may have.
    func activation(_ key: String, _ choices: [Activation]) throws -> Activation {
        let name = try string(key)
        guard let activation = choices.first(where: { $0.rawValue == name }) else {
            throw InputError(
                .unsupported, file: file, item: "key '\(key)'",
                expected: choices.map(\.rawValue).joined(separator: " or "), found: "'\(name)'")
        }
        return activation
    }

    /// A number above 0.
    func positiveFloat(_ key: String) throws -> Float {
        let number = try float(key)
        guard number > 0 else {
            throw InputError(
                .badValue, file: file, item: "key '\(key)'", expected: "a positive number",
                found: "\(number)")
        }
        return number
    }

    /// Requires `mmq.architecture` to be the given one.
    func requireArchitecture(_ architecture: String) throws {
        let found = try string("mmq.architecture")
        guard found == architecture else {
            throw InputError(
                .unsupported, file: file, item: "key 'mmq.architecture'",
                expected: "'\(architecture)'", found: "'\(found)'")
        }
    }
}
