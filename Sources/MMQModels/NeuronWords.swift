import CSIMD
import MMQBase

/// A neuron of the decoder.
public struct DecoderNeuron: Hashable, Sendable {
    /// Its layer.
    public let layer: Int
    /// Its number in the layer.
    public let neuron: Int

    /// A neuron by its place.
    public init(layer: Int, neuron: Int) {
        self.layer = layer
        self.neuron = neuron
    }
}

/// What a neuron of the decoder writes when it fires: the words whose logits its output direction
/// raises and lowers most.
///
/// The direction is the neuron's column of `down`, which goes through the final norm's gains and the
/// head (Geva et al., 2012.14913 and 2203.14680): by what norm it is divided depends on the rest of
/// the sequence, and does not change the order.
public struct NeuronWords: Sendable, Equatable {
    /// A word, and head · (gain ⊙ column) for it.
    public struct Word: Sendable, Equatable {
        /// Its id.
        public let id: Int32
        /// What one unit of activation adds, before the norm.
        public let weight: Float
    }

    /// The neuron.
    public let neuron: DecoderNeuron
    /// The most raised first, equal ones by id.
    public let raised: [Word]
    /// The most lowered first, equal ones by id.
    public let lowered: [Word]
}

/// A word that a neuron writes, as the vocabulary spells it.
public struct WrittenWord: Sendable, Equatable, Codable {
    /// Its id.
    public let id: Int32
    /// `#` and the id where the vocabulary has no spelling.
    public let word: String
    /// See ``NeuronWords/Word/weight``.
    public let weight: Float
}

/// Rows of the head that are dequantized at a time: with 4,096 columns 8 MB.
private let headRows = 512

extension VisionLanguageModel {
    /// Words with their spellings.
    public func spelled(_ words: [NeuronWords.Word]) -> [WrittenWord] {
        words.map { word in
            let piece = tokenizer.piece(word.id) ?? []
            return WrittenWord(
                id: word.id,
                word: piece.isEmpty ? "#\(word.id)" : String(decoding: piece, as: UTF8.self),
                weight: word.weight)
        }
    }

    /// The words that neurons write, computed in f32 on the weights as they are stored; the head is
    /// read once for all of them.
    ///
    /// - Parameters:
    ///   - neurons: of the decoder's module; each takes 4 bytes per hidden unit, and as many per 512
    ///     words.
    ///   - top: how many words of either kind.
    ///   - hidesFiller: leave out rows of the head behind the model's own words.
    /// - Returns: in the order of `neurons`.
    /// - Throws: `InputError`, `.nonFinite` where a weight is not finite.
    public func words(
        of neurons: [DecoderNeuron], top: Int = 10, hidesFiller: Bool = true
    ) throws -> [NeuronWords] {
        let vocabulary = lensVocabulary(LensOptions(hidesFiller: hidesFiller))
        let directions = FloatBuffer(count: max(1, neurons.count * backend.decoder.hiddenSize))
        backend.decoder.writeDirections(of: neurons, to: directions.pointer)
        var best = neurons.map { _ in StrongestWords(top: min(top, vocabulary)) }
        try backend.decoder.forHeadRows(
            vocabulary, times: directions.pointer, count: neurons.count
        ) { first, rows, products in
            try requireFinite(products, "what neurons write")
            for number in best.indices {
                best[number].take(
                    UnsafeBufferPointer(rebasing: products[number * rows..<(number + 1) * rows]),
                    first: Int32(first))
            }
        }
        return zip(neurons, best).map {
            NeuronWords(neuron: $0, raised: $1.raised, lowered: $1.lowered)
        }
    }
}

/// The words with the greatest and the least weights so far; words come by ascending id.
private struct StrongestWords {
    let top: Int
    private(set) var raised: [NeuronWords.Word] = []
    private(set) var lowered: [NeuronWords.Word] = []

    init(top: Int) { self.top = top }

    mutating func take(_ weights: UnsafeBufferPointer<Float>, first: Int32) {
        for (row, weight) in weights.enumerated() {
            let word = NeuronWords.Word(id: first + Int32(row), weight: weight)
            // Nearly all are neither.
            if raised.count < top || weight > raised[top - 1].weight {
                Self.insert(word, into: &raised, top) { $0 > $1 }
            }
            if lowered.count < top || weight < lowered[top - 1].weight {
                Self.insert(word, into: &lowered, top) { $0 < $1 }
            }
        }
    }

    /// Puts a word behind those that are as strong: their ids are smaller.
    private static func insert(
        _ word: NeuronWords.Word, into words: inout [NeuronWords.Word], _ top: Int,
        _ isStronger: (Float, Float) -> Bool
    ) {
        guard top > 0 else { return }
        let place = words.firstIndex { isStronger(word.weight, $0.weight) } ?? words.count
        words.insert(word, at: place)
        if words.count > top { words.removeLast() }
    }
}

extension LlamaDecoder {
    /// gain ⊙ column of `down`, [neurons, hidden]. Each layer's `down` is read once.
    fileprivate func writeDirections(
        of neurons: [DecoderNeuron], to directions: UnsafeMutablePointer<Float>
    ) {
        let byLayer = Dictionary(grouping: neurons.indices) { neurons[$0].layer }
        for (layer, wanted) in byLayer {
            let down = layers[layer].mlp.down.matrix
            precondition(wanted.allSatisfy { (0..<down.cols).contains(neurons[$0].neuron) })
            let rowBytes = csimd_row_bytes(down.type, down.cols)
            let row = FloatBuffer(count: down.cols)
            for hidden in 0..<hiddenSize {
                csimd_dequantize_row(
                    down.type, down.data + hidden * rowBytes, row.pointer, down.cols)
                for index in wanted {
                    directions[index * hiddenSize + hidden] =
                        row.pointer[neurons[index].neuron] * finalNorm.gain(hidden)
                }
            }
        }
    }

    /// Products [count, rows] of x [count, hidden] with the head's first rows, some at a time. The
    /// head is dequantized: rounded to integers, x would not give the same order.
    fileprivate func forHeadRows(
        _ vocabulary: Int, times x: UnsafePointer<Float>, count: Int,
        _ body: (_ first: Int, _ rows: Int, UnsafeBufferPointer<Float>) throws -> Void
    ) rethrows {
        let weight = head.matrix
        let rowBytes = csimd_row_bytes(weight.type, weight.cols)
        let tile = FloatBuffer(count: headRows * weight.cols)
        let products = FloatBuffer(count: max(1, count * headRows))
        for first in stride(from: 0, to: vocabulary, by: headRows) {
            let rows = min(headRows, vocabulary - first)
            for row in 0..<rows {
                csimd_dequantize_row(
                    weight.type, weight.data + (first + row) * rowBytes,
                    tile.pointer + row * weight.cols, weight.cols)
            }
            var matrix = csimd_matrix(
                type: CSIMD_F32, data: tile.pointer, rows: rows, cols: weight.cols)
            var input = csimd_input(
                x: x, tokens: count, cols: weight.cols, stride: weight.cols,
                integers: CSIMD_INT8, quantized: nil)
            csimd_matmul(&matrix, nil, &input, products.pointer, rows)
            try body(
                first, rows, UnsafeBufferPointer(start: products.pointer, count: count * rows))
        }
    }
}

extension Norm {
    /// What it multiplies a column by.
    fileprivate func gain(_ column: Int) -> Float {
        switch self {
        case .rms(let weight, _), .layer(let weight, _, _): weight[column]
        }
    }
}
