import Foundation
import MMQBase
import MMQFormats

/// What a model folder, a checkpoint folder or a single file holds, for `mmq inspect`.
public struct Inspection: Encodable, Sendable {
    /// What a path names.
    public enum Kind: String, Encodable, Sendable {
        /// A folder made by `convert`.
        case model
        /// A Hugging Face folder.
        case checkpoint
        /// A single GGUF file.
        case gguf
        /// A single safetensors file.
        case safetensors
    }

    /// A tensor of a file.
    public struct Tensor: Encodable, Sendable {
        /// Its name.
        public let name: String
        /// Its element type.
        public let type: String
        /// Its shape, rows first.
        public let shape: [Int]
        /// Its size in bytes.
        public let bytes: Int
    }

    /// How many tensors of one type a file has.
    public struct TypeTotal: Encodable, Sendable {
        /// The element type.
        public let type: String
        /// Tensors of it.
        public var tensors: Int
        /// Their bytes.
        public var bytes: Int
    }

    /// One file.
    public struct File: Encodable, Sendable {
        /// Its path.
        public let path: String
        /// "GGUF 3" or "safetensors".
        public let format: String
        /// Its size in bytes.
        public let bytes: Int
        /// Metadata keys in order, with short values.
        public let metadata: [Entry]
        /// Its tensors in order.
        public let tensors: [Tensor]
        /// Totals by type, the largest first.
        public let types: [TypeTotal]
        /// Bits that a weight takes, of all matrices and of each group of them.
        public let bits: [WeightBits]
        /// Keys that mmq does not know (and does not need).
        public let unknownKeys: [String]
    }

    /// A metadata key and its value in short.
    public struct Entry: Encodable, Sendable {
        /// The key.
        public let key: String
        /// The value, cut if it is long.
        public let value: String
    }

    /// A configuration: of a model, of a language file alone or of a judge.
    public struct Configuration: Encodable, Sendable {
        private let content: any Encodable & Sendable

        init(_ content: any Encodable & Sendable) { self.content = content }

        /// The configuration itself, without a wrapper.
        public func encode(to encoder: any Encoder) throws { try content.encode(to: encoder) }
    }

    /// Version of the JSON document.
    public let schema = 1
    /// The path, as given.
    public let path: String
    /// What it names.
    public let kind: Kind
    /// The model's type (`llama` of a language file alone); nil where nothing says.
    public let architecture: String?
    /// The configuration, where the files give one.
    public let config: Configuration?
    /// The files.
    public let files: [File]
    /// What keeps the model from being run or converted: missing or surplus tensors, wrong shapes.
    public let problems: [String]

    /// Looks at a path. A file that is broken in itself is an error.
    public init(path: String) throws {
        self.path = path
        guard let inFolder = isFolder(path) else {
            throw InputError(
                .unreadable, file: path, expected: "a folder or file", found: "nothing")
        }
        if inFolder {
            if CheckpointFolder(path: path).has("config.json") {
                kind = .checkpoint
                (architecture, config, files, problems) = try Self.checkpoint(path)
            } else {
                kind = .model
                let model = try Self.model(path)
                (architecture, config, files, problems) = model
            }
        } else if path.hasSuffix(".safetensors") {
            kind = .safetensors
            (architecture, config, problems) = (nil, nil, [])
            files = [Self.report(try SafetensorsFile(path: path))]
        } else {
            kind = .gguf
            (architecture, config, files, problems) = try Self.gguf(path)
        }
    }

    private typealias Parts = (String?, Configuration?, [File], [String])

    private static func checkpoint(_ path: String) throws -> Parts {
        if try JudgeConverter.accepts(checkpoint: path) { return try judgeCheckpoint(path) }
        let model = try Architectures.configuration(
            configFile: CheckpointFolder(path: path).file("config.json"))
        let checkpoint = try SafetensorsCheckpoint(folder: path)
        let problems = attempt {
            _ = try ConversionPlan(
                model: model, checkpoint: checkpoint, language: WeightTypes(.f32), vision: .f32)
        }
        return (
            model.architecture.modelType, Configuration(model), checkpoint.files.map(report),
            problems
        )
    }

    private static func judgeCheckpoint(_ path: String) throws -> Parts {
        let file = CheckpointFolder(path: path).file("config.json")
        let config = try LingoJudgeConfig(json: JSONValue(file: file), file: file)
        let problems = attempt {
            _ = try ConversionPlan(judge: config, folder: path, type: .f32)
        }
        return (
            LingoJudgeConfig.architecture, Configuration(config),
            try SafetensorsCheckpoint(folder: path).files.map(report), problems
        )
    }

