import Foundation
import MMQBase
import MMQFormats

/// What a Lingo-Judge is: its `config.json`, or the metadata of the GGUF file made of it.
///
/// A DeBERTa-v3 (`model_type` deberta-v2) that scores a text with one number. Defaults are those of
/// transformers' `DebertaV2Config`; of its many forms only DeBERTa-v3's is supported: relative
/// positions alone, both ways, through the keys and queries of the content.
public struct LingoJudgeConfig: Sendable, Codable, Equatable {
    /// `mmq.architecture` in the file, and `model_type` in `config.json`.
    public static let architecture = "deberta-v2"

    /// Width of a token's state.
    public var hiddenSize: Int
    /// Neurons of an MLP.
    public var ffnSize: Int
    /// Layers.
    public var layers: Int
    /// Attention heads.
    public var heads: Int
    /// Added to the variance in every LayerNorm.
    public var normEpsilon: Float
    /// Rows of the embedding table.
    public var vocabularySize: Int
    /// Rows of the token type table, 0 for none; every token is of type 0.
    public var tokenTypes: Int
    /// Buckets of distances, the farther half of them logarithmic; 0: every distance has its own.
    public var positionBuckets: Int
    /// The greatest distance that is told apart from greater ones.
    public var maximumDistance: Int
    /// Whether the embeddings of distances pass a LayerNorm.
    public var normsPositions: Bool

    /// Size of a head.
    public var headDim: Int { hiddenSize / heads }
    /// Half the rows of the table of distances: place 0 ... span - 1 are negative distances.
    public var span: Int { positionBuckets > 0 ? positionBuckets : maximumDistance }

    /// From a checkpoint's `config.json`.
    public init(json: JSONValue, file: String) throws {
        let reader = try ConfigReader(json, file: file)
        _ = try reader.choice("model_type", [Self.architecture], Self.architecture)
        hiddenSize = try reader.positive("hidden_size", 1536)
        ffnSize = try reader.positive("intermediate_size", 6144)
        layers = try reader.layers("num_hidden_layers", 24)
        heads = try reader.positive("num_attention_heads", 24)
        normEpsilon = try reader.positiveNumber("layer_norm_eps", 1e-7)
        vocabularySize = try reader.positive("vocab_size", 128100)
        tokenTypes = try reader.integer(
            "type_vocab_size", in: 0...Int(Int32.max), "a number of token types", 0)
        let distances = try Self.integer(reader, "max_relative_positions") ?? -1
        let positions = try reader.positive("max_position_embeddings", 512)
        maximumDistance = distances < 1 ? positions : distances
        positionBuckets = max(0, try Self.integer(reader, "position_buckets") ?? -1)
        let norms = try Self.words(reader, "norm_rel_ebd") ?? ["none"]
        normsPositions = norms.contains("layer_norm")

        _ = try reader.activation("hidden_act", [.gelu], .gelu)
        _ = try reader.activation("pooler_hidden_act", [.gelu], .gelu)
        for (key, wanted, fallback) in [
            ("relative_attention", true, false), ("share_att_key", true, false),
            ("position_biased_input", false, true),
        ] where try reader.bool(key, fallback) != wanted {
            throw reader.wrong(
                key, "\(wanted), as in DeBERTa-v3", reader.value(key) ?? .bool(fallback),
                .unsupported)
        }
        guard Set(try Self.words(reader, "pos_att_type") ?? []) == ["c2p", "p2c"] else {
            throw reader.wrong(
                "pos_att_type", "\"p2c\" and \"c2p\"", reader.value("pos_att_type"), .unsupported)
        }
        for key in ["embedding_size", "pooler_hidden_size"]
        where try reader.positive(key, hiddenSize) != hiddenSize {
            throw reader.wrong(
                key, "hidden_size \(hiddenSize)", reader.value(key), .unsupported)
        }
        if try Self.integer(reader, "conv_kernel_size") ?? 0 > 0 {
            throw reader.wrong(
                "conv_kernel_size", "0, as in DeBERTa-v3", reader.value("conv_kernel_size"),
                .unsupported)
        }
        try Self.requireOneLabel(reader)
        if let problem { throw reader.wrong(problem.key, problem.expected, json, .badValue) }
    }

