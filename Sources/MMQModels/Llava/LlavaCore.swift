import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQText

/// What the configurations of all LLaVA models say, from `config.json` or from the metadata of the two
/// GGUF files made of it.
public struct LlavaCore: Sendable, Codable, Equatable {
    /// Which of a tile's tokens go on to the projector.
    public enum FeatureStrategy: String, Sendable, Codable, CaseIterable {
        /// All but the class token.
        case `default`
        /// All.
        case full
    }

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

    /// From a checkpoint's `config.json`: the hub's form or the one transformers 5 writes.
    init(_ reader: ConfigReader, modelType: String) throws {
        _ = try reader.choice("model_type", [modelType], modelType)
        text = try LlamaConfig(
            reader.section("text_config") ?? reader.emptySection("text_config"))
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
        projectorActivation = try reader.activation(
            "projector_hidden_act", [.gelu, .quickGELU], .gelu)
        projectorBias = try reader.bool("multimodal_projector_bias", true)
        let key = reader.value("image_token_index") == nil ? "image_token_id" : "image_token_index"
        imageTokenID = try reader.integer(
            key, in: 0...(text.vocabularySize - 1),
            "a token id below vocab_size \(text.vocabularySize)",
            reader.value(key) == nil && 32000 < text.vocabularySize ? 32000 : nil)
    }

    /// transformers' `CLIPVisionConfig`: what keys default to that `vision_config` leaves out.
    static let clipDefaults = VisionTowerConfig(
        hiddenSize: 768, ffnSize: 3072, layers: 12, heads: 12, imageSize: 224, patchSize: 32,
        activation: .quickGELU, normEpsilon: 1e-5)

    /// The tower of a file without any `vision_config` (`sub_configs_defaults` of both
    /// configurations in transformers).
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

    /// From the metadata of a language and a vision GGUF file.
    init(language: GGUFFile, vision file: GGUFFile, modelType: String) throws {
        let metadata = file.metadata
        try metadata.requireArchitecture(modelType)
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
    }

    /// Keys of the vision file that are no tower's and do not begin with `mmq.`.
    static let metadataKeys = [
        "clip.has_llava_projector", "clip.vision.feature_layer", "clip.vision.mm_patch_merge_type",
    ]

    /// The vision file's metadata: llama.cpp's names where it has them.
    ///
    /// - Parameter packing: what is special about how features are packed.
    func metadata(
        modelType: String, mergeType: String, packing: [(key: String, value: GGUFValue)] = []
    ) -> [(key: String, value: GGUFValue)] {
        [
            ("mmq.architecture", .string(modelType)),
            ("clip.projector_type", .string("mlp")),
            ("clip.has_llava_projector", .bool(true)),
        ] + vision.metadata + [
            ("clip.vision.projection_dim", .uint32(UInt32(text.hiddenSize))),
            ("clip.vision.feature_layer", .int32s([Int32(featureLayer)])),
            ("clip.vision.mm_patch_merge_type", .string(mergeType)),
        ] + packing + [
            ("mmq.feature_layer", .uint32(UInt32(featureLayer))),
            ("mmq.feature_strategy", .string(featureStrategy.rawValue)),
            ("mmq.projector.activation", .string(projectorActivation.rawValue)),
            ("mmq.projector.bias", .bool(projectorBias)),
            ("mmq.image_token_id", .uint32(UInt32(imageTokenID))),
        ]
    }

    /// The decoder, the tower with the layers behind the feature layer, and the projector, whose
    /// one layer has as many neurons as the decoder's stream is wide.
    var modules: [ModuleShape] {
        LlavaModule.allCases.map { module in
            let (layers, neurons) =
                switch module {
                case .lang: (text.layers, text.ffnSize)
                case .vision: (vision.layers, vision.ffnSize)
                case .mmproj: (1, text.hiddenSize)
                }
            return ModuleShape(name: module.name, layers: layers, neurons: neurons)
        }
    }

    /// Checks that a picture processor's tiles are what the tower takes.
    func check(_ tile: PixelSize, file: String) throws {
        try vision.check(tile, what: "tiles", file: file)
    }

    /// One tokenizer, which has to know `<image>`: placeholders in a prompt become its id, and
    /// features replace it.
    func tokenizers(checkpoint folder: String) throws -> CheckpointTokenizers {
        let tables = try TokenizerTables.load(folder: folder, reading: .asStored)
        let image = Array(PromptText.image.utf8)
        guard tables.pieces.indices.contains(imageTokenID), tables.pieces[imageTokenID] == image
        else {
            let id = tables.pieces.firstIndex(of: image)
            throw InputError(
                .badValue, file: CheckpointFolder(path: folder).file("config.json"),
                item: "key 'image_token_index'",
                expected: id.map { "\($0), the tokenizer's id of '\(PromptText.image)'" }
                    ?? "a tokenizer that knows '\(PromptText.image)'",
                found: "\(imageTokenID)")
        }
        return CheckpointTokenizers(language: tables)
    }
}
