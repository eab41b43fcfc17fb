import CSIMD
import MMQFormats

/// The files of a model folder: a language and a vision file, or a judge's one.
public enum ModelFileRole: String, Sendable, Codable, CaseIterable {
    /// The decoder: a plain `llama` GGUF.
    case language
    /// Vision tower, projector or Q-Former, tokenizers and processor constants.
    case vision
    /// All of a judge: it is no vision-language model, and has a folder of its own.
    case judge
}

/// How a tensor may be stored.
public enum TensorKind: Sendable, Equatable {
    /// A linear layer's weight [outputs, inputs]: takes the type that the user asked for.
    case matrix
    /// A token embedding table or output head [tokens, hidden]: as a matrix, but q8_0 where the
    /// rest takes four bits.
    case embedding
    /// A convolution's kernel: f32 where that was asked for, else f16 (or bf16).
    case kernel
    /// Norms, biases, positions and other small things: always f32.
    case plain
}

/// One tensor of a model: its name in the GGUF file, where it comes from, its shape and how it may
/// be stored. The converter, the loader and `inspect` all read the same rows.
public struct TensorRow: Sendable, Equatable {
    /// The name in the GGUF file.
    public let name: String
    /// The file that holds it.
    public let role: ModelFileRole
    /// Names in a checkpoint, the hub's first.
    public let sources: [String]
    /// The shape in the GGUF file, rows first.
    public let shape: [Int]
    /// The shape in a checkpoint (before `sourceRows` are taken), rows first.
    public let sourceShape: [Int]
    /// The rows of the source that this tensor is made of; nil for all.
    public let sourceRows: Range<Int>?
    /// How it may be stored.
    public let kind: TensorKind
    /// Query or key heads whose rows are interleaved, as GGUF's `llama` wants them; nil for none.
    ///
    /// Row 2 i + j of a head comes from row j · headDim / 2 + i, j in {0, 1}.
    public let permutedHeads: Int?

    /// Rows of the tensor seen as a matrix; 1 for a vector.
    public var rows: Int { shape.count > 1 ? shape[0] : 1 }
    /// Columns of the tensor seen as a matrix: the product of all dimensions but the first.
    public var cols: Int { shape.count > 1 ? shape[1...].reduce(1, *) : shape.first ?? 1 }
}

/// All tensors of one model, exhaustively: a tensor that is not here is an error.
public struct TensorTable: Sendable, Equatable {
    /// The rows, in the order in which they are written.
    public private(set) var rows: [TensorRow] = []
    /// Ends of checkpoint names that carry no weights (buffers that older versions stored).
    public let ignoredSuffixes = [
        ".rotary_emb.inv_freq", ".embeddings.position_ids", ".attention.masked_bias",
    ]

    /// An empty table.
    public init() {}

    /// The rows of one file.
    public func rows(_ role: ModelFileRole) -> [TensorRow] { rows.filter { $0.role == role } }

    /// Whether a checkpoint's tensor is a known buffer without weights.
    public func ignores(_ source: String) -> Bool {
        ignoredSuffixes.contains { source.hasSuffix($0) || source == $0.dropFirst() }
    }

    /// Adds a row.
    ///
    /// - Parameters:
    ///   - shape: the shape in the GGUF file.
    ///   - sourceShape: the checkpoint's, where it differs.
    mutating func add(
        _ name: String, _ role: ModelFileRole, _ sources: [String], _ shape: [Int],
        _ kind: TensorKind, sourceShape: [Int]? = nil, sourceRows: Range<Int>? = nil,
        permutedHeads: Int? = nil
    ) {
        rows.append(
            TensorRow(
                name: name, role: role, sources: sources, shape: shape,
                sourceShape: sourceShape ?? shape, sourceRows: sourceRows, kind: kind,
                permutedHeads: permutedHeads))
    }

    /// Adds a layer's weight (a plain one for norms) and its bias.
    mutating func addLayer(
        _ name: String, _ role: ModelFileRole, _ sources: [String], outputs: Int, inputs: Int?,
        bias: Bool = true
    ) {
        let shape = inputs.map { [outputs, $0] } ?? [outputs]
        add(
            name + ".weight", role, sources.map { $0 + ".weight" }, shape,
            inputs == nil ? .plain : .matrix)
        if bias { add(name + ".bias", role, sources.map { $0 + ".bias" }, [outputs], .plain) }
    }

