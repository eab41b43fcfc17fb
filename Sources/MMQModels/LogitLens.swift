import CSIMD
import MMQBase
import MMQImage
import MMQText

/// How a lens looks.
public struct LensOptions: Sendable, Equatable {
    /// How many of the most probable tokens are kept.
    public var top: Int
    /// Leave the rows behind the model's own words out of the distribution, as if their logits were
    /// -∞: rows that no token leads to, and tokens that were added for the input (`<image>`, a
    /// padding token). False: the softmax goes over all rows of the head.
    public var hidesFiller: Bool
    /// What of each layer goes through the final norm and the head.
    public var part: LayerPart

    /// How many tokens may be asked for.
    public static let tops = 1...1000

    /// The ten most probable words.
    public init(top: Int = 10, hidesFiller: Bool = true, part: LayerPart = .block) {
        self.top = top
        self.hidesFiller = hidesFiller
        self.part = part
    }
}

/// What each layer would say at each position: softmax(head(norm(block output))), or of the attention's
/// or the MLP's output alone.
///
/// The last block's is the model's own distribution of the next token.
public struct LensReading: Sendable {
    /// What of each layer was read.
    public let part: LayerPart
    /// Token ids of the sequence, image placeholders included, [positions].
    public let inputIDs: [Int32]
    /// Which positions hold image tokens, [positions].
    public let isImage: [Bool]
    /// How many layers.
    public let layers: Int
    /// How many tokens are kept per layer and position.
    public let top: Int
    /// The most probable ids, most probable first, [layers, positions, top]; -1 where the vocabulary
    /// has no more.
    public internal(set) var topIDs: [Int32]
    /// Their probabilities, [layers, positions, top].
    public internal(set) var topProbabilities: [Float]
    /// Entropy of the distribution, natural logarithm, [layers, positions].
    public internal(set) var entropies: [Float]
    /// KL(last block ‖ layer), natural logarithm, [layers, positions]; 0 at the last block.
    public internal(set) var divergences: [Float]

    /// How many positions.
    public var positions: Int { inputIDs.count }

    /// The most probable token of a layer and position.
    public func best(layer: Int, position: Int) -> Int32 {
        topIDs[(layer * positions + position) * top]
    }
}

/// How the lenses of two models differ at a layer: one entry per position.
public struct LensDifference: Sendable, Equatable {
    /// Whether both find the same token most probable.
    public let agrees: [Bool]
    /// KL(first ‖ second), natural logarithm.
    public let divergences: [Float]
}

/// Positions whose logits are held at a time; at 32,064 words 33 MB for each of four arrays.
private let lensChunk = 256

extension SentencePieceTokenizer {
    /// Ids below this are the model's own words; what lies behind was added for the input or stands
    /// for nothing.
    public var wordCount: Int {
        let added = Dictionary(
            tables.addedTokens.map { ($0.id, $0.inModel) }, uniquingKeysWith: { $1 })
        var count = tables.pieces.count
        while count > 0 {
            let isFiller = tables.types[count - 1] == .unused || added[Int32(count - 1)] == false
            guard isFiller else { break }
            count -= 1
        }
        return count
    }
}

extension VisionLanguageModel {
    /// Rows of the head that a lens looks at.
    public func lensVocabulary(_ options: LensOptions) -> Int {
        let words = tokenizer.wordCount
        return options.hidesFiller && words > 0 ? min(words, vocabularySize) : vocabularySize
    }

    /// The lens over a picture and a prompt.
    ///
    /// - Parameters:
    ///   - prompt: goes to the tokenizer as it is.
    ///   - mask: neurons that are off.
    public func lens(
        image: RGBImage, prompt: String, mask: NeuronMask? = nil,
        options: LensOptions = LensOptions()
    ) throws -> LensReading {
        let observation = mask.map { Observation(modules: modules, counting: false, mask: $0) }
        let input = try prepare(image: image, prompt: prompt)
        let features = try input.imageFeatures(observation: observation)
        return try lens(
            of: hiddenStates(
                input, features: features, observation: observation, part: options.part),
            input, options: options)
    }

    /// The lens over outputs that were kept; their part counts, not the options'. Logits of some rows
    /// at a time are held, never those of a whole layer.
    ///
    /// - Parameter progress: called with the part that is done, 0...1; what it throws ends it.
    public func lens(
        of states: HiddenStates, _ input: PreparedInput, options: LensOptions = LensOptions(),
        progress: (Double) throws -> Void = { _ in }
    ) throws -> LensReading {
        let layers = states.layers
        let positions = states.positions
        let vocabulary = lensVocabulary(options)
        // More would be asked of every row than there are entries.
        let top = max(1, min(options.top, vocabulary))
        var reading = LensReading(
            part: states.part, inputIDs: input.inputIDs, isImage: imagePositions(input),
            layers: layers, top: top,
            topIDs: Array(repeating: -1, count: layers * positions * top),
            topProbabilities: Array(repeating: 0, count: layers * positions * top),
            entropies: Array(repeating: 0, count: layers * positions),
            divergences: Array(repeating: 0, count: layers * positions))
        let chunk = max(1, min(lensChunk, positions))
        let last = LensRows(model: self, chunk: chunk, vocabulary: vocabulary, top: top)
        let other = LensRows(model: self, chunk: chunk, vocabulary: vocabulary, top: top)
        for first in stride(from: 0, to: positions, by: chunk) {
            let rows = first..<min(first + chunk, positions)
            try last.look(at: states.last, rows: rows, hidden: states.hiddenSize)
            let isBlock = states.part == .block
            if isBlock { last.store(in: &reading, layer: layers - 1, first: first) }
            for layer in 0..<(isBlock ? layers - 1 : layers) {
                try other.look(
                    at: states[layer], rows: rows, hidden: states.hiddenSize, reference: last)
                other.store(in: &reading, layer: layer, first: first)
                try progress(
                    (Double(first) + Double(rows.count) * Double(layer + 1) / Double(layers))
                        / Double(positions))
            }
        }
        try progress(1)
        return reading
    }

