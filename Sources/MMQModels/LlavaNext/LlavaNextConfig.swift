import Foundation
import MMQBase
import MMQFormats

/// What a LLaVA-Next model is: its `config.json`, or the metadata of the two GGUF files made of it.
///
/// Defaults are those of transformers' `LlavaNextConfig`.
public struct LlavaNextConfig: Sendable, Codable, Equatable {
    /// Which of a tile's tokens go on to the projector.
    public enum FeatureStrategy: String, Sendable, Codable, CaseIterable {
        /// All but the class token.
        case `default`
        /// All.
        case full
    }

    /// A size, height first, that the tiles of a picture may cover.
    public struct Pinpoint: Sendable, Codable, Equatable {
        /// Height in pixels.
        public var height: Int
        /// Width in pixels.
        public var width: Int

        /// A size of height × width pixels.
        public init(height: Int, width: Int) {
            self.height = height
            self.width = width
        }
    }

    private static let modelType = LlavaNextArchitecture().modelType

    /// The decoder.
    public var text: LlamaConfig
    /// The CLIP tower.
    public var vision: VisionTowerConfig
    /// Which of the tower's layers + 1 hidden states feeds the projector, counted from 0 (the
    /// embeddings); from 0 to `vision.layers`.
    public var featureLayer: Int
    /// Which of its tokens.
    public var featureStrategy: FeatureStrategy
    /// The projector's activation.
    public var projectorActivation: Activation
    /// Whether the projector's layers have biases.
    public var projectorBias: Bool
    /// The token that stands for image embeddings in a prompt.
    public var imageTokenID: Int
    /// Sizes that tiles may cover, in the file's order (it decides ties).
    public var pinpoints: [Pinpoint]

    /// From a checkpoint's `config.json`: the hub's form or the one transformers 5 writes.
    public init(json: JSONValue, file: String) throws {
        let reader = try ConfigReader(json, file: file)
        _ = try reader.choice("model_type", [Self.modelType], Self.modelType)
        text = try LlamaConfig(
            reader.section("text_config") ?? reader.emptySection("text_config"))
        // transformers ties by the outer flag alone; the decoder's own flag is not looked at.
        text.tiedHead = try reader.bool("tie_word_embeddings", false)
        let modelTypes = ["clip_vision_model", "clip"]
        if let section = try reader.section("vision_config") {
            vision = try VisionTowerConfig(
                section, defaults: Self.clipDefaults, modelTypes: modelTypes)
        } else {
            vision = Self.visionDefaults
        }
        featureLayer = try Self.featureLayer(reader, layers: vision.layers)
        let strategy = try reader.choice(
            "vision_feature_select_strategy", FeatureStrategy.allCases.map(\.rawValue), "default")
        featureStrategy = FeatureStrategy(rawValue: strategy) ?? .default
        guard featureStrategy == .default else {
            throw reader.wrong(
                "vision_feature_select_strategy",
                "\"default\" (transformers cannot run \"full\" for this model either)",
                reader.value("vision_feature_select_strategy"), .unsupported)
        }
        projectorActivation = try reader.activation(
            "projector_hidden_act", [.gelu, .quickGELU], .gelu)
        projectorBias = try reader.bool("multimodal_projector_bias", true)
        let key = reader.value("image_token_index") == nil ? "image_token_id" : "image_token_index"
        imageTokenID = try reader.integer(
            key, in: 0...(text.vocabularySize - 1),
            "a token id below vocab_size \(text.vocabularySize)",
            reader.value(key) == nil && 32000 < text.vocabularySize ? 32000 : nil)
        pinpoints = try Self.pinpoints(reader, tile: vision.imageSize)
        guard try reader.bool("use_image_newline_parameter", true) else {
            throw reader.wrong(
                "use_image_newline_parameter", "true",
                reader.value("use_image_newline_parameter"), .unsupported)
        }
    }

    /// transformers' `CLIPVisionConfig`: what keys default to that `vision_config` leaves out.
    static let clipDefaults = VisionTowerConfig(
        hiddenSize: 768, ffnSize: 3072, layers: 12, heads: 12, imageSize: 224, patchSize: 32,
        activation: .quickGELU, normEpsilon: 1e-5)

    /// The tower of a file without any `vision_config` (`LlavaNextConfig.sub_configs_defaults`).
    static let visionDefaults = VisionTowerConfig(
        hiddenSize: 1024, ffnSize: 4096, layers: 24, heads: 16, imageSize: 336, patchSize: 14,
        activation: .quickGELU, normEpsilon: 1e-5)