    private static func model(_ path: String) throws -> Parts {
        if let judge = try? ModelFiles.file(.judge, in: path) { return try gguf(judge) }
        let language = try GGUFFile(path: ModelFiles.file(.language, in: path))
        let vision = try GGUFFile(path: ModelFiles.file(.vision, in: path))
        let files = [report(language), report(vision)]
        let model = try Architectures.configuration(language: language, vision: vision)
        let problems = attempt { _ = try ModelFiles(folder: path) }
        return (model.architecture.modelType, Configuration(model), files, problems)
    }

    private static func gguf(_ path: String) throws -> Parts {
        let file = try GGUFFile(path: path)
        if file.metadata["mmq.architecture"]?.text == LingoJudgeConfig.architecture {
            var config: LingoJudgeConfig?
            let problems = attempt {
                let judge = try LingoJudgeConfig(file)
                config = judge
                try ModelFiles.check(file, TensorTable(judge).rows)
            }
            return (
                LingoJudgeConfig.architecture, config.map(Configuration.init), [report(file)],
                problems
            )
        }
        guard file.metadata["general.architecture"]?.text == "llama" else {
            let architecture =
                file.metadata["mmq.architecture"] ?? file.metadata["general.architecture"]
            return (architecture?.text, nil, [report(file)], [])
        }
        var config: LlamaConfig?
        let problems = attempt {
            let llama = try LlamaConfig(file)
            config = llama
            var table = TensorTable()
            table.addLlama(llama, prefixes: [""], heads: [""], hasHead: !llama.tiedHead)
            try ModelFiles.check(file, table.rows)
        }
        return ("llama", config.map(Configuration.init), [report(file)], problems)
    }

    private static func attempt(_ work: () throws -> Void) -> [String] {
        do {
            try work()
            return []
        } catch {
            return ["\(error)"]
        }
    }

    private static func report(_ file: SafetensorsFile) -> File {
        let tensors = file.tensors.map {
            Tensor(name: $0.name, type: $0.type.rawValue, shape: $0.shape, bytes: $0.byteCount)
        }
        let metadata = file.metadata.sorted { $0.key < $1.key }
        return File(
            path: file.path, format: "safetensors", bytes: file.byteCount,
            metadata: metadata.map { Entry(key: $0.key, value: $0.value) }, tensors: tensors,
            types: totals(tensors), bits: bits(tensors), unknownKeys: [])
    }

    private static func report(_ file: GGUFFile) -> File {
        let tensors = file.tensors.map {
            Tensor(name: $0.name, type: $0.type.name, shape: $0.shape, bytes: $0.byteCount)
        }
        return File(
            path: file.path, format: "GGUF \(file.version)", bytes: file.byteCount,
            metadata: file.metadata.members.map { Entry(key: $0.key, value: $0.value.summary) },
            tensors: tensors, types: totals(tensors), bits: bits(tensors),
            unknownKeys: file.metadata.keys.filter { !KnownKeys.contains($0) })
    }

    private static func bits(_ tensors: [Tensor]) -> [WeightBits] {
        WeightBits.of(tensors.lazy.map { ($0.name, $0.shape, $0.bytes) })
    }

    private static func totals(_ tensors: [Tensor]) -> [TypeTotal] {
        var totals: [String: TypeTotal] = [:]
        for tensor in tensors {
            var total = totals[tensor.type] ?? TypeTotal(type: tensor.type, tensors: 0, bytes: 0)
            total.tensors += 1
            total.bytes += tensor.bytes
            totals[tensor.type] = total
        }
        return totals.values.sorted { ($1.bytes, $0.type) < ($0.bytes, $1.type) }
    }
}

/// Metadata keys that mmq writes or reads.
enum KnownKeys {
    /// Keys by their beginning, where every key of the group is harmless or read.
    private static let prefixes = ["general.", "imatrix.", "mmq."]

    private static let keys = Set(Architectures.all.flatMap(\.metadataKeys)).union([
        "llama.block_count", "llama.context_length", "llama.embedding_length",
        "llama.feed_forward_length", "llama.attention.head_count",
        "llama.attention.head_count_kv", "llama.attention.key_length",
        "llama.attention.value_length", "llama.attention.layer_norm_rms_epsilon",
        "llama.rope.freq_base", "llama.rope.dimension_count", "llama.rope.scaling.type",
        "llama.vocab_size", "llama.expert_count",
        "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
        "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id",
        "tokenizer.ggml.padding_token_id", "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_space_prefix",
        "clip.projector_type", "clip.has_vision_encoder",
        "clip.use_gelu", "clip.vision.image_size", "clip.vision.patch_size",
        "clip.vision.embedding_length", "clip.vision.feed_forward_length",
        "clip.vision.block_count", "clip.vision.attention.head_count",
        "clip.vision.attention.layer_norm_epsilon", "clip.vision.projection_dim",
        "clip.vision.image_mean", "clip.vision.image_std",
    ])

    static func contains(_ key: String) -> Bool {
        keys.contains(key) || prefixes.contains { key.hasPrefix($0) }
    }
}
