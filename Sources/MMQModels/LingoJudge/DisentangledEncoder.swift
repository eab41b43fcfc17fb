import CSIMD

/// DeBERTa-v3's encoder: post-norm transformer layers whose attention adds to the product of two
/// contents those of content and distance, both ways round (He et al., 2021).
///
/// The score of query i and key j, at distance i - j, is
/// (q_i · k_j + q_i · k(P[i - j]) + k_j · q(P[i - j])) / sqrt(3 headDim), P the embeddings of
/// distances, k(P) and q(P) their projections by the layer's own key and query weights.
struct DisentangledEncoder {
    private struct Layer {
        let query: Linear
        let key: Linear
        let value: Linear
        let output: Linear
        let attentionNorm: ViTEncoder.Norm
        let up: Linear
        let down: Linear
        let norm: ViTEncoder.Norm
        /// The projected distances, [heads, rows, headDim].
        let keyPositions: FloatBuffer
        let queryPositions: FloatBuffer
    }

    /// Scratch memory of one head.
    private struct Scratch {
        let key: FloatBuffer  // [tokens, headDim]
        let value: FloatBuffer  // [headDim, tokens]
        let scores: FloatBuffer  // [tokens, tokens]
        let contentToPosition: FloatBuffer  // [tokens, rows]
        let positionToContent: FloatBuffer  // [tokens, rows]
    }

    private let config: LingoJudgeConfig
    private let maximumTokens: Int
    private let words: csimd_matrix
    private let tokenType: UnsafePointer<Float>?
    private let embeddingNorm: ViTEncoder.Norm
    private var layers: [Layer] = []
    /// Where the projections have the row of distance d: at d + maximumTokens - 1.
    private let rowOfDistance: [Int]
    /// How many rows of the table of distances a sequence can reach.
    private let rows: Int

    /// - Parameter maximumTokens: the longest sequence; distances beyond it are not projected.
    init(file: JudgeFile, config: LingoJudgeConfig, maximumTokens: Int) throws {
        self.config = config
        self.maximumTokens = maximumTokens
        let hidden = config.hiddenSize
        words = try file.matrix("token_embd.weight")
        tokenType = config.tokenTypes > 0 ? try file.vector("token_types.weight") : nil
        embeddingNorm = try file.norm("embd_ln")

        // Rows ascend with the distance, so those that can be reached lie together.
        let reach = maximumTokens - 1
        let first = config.row(distance: -reach)
        rows = config.row(distance: reach) - first + 1
        rowOfDistance = (-reach...reach).map { config.row(distance: $0) - first }
        let distances = FloatBuffer(count: rows * hidden)
        distances.pointer.update(
            from: try file.vector("rel_embd.weight") + first * hidden, count: rows * hidden)
        if config.normsPositions {
            try file.norm("rel_ln").apply(
                distances.pointer, to: distances.pointer, rows: rows, n: hidden,
                epsilon: config.normEpsilon)
        }
        let workspace = Workspace()
        for index in 0..<config.layers {
            let block = "blk.\(index)."
            let query = try file.linear(block + "attn_q")
            let key = try file.linear(block + "attn_k")
            let operand = workspace.operand(distances.pointer, tokens: rows, cols: hidden)
            layers.append(
                Layer(
                    query: query, key: key,
                    value: try file.linear(block + "attn_v"),
                    output: try file.linear(block + "attn_out"),
                    attentionNorm: try file.norm(block + "attn_ln"),
                    up: try file.linear(block + "ffn_up"),
                    down: try file.linear(block + "ffn_down"),
                    norm: try file.norm(block + "ffn_ln"),
                    keyPositions: project(operand, by: key, workspace),
                    queryPositions: project(operand, by: query, workspace)))
        }
    }

    /// Distances through a layer's weight, head by head: [heads, rows, headDim].
    private func project(
        _ distances: ProductOperand, by linear: Linear, _ workspace: Workspace
    ) -> FloatBuffer {
        let all = workspace.floats(.delta, rows * config.hiddenSize)
        linear.apply(distances, to: all)
        let result = FloatBuffer(count: rows * config.hiddenSize)
        for head in 0..<config.heads {
            gather(all, head, tokens: rows, to: result.pointer + head * rows * config.headDim)
        }
        return result
    }

    /// One head's columns of x [tokens, hidden], as [tokens, headDim].
    private func gather(
        _ x: UnsafePointer<Float>, _ head: Int, tokens: Int, to y: UnsafeMutablePointer<Float>
    ) {
        let size = config.headDim
        for t in 0..<tokens {
            (y + t * size).update(from: x + t * config.hiddenSize + head * size, count: size)
        }
    }