    /// Runs this model's decoder and compares each layer's lens with that of another model's kept
    /// outputs.
    ///
    /// - Parameters:
    ///   - states: what the layers of `reference` put out over the same token ids.
    ///   - layer: called with the index of each layer and how it differs.
    public func compareLens(
        with states: HiddenStates, of reference: any VisionLanguageModel, _ input: PreparedInput,
        features: [Float], observation: Observation?, options: LensOptions = LensOptions(),
        layer: (Int, LensDifference) throws -> Void
    ) throws {
        let vocabulary = lensVocabulary(options)
        guard vocabulary == reference.lensVocabulary(options),
            vocabularySize == reference.vocabularySize,
            input.inputIDs.count == states.positions
        else {
            throw InputError.prompt("the two models differ in their vocabulary or their tokens")
        }
        let positions = states.positions
        let chunk = max(1, min(lensChunk, positions))
        let first = LensRows(model: reference, chunk: chunk, vocabulary: vocabulary, top: 1)
        let second = LensRows(model: self, chunk: chunk, vocabulary: vocabulary, top: 1)
        _ = try run(input, features: features, observation: observation, keepsCache: nil) {
            index, x in
            guard index < states.layers else {
                throw InputError.prompt("the two models have different numbers of layers")
            }
            var agrees: [Bool] = []
            var divergences: [Float] = []
            let hidden = x.count / positions
            for start in stride(from: 0, to: positions, by: chunk) {
                let rows = start..<min(start + chunk, positions)
                try first.look(at: states[index], rows: rows, hidden: states.hiddenSize)
                try second.look(at: x, rows: rows, hidden: hidden, reference: first)
                for row in 0..<rows.count {
                    agrees.append(first.ids[row] == second.ids[row])
                    divergences.append(second.divergences[row])
                }
            }
            try layer(index, LensDifference(agrees: agrees, divergences: divergences))
        }
    }
}

/// What a lens sees in some rows at a time.
private final class LensRows {
    private let model: any VisionLanguageModel
    private let vocabulary: Int
    private let top: Int
    /// Log-probabilities of the latest rows, [rows, head rows].
    private var logits: [Float] = []
    /// Probabilities, laid out alike.
    private let probabilities: FloatBuffer
    private var count = 0
    /// [rows, top]
    private(set) var ids: [Int32]
    private let topProbabilities: FloatBuffer
    private let entropies: FloatBuffer
    private(set) var divergences: [Float]

    init(model: any VisionLanguageModel, chunk: Int, vocabulary: Int, top: Int) {
        self.model = model
        self.vocabulary = vocabulary
        self.top = top
        probabilities = FloatBuffer(count: chunk * model.vocabularySize)
        ids = Array(repeating: -1, count: chunk * top)
        topProbabilities = FloatBuffer(count: chunk * top)
        entropies = FloatBuffer(count: chunk)
        divergences = Array(repeating: 0, count: chunk)
    }

    /// Looks at `rows` of a layer's output [positions, hidden]. Without a reference divergences are
    /// 0. A reference's head has as many rows as this one's, and looked at as many positions.
    func look(
        at output: UnsafeBufferPointer<Float>, rows: Range<Int>, hidden: Int,
        reference: LensRows? = nil
    ) throws {
        count = rows.count
        logits = []  // before the new ones are had
        logits = try model.logits(
            of: UnsafeBufferPointer(
                rebasing: output[rows.lowerBound * hidden..<rows.upperBound * hidden]),
            rows: count)
        guard let reference else {
            for row in 0..<count { divergences[row] = 0 }
            return look(logits: nil, probabilities: nil)
        }
        precondition(reference.count == count && reference.logits.count == logits.count)
        reference.logits.withUnsafeBufferPointer {
            look(logits: $0.baseAddress, probabilities: reference.probabilities.pointer)
        }
    }

    private func look(
        logits reference: UnsafePointer<Float>?, probabilities weights: UnsafePointer<Float>?
    ) {
        let wanted = reference != nil
        logits.withUnsafeMutableBufferPointer { logits in
            ids.withUnsafeMutableBufferPointer { ids in
                divergences.withUnsafeMutableBufferPointer { divergences in
                    var rows = csimd_lens_rows(
                        logits: logits.baseAddress, probabilities: probabilities.pointer,
                        count: count, n: vocabulary, stride: model.vocabularySize, top: top,
                        top_ids: ids.baseAddress, top_probabilities: topProbabilities.pointer,
                        entropies: entropies.pointer,
                        divergences: wanted ? divergences.baseAddress : nil,
                        reference_logits: reference, reference_probabilities: weights)
                    csimd_lens(&rows)
                }
            }
        }
    }

    /// Copies the latest rows to their place in a reading.
    func store(in reading: inout LensReading, layer: Int, first: Int) {
        let place = layer * reading.positions + first
        for i in 0..<count * top {
            reading.topIDs[place * top + i] = ids[i]
            reading.topProbabilities[place * top + i] = topProbabilities.pointer[i]
        }
        for row in 0..<count {
            reading.entropies[place + row] = entropies.pointer[row]
            reading.divergences[place + row] = divergences[row]
        }
    }
}