    /// From a judge's GGUF file.
    public init(_ file: GGUFFile) throws {
        let metadata = file.metadata
        func integer(_ key: String, _ range: ClosedRange<Int>) throws -> Int {
            try metadata.integer(Self.prefix + key, in: range)
        }
        let sizes = 1...Int(Int32.max)
        hiddenSize = try integer("hidden_size", sizes)
        ffnSize = try integer("ffn_size", sizes)
        layers = try integer("layers", ConfigReader.layerRange)
        heads = try integer("heads", sizes)
        normEpsilon = try metadata.float(Self.prefix + "norm_epsilon")
        vocabularySize = try integer("vocabulary_size", sizes)
        tokenTypes = try integer("token_types", 0...Int(Int32.max))
        positionBuckets = try integer("position_buckets", 0...Int(Int32.max))
        maximumDistance = try integer("maximum_distance", sizes)
        normsPositions = try metadata.bool(Self.prefix + "norms_positions")
        if let problem {
            throw InputError(
                .badValue, file: file.path, item: "key '\(Self.prefix)*'",
                expected: problem.expected, found: "others")
        }
    }

    private static let prefix = "mmq.judge."

    /// The file's metadata about the model.
    var metadata: [(key: String, value: GGUFValue)] {
        func size(_ number: Int) -> GGUFValue { .uint32(UInt32(clamping: number)) }
        let members: [(key: String, value: GGUFValue)] = [
            ("hidden_size", size(hiddenSize)), ("ffn_size", size(ffnSize)),
            ("layers", size(layers)), ("heads", size(heads)),
            ("norm_epsilon", .float32(normEpsilon)), ("vocabulary_size", size(vocabularySize)),
            ("token_types", size(tokenTypes)), ("position_buckets", size(positionBuckets)),
            ("maximum_distance", size(maximumDistance)),
            ("norms_positions", .bool(normsPositions)),
        ]
        return [("mmq.architecture", .string(Self.architecture))]
            + members.map { (Self.prefix + $0.key, $0.value) }
    }

    /// What the numbers contradict, if they do.
    private var problem: (key: String, expected: String)? {
        let limit = 1 << 20  // far beyond any model; products of sizes stay small
        guard hiddenSize <= limit, ffnSize <= limit, heads <= hiddenSize, hiddenSize % heads == 0
        else { return ("num_attention_heads", "a divisor of hidden_size \(hiddenSize)") }
        guard span <= limit else { return ("position_buckets", "at most \(limit) buckets") }
        guard positionBuckets == 0 || positionBuckets >= 4 else {
            return ("position_buckets", "at least 4 buckets, or none")
        }
        // The logarithmic half needs distances to tell apart.
        guard positionBuckets == 0 || maximumDistance - 1 > positionBuckets / 2 else {
            return ("max_relative_positions", "more than half the buckets")
        }
        return nil
    }

    private static func requireOneLabel(_ reader: ConfigReader) throws {
        let key = reader.value("id2label") == nil ? "num_labels" : "id2label"
        let labels: Int
        if case .object(let object) = reader.value(key) {
            labels = object.keys.count
        } else {
            labels = try reader.positive("num_labels", 2)
        }
        guard labels == 1 else {
            throw reader.wrong(
                key, "one label: a judge gives one number", reader.value(key), .unsupported)
        }
    }

    /// An integer, negative ones too; nil if it is missing.
    private static func integer(_ reader: ConfigReader, _ key: String) throws -> Int? {
        guard reader.value(key) != nil else { return nil }
        return try reader.integer(key, in: -1...Int(Int32.max), "an integer from -1 on")
    }

    /// A list of words, or one string of words with `|` between them.
    private static func words(_ reader: ConfigReader, _ key: String) throws -> [String]? {
        switch reader.value(key) {
        case nil: return nil
        case .string(let text):
            return text.lowercased().split(separator: "|").map {
                $0.trimmingCharacters(in: .whitespaces)
            }
        case .array(let values):
            return try values.map {
                guard case .string(let word) = $0 else {
                    throw reader.wrong(key, "a list of strings", $0)
                }
                return word
            }
        case let value: throw reader.wrong(key, "a string or a list of strings", value)
        }
    }

    // MARK: Positions

    /// The bucket of a distance (query's place minus key's): up to `buckets / 2` the distance
    /// itself, from there on logarithmic up to `maximum` - 1, which falls into `buckets` - 1.
    ///
    /// In f32 as `make_log_bucket_position` of transformers computes it.
    static func bucket(_ distance: Int, buckets: Int, maximum: Int) -> Int {
        let middle = buckets / 2
        guard abs(distance) > middle else { return distance }
        let farthest = Float(Double(maximum - 1) / Double(middle))
        let place =
            (log(Float(abs(distance)) / Float(middle)) / log(farthest) * Float(middle - 1))
            .rounded(.up)
        return (Int(place) + middle) * distance.signum()
    }

    /// The row of the table of distances for a distance.
    func row(distance: Int) -> Int {
        let place =
            positionBuckets > 0
            ? Self.bucket(distance, buckets: positionBuckets, maximum: maximumDistance) : distance
        return min(max(place + span, 0), 2 * span - 1)
    }
}