    private static func featureLayer(_ reader: ConfigReader, layers: Int) throws -> Int {
        let value = reader.value("vision_feature_layer") ?? .integer(-2)
        let states = layers + 1
        guard case .integer(let layer) = value, layer >= -states, layer < states
        else {
            throw reader.wrong(
                "vision_feature_layer", "one layer from \(-states) to \(layers)", value)
        }
        return layer < 0 ? states + layer : layer
    }

    private static func pinpoints(_ reader: ConfigReader, tile: Int) throws -> [Pinpoint] {
        let key = "image_grid_pinpoints"
        guard let value = reader.value(key) else {
            return [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
                .map { Pinpoint(height: $0[0], width: $0[1]) }
        }
        guard case .array(let rows) = value, !rows.isEmpty else {
            throw reader.wrong(key, "a list of [height, width]", value)
        }
        return try rows.map { row in
            let range = 1...65536
            guard case .array(let pair) = row, pair.count == 2,
                case .integer(let height) = pair[0], case .integer(let width) = pair[1],
                range.contains(height), range.contains(width)
            else { throw reader.wrong(key, "pairs [height, width] of positive integers", row) }
            guard height % tile == 0, width % tile == 0 else {
                throw InputError(
                    .badValue, file: reader.file, item: reader.item(key),
                    expected: "multiples of the tile's side \(tile)", found: "[\(height), \(width)]"
                )
            }
            return Pinpoint(height: height, width: width)
        }
    }

    /// From the metadata of a language and a vision GGUF file.
    public init(language: GGUFFile, vision file: GGUFFile) throws {
        let metadata = file.metadata
        try metadata.requireArchitecture(Self.modelType)
        text = try LlamaConfig(language)
        vision = try VisionTowerConfig(metadata)
        featureLayer = try metadata.integer("mmq.feature_layer", in: 0...vision.layers)
        let strategy = try metadata.string("mmq.feature_strategy")
        guard let known = FeatureStrategy(rawValue: strategy) else {
            throw InputError(
                .unsupported, file: file.path, item: "key 'mmq.feature_strategy'",
                expected: "default or full", found: strategy)
        }
        featureStrategy = known
        projectorActivation = try metadata.activation(
            "mmq.projector.activation", [.gelu, .quickGELU])
        projectorBias = try metadata.bool("mmq.projector.bias")
        // A language file of another program may have no row for the image token; none is needed.
        imageTokenID = try metadata.integer("mmq.image_token_id", in: 0...Int(Int32.max))
        let numbers = try metadata.integers("clip.vision.image_grid_pinpoints")
        let tile = vision.imageSize
        guard !numbers.isEmpty, numbers.count % 2 == 0,
            numbers.allSatisfy({ (1...65536).contains($0) && $0 % tile == 0 })
        else {
            throw InputError(
                .badValue, file: file.path, item: "key 'clip.vision.image_grid_pinpoints'",
                expected: "pairs of multiples of \(tile)", found: "\(numbers.prefix(8))")
        }
        pinpoints = stride(from: 0, to: numbers.count, by: 2)
            .map { Pinpoint(height: numbers[$0], width: numbers[$0 + 1]) }
    }

    /// The vision file's metadata about the model: llama.cpp's names where it has them.
    public var visionMetadata: [(key: String, value: GGUFValue)] {
        let flat = pinpoints.flatMap { [Int32($0.height), Int32($0.width)] }
        return [
            ("mmq.architecture", .string(Self.modelType)),
            ("clip.projector_type", .string("mlp")),
            ("clip.has_llava_projector", .bool(true)),
        ] + vision.metadata + [
            ("clip.vision.projection_dim", .uint32(UInt32(text.hiddenSize))),
            ("clip.vision.feature_layer", .int32s([Int32(featureLayer)])),
            ("clip.vision.mm_patch_merge_type", .string("spatial_unpad")),
            ("clip.vision.image_grid_pinpoints", .int32s(flat)),
            ("mmq.feature_layer", .uint32(UInt32(featureLayer))),
            ("mmq.feature_strategy", .string(featureStrategy.rawValue)),
            ("mmq.projector.activation", .string(projectorActivation.rawValue)),
            ("mmq.projector.bias", .bool(projectorBias)),
            ("mmq.image_token_id", .uint32(UInt32(imageTokenID))),
        ]
    }
}
