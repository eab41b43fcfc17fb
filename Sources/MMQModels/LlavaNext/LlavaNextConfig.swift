import MMQBase
import MMQFormats

/// What a LLaVA-Next model is: its `config.json`, or the metadata of the two GGUF files made of it.
///
/// Defaults are those of transformers' `LlavaNextConfig`.
public struct LlavaNextConfig: Sendable, Encodable, Equatable {
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
    static let pinpointsKey = "clip.vision.image_grid_pinpoints"

    /// What it has in common with other LLaVA models.
    public var core: LlavaCore
    /// Sizes that tiles may cover, in the file's order (it decides ties).
    public var pinpoints: [Pinpoint]

    private enum CodingKeys: String, CodingKey { case pinpoints }

    /// One object, as if there were no parts.
    public func encode(to encoder: any Encoder) throws {
        try core.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(pinpoints, forKey: .pinpoints)
    }

    /// From a checkpoint's `config.json`: the hub's form or the one transformers 5 writes.
    public init(json: JSONValue, file: String) throws {
        let reader = try ConfigReader(json, file: file)
        core = try LlavaCore(reader, modelType: Self.modelType)
        // transformers ties by the outer flag alone; the decoder's own flag is not looked at.
        core.text.tiedHead = try reader.bool("tie_word_embeddings", false)
        guard core.featureStrategy == .default else {
            throw reader.wrong(
                "vision_feature_select_strategy",
                "\"default\" (transformers cannot run \"full\" for this model either)",
                reader.value("vision_feature_select_strategy"), .unsupported)
        }
        pinpoints = try Self.pinpoints(reader, tile: core.vision.imageSize)
        guard try reader.bool("use_image_newline_parameter", true) else {
            throw reader.wrong(
                "use_image_newline_parameter", "true",
                reader.value("use_image_newline_parameter"), .unsupported)
        }
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
        core = try LlavaCore(language: language, vision: file, modelType: Self.modelType)
        let numbers = try file.metadata.integers(Self.pinpointsKey)
        let tile = core.vision.imageSize
        guard !numbers.isEmpty, numbers.count % 2 == 0,
            numbers.allSatisfy({ (1...65536).contains($0) && $0 % tile == 0 })
        else {
            throw InputError(
                .badValue, file: file.path, item: "key '\(Self.pinpointsKey)'",
                expected: "pairs of multiples of \(tile)", found: "\(numbers.prefix(8))")
        }
        pinpoints = stride(from: 0, to: numbers.count, by: 2)
            .map { Pinpoint(height: numbers[$0], width: numbers[$0 + 1]) }
    }

    /// The vision file's metadata about the model.
    public var visionMetadata: [(key: String, value: GGUFValue)] {
        let flat = pinpoints.flatMap { [Int32($0.height), Int32($0.width)] }
        return core.metadata(
            modelType: Self.modelType, mergeType: "spatial_unpad",
            packing: [(Self.pinpointsKey, .int32s(flat))])
    }
}