    /// The state of every token after the last layer, [tokens, hidden].
    ///
    /// - Parameters:
    ///   - ids: 1 ... `maximumTokens` ids, each below the vocabulary's size.
    ///   - seen: called with the embeddings and with the output of every layer.
    func run(
        _ ids: [Int32], workspace: Workspace,
        seen: (UnsafePointer<Float>) -> Void = { _ in }
    ) -> FloatBuffer {
        precondition(!ids.isEmpty && ids.count <= maximumTokens)
        let (n, hidden) = (ids.count, config.hiddenSize)
        let state = FloatBuffer(count: n * hidden)
        let x = state.pointer
        let rowBytes = csimd_row_bytes(words.type, words.cols)
        for (t, id) in ids.enumerated() {
            _ = csimd_dequantize_row(
                words.type, words.data + Int(id) * rowBytes, x + t * hidden, hidden)
        }
        if let tokenType { csimd_add_row(x, tokenType, n, hidden) }
        embeddingNorm.apply(x, to: x, rows: n, n: hidden, epsilon: config.normEpsilon)
        seen(x)
        let scratch = Scratch(
            key: FloatBuffer(count: n * config.headDim),
            value: FloatBuffer(count: n * config.headDim),
            scores: FloatBuffer(count: n * n),
            contentToPosition: FloatBuffer(count: n * rows),
            positionToContent: FloatBuffer(count: n * rows))
        for layer in layers {
            attend(layer, x, tokens: n, scratch, workspace)
            let inner = workspace.floats(.gate, n * config.ffnSize)
            layer.up.apply(workspace.operand(x, tokens: n, cols: hidden), to: inner)
            csimd_activate(CSIMD_GELU_ERF, inner, n, config.ffnSize, nil)
            let delta = workspace.floats(.delta, n * hidden)
            layer.down.apply(
                workspace.operand(inner, tokens: n, cols: config.ffnSize), to: delta)
            csimd_add(x, delta, n * hidden)
            layer.norm.apply(x, to: x, rows: n, n: hidden, epsilon: config.normEpsilon)
            seen(x)
        }
        return state
    }

    /// x = norm(x + out(attention(x))), x [tokens, hidden].
    private func attend(
        _ layer: Layer, _ x: UnsafeMutablePointer<Float>, tokens n: Int, _ scratch: Scratch,
        _ workspace: Workspace
    ) {
        let hidden = config.hiddenSize
        let size = config.headDim
        let query = workspace.floats(.query, n * hidden)
        let key = workspace.floats(.key, n * hidden)
        let value = workspace.floats(.value, n * hidden)
        let attended = workspace.floats(.attended, n * hidden)
        let delta = workspace.floats(.delta, n * hidden)
        let operand = workspace.operand(x, tokens: n, cols: hidden)
        layer.query.apply(operand, to: query)
        layer.key.apply(operand, to: key)
        layer.value.apply(operand, to: value)
        let scores = scratch.scores.pointer
        let toPosition = scratch.contentToPosition.pointer
        let toContent = scratch.positionToContent.pointer
        let scale = 1 / Float(3 * size).squareRoot()
        for head in 0..<config.heads {
            gather(key, head, tokens: n, to: scratch.key.pointer)
            for t in 0..<n {
                let row = value + t * hidden + head * size
                for i in 0..<size { scratch.value.pointer[i * n + t] = row[i] }
            }
            let positions = head * rows * size
            let queries = query + head * size
            product(scratch.key.pointer, n, queries, n, size, hidden, scores, n)
            product(
                layer.keyPositions.pointer + positions, rows, queries, n, size, hidden, toPosition,
                rows)
            product(
                layer.queryPositions.pointer + positions, rows, key + head * size, n, size, hidden,
                toContent, rows)
            for i in 0..<n {
                for j in 0..<n {
                    let row = rowOfDistance[i - j + maximumTokens - 1]
                    scores[i * n + j] =
                        (scores[i * n + j] + toPosition[i * rows + row] + toContent[j * rows + row])
                        * scale
                }
            }
            csimd_softmax(scores, n, n)
            product(
                scratch.value.pointer, size, scores, n, n, n, attended + head * size, hidden)
        }
        layer.output.apply(workspace.operand(attended, tokens: n, cols: hidden), to: delta)
        csimd_add(x, delta, n * hidden)
        layer.attentionNorm.apply(x, to: x, rows: n, n: hidden, epsilon: config.normEpsilon)
    }

    /// y[t, r] = sum_k w[r, k] x[t, k], w [rows, cols] dense, x and y rows by stride.
    private func product(
        _ w: UnsafePointer<Float>, _ rows: Int, _ x: UnsafePointer<Float>, _ tokens: Int,
        _ cols: Int, _ stride: Int, _ y: UnsafeMutablePointer<Float>, _ outputStride: Int
    ) {
        var matrix = csimd_matrix(type: CSIMD_F32, data: w, rows: rows, cols: cols)
        var input = csimd_input(x: x, tokens: tokens, cols: cols, stride: stride, quantized: nil)
        csimd_matmul(&matrix, nil, &input, y, outputStride)
    }
}
