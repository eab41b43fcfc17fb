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
        let attentionNorm: Norm
        let mlp: FeedForward
        let mlpNorm: Norm
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
    private let embeddingNorm: Norm
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
        embeddingNorm = try file.norm("embd_ln", epsilon: config.normEpsilon)

        // Rows ascend with the distance, so those that can be reached lie together.
        let reach = maximumTokens - 1
        let first = config.row(distance: -reach)
        rows = config.row(distance: reach) - first + 1
        rowOfDistance = (-reach...reach).map { config.row(distance: $0) - first }
        let pass = Pass(Workspace(activations: .int8))
        let distances = pass.rows(.stream, rows, hidden)
        distances.data.update(
            from: try file.vector("rel_embd.weight") + first * hidden, count: distances.size)
        if config.normsPositions {
            try file.norm("rel_ln", epsilon: config.normEpsilon)
                .apply(distances, to: distances, pass)
        }
        let operand = pass.operand(distances)
        for index in 0..<config.layers {
            let block = "blk.\(index)."
            let query = try file.linear(block + "attn_q")
            let key = try file.linear(block + "attn_k")
            layers.append(
                Layer(
                    query: query, key: key,
                    value: try file.linear(block + "attn_v"),
                    output: try file.linear(block + "attn_out"),
                    attentionNorm: try file.norm(block + "attn_ln", epsilon: config.normEpsilon),
                    mlp: FeedForward(
                        up: try file.linear(block + "ffn_up"),
                        down: try file.linear(block + "ffn_down"), activation: CSIMD_GELU_ERF),
                    mlpNorm: try file.norm(block + "ffn_ln", epsilon: config.normEpsilon),
                    keyPositions: project(operand, by: key),
                    queryPositions: project(operand, by: query)))
        }
    }

    /// Distances through a layer's weight, head by head: [heads, rows, headDim].
    private func project(_ distances: ProductOperand, by linear: Linear) -> FloatBuffer {
        let all = linear.apply(distances, in: .delta)
        let result = FloatBuffer(count: all.size)
        for head in 0..<config.heads {
            gather(all, head, to: result.pointer + head * rows * config.headDim)
        }
        return result
    }

    /// One head's columns of x [tokens, hidden], as [tokens, headDim].
    private func gather(_ x: Rows, _ head: Int, to y: UnsafeMutablePointer<Float>) {
        let size = config.headDim
        for t in 0..<x.count { (y + t * size).update(from: x[t] + head * size, count: size) }
    }

    /// The state of every token after the last layer, [tokens, hidden], in `.stream`.
    ///
    /// - Parameters:
    ///   - ids: 1 ... `maximumTokens` ids, each below the vocabulary's size.
    ///   - seen: called with the embeddings and with the output of every layer.
    func run(_ ids: [Int32], _ pass: Pass, seen: (Rows) -> Void = { _ in }) -> Rows {
        precondition(!ids.isEmpty && ids.count <= maximumTokens)
        let n = ids.count
        let x = embed(ids, pass)
        seen(x)
        let scratch = Scratch(
            key: FloatBuffer(count: n * config.headDim),
            value: FloatBuffer(count: n * config.headDim),
            scores: FloatBuffer(count: n * n),
            contentToPosition: FloatBuffer(count: n * rows),
            positionToContent: FloatBuffer(count: n * rows))
        for (index, layer) in layers.enumerated() {
            layer.attentionNorm.add(attend(layer, x, scratch, pass), to: x, pass)
            let added = layer.mlp.apply(x, at: Site(module: 0, layer: index), pass)
            layer.mlpNorm.add(added, to: x, pass)
            seen(x)
        }
        return x
    }

    /// Words and their type, normalized: [tokens, hidden]. Positions come in with attention.
    private func embed(_ ids: [Int32], _ pass: Pass) -> Rows {
        let x = pass.rows(.stream, ids.count, config.hiddenSize)
        let rowBytes = csimd_row_bytes(words.type, words.cols)
        for (t, id) in ids.enumerated() {
            _ = csimd_dequantize_row(words.type, words.data + Int(id) * rowBytes, x[t], x.width)
        }
        if let tokenType { csimd_add_row(x.data, tokenType, x.count, x.width) }
        embeddingNorm.apply(x, to: x, pass)
        return x
    }

    /// out(attention(x)) of x [tokens, hidden], in `.delta`.
    private func attend(_ layer: Layer, _ x: Rows, _ scratch: Scratch, _ pass: Pass) -> Rows {
        let (n, hidden) = (x.count, config.hiddenSize)
        let size = config.headDim
        let operand = pass.operand(x)
        let query = layer.query.apply(operand, in: .query)
        let key = layer.key.apply(operand, in: .key)
        let value = layer.value.apply(operand, in: .value)
        let attended = pass.rows(.normed, n, hidden)
        let scores = scratch.scores.pointer
        let toPosition = scratch.contentToPosition.pointer
        let toContent = scratch.positionToContent.pointer
        let scale = 1 / Float(3 * size).squareRoot()
        for head in 0..<config.heads {
            gather(key, head, to: scratch.key.pointer)
            for t in 0..<n {
                let row = value[t] + head * size
                for i in 0..<size { scratch.value.pointer[i * n + t] = row[i] }
            }
            let positions = head * rows * size
            let queries = query.data + head * size
            product(scratch.key.pointer, n, queries, n, size, hidden, scores, n)
            product(
                layer.keyPositions.pointer + positions, rows, queries, n, size, hidden, toPosition,
                rows)
            product(
                layer.queryPositions.pointer + positions, rows, key.data + head * size, n, size,
                hidden, toContent, rows)
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
                scratch.value.pointer, size, scores, n, n, n, attended.data + head * size, hidden)
        }
        return layer.output.apply(pass.operand(attended), in: .delta)
    }

    /// y[t, r] = sum_k w[r, k] x[t, k], w [rows, cols] dense, x and y rows by stride.
    private func product(
        _ w: UnsafePointer<Float>, _ rows: Int, _ x: UnsafePointer<Float>, _ tokens: Int,
        _ cols: Int, _ stride: Int, _ y: UnsafeMutablePointer<Float>, _ outputStride: Int
    ) {
        var matrix = csimd_matrix(type: CSIMD_F32, data: w, rows: rows, cols: cols)
        var input = csimd_input(
            x: x, tokens: tokens, cols: cols, stride: stride, integers: CSIMD_INT8,
            quantized: nil)
        csimd_matmul(&matrix, nil, &input, y, outputStride)
    }
}