    /// Adds the decoder's rows.
    ///
    /// - Parameters:
    ///   - prefixes: what stands before `layers.0...` and `embed_tokens` in a checkpoint.
    ///   - heads: names of the output head in a checkpoint.
    ///   - hasHead: whether there is an output head apart from the embedding table.
    mutating func addLlama(
        _ config: LlamaConfig, prefixes: [String], heads: [String], hasHead: Bool
    ) {
        func names(_ tail: String) -> [String] { prefixes.map { $0 + tail } }
        let hidden = config.hiddenSize
        let queries = config.heads * config.headDim
        let keys = config.kvHeads * config.headDim
        let table = [config.vocabularySize, hidden]
        // A tied checkpoint may hold the one table under either name.
        let tables = names("embed_tokens.weight") + (hasHead ? [] : heads)
        add("token_embd.weight", .language, tables, table, .embedding)
        for layer in 0..<config.layers {
            let block = "blk.\(layer)."
            func source(_ tail: String) -> [String] { names("layers.\(layer).\(tail).weight") }
            func matrix(
                _ name: String, _ tail: String, _ outputs: Int, _ inputs: Int, heads: Int? = nil
            ) {
                add(
                    block + name + ".weight", .language, source(tail), [outputs, inputs], .matrix,
                    permutedHeads: heads)
            }
            add(block + "attn_norm.weight", .language, source("input_layernorm"), [hidden], .plain)
            matrix("attn_q", "self_attn.q_proj", queries, hidden, heads: config.heads)
            matrix("attn_k", "self_attn.k_proj", keys, hidden, heads: config.kvHeads)
            matrix("attn_v", "self_attn.v_proj", keys, hidden)
            matrix("attn_output", "self_attn.o_proj", hidden, queries)
            add(
                block + "ffn_norm.weight", .language, source("post_attention_layernorm"), [hidden],
                .plain)
            matrix("ffn_gate", "mlp.gate_proj", config.ffnSize, hidden)
            matrix("ffn_up", "mlp.up_proj", config.ffnSize, hidden)
            matrix("ffn_down", "mlp.down_proj", hidden, config.ffnSize)
        }
        add("output_norm.weight", .language, names("norm.weight"), [hidden], .plain)
        if hasHead { add("output.weight", .language, heads, table, .embedding) }
    }

    /// Adds the rows of a CLIP tower, all layers, also those that only a counting pass runs.
    ///
    /// - Parameter prefixes: what stands before `embeddings` and `encoder` in a checkpoint.
    mutating func addCLIPTower(_ vision: VisionTowerConfig, prefixes: [String]) {
        func names(_ tail: String) -> [String] { prefixes.map { $0 + tail } }
        let hidden = vision.hiddenSize
        add("v.class_embd", .vision, names("embeddings.class_embedding"), [hidden], .plain)
        add(
            "v.patch_embd.weight", .vision, names("embeddings.patch_embedding.weight"),
            [hidden, 3, vision.patchSize, vision.patchSize], .kernel)
        add(
            "v.position_embd.weight", .vision, names("embeddings.position_embedding.weight"),
            [vision.tokens, hidden], .plain)
        addLayer("v.pre_ln", .vision, names("pre_layrnorm"), outputs: hidden, inputs: nil)
        for layer in 0..<vision.layers {
            func add(_ name: String, _ tail: String, _ outputs: Int, _ inputs: Int?) {
                addLayer(
                    "v.blk.\(layer).\(name)", .vision, names("encoder.layers.\(layer).\(tail)"),
                    outputs: outputs, inputs: inputs)
            }
            add("ln1", "layer_norm1", hidden, nil)
            add("attn_q", "self_attn.q_proj", hidden, hidden)
            add("attn_k", "self_attn.k_proj", hidden, hidden)
            add("attn_v", "self_attn.v_proj", hidden, hidden)
            add("attn_out", "self_attn.out_proj", hidden, hidden)
            add("ln2", "layer_norm2", hidden, nil)
            add("ffn_up", "mlp.fc1", vision.ffnSize, hidden)
            add("ffn_down", "mlp.fc2", hidden, vision.ffnSize)
        }
        addLayer("v.post_ln", .vision, names("post_layernorm"), outputs: hidden, inputs: nil)
    }
}
