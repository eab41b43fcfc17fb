import CSIMD
import MMQBase

/// What of a decoder layer is looked at.
public enum LayerPart: String, Sendable, CaseIterable {
    /// The layer's output: its input, and what its two parts add.
    case block
    /// What attention adds, behind its output projection.
    case attention
    /// What the MLP adds, behind its down projection.
    case mlp

    /// Gets a layer's index, a part and what it adds, [tokens, hidden].
    public typealias Observer = (Int, LayerPart, UnsafeBufferPointer<Float>) throws -> Void
}

/// Outputs of every decoder layer, or of a part of it, over one sequence, before the final norm.
///
/// f32, layers × positions × hidden: 1.5 GB for LLaVA-Next's largest picture in a 7B model, and
/// nothing near it for most. Without them a comparison with the last layer, which comes last, would
/// take a second pass.
public final class HiddenStates {
    /// Values of a row.
    public let hiddenSize: Int
    /// Tokens of the sequence.
    public let positions: Int
    /// How many layers there are.
    public var layers: Int { outputs.count }
    /// What was kept of each layer.
    public let part: LayerPart
    private var outputs: [FloatBuffer] = []
    /// The last layer's output, where only parts are kept.
    private var lastOutput: FloatBuffer?

    init(positions: Int, hiddenSize: Int, part: LayerPart = .block) {
        self.positions = positions
        self.hiddenSize = hiddenSize
        self.part = part
    }

    /// Takes what a part of a layer adds, if that part is kept.
    func take(_ part: LayerPart, _ output: UnsafeBufferPointer<Float>) {
        if part == self.part { outputs.append(copy(output)) }
    }

    /// Takes a layer's output: every one if blocks are kept, else the last one.
    func take(_ output: UnsafeBufferPointer<Float>, isLast: Bool) {
        if part == .block {
            outputs.append(copy(output))
        } else if isLast {
            lastOutput = copy(output)
        }
    }

    private func copy(_ output: UnsafeBufferPointer<Float>) -> FloatBuffer {
        precondition(output.count == positions * hiddenSize)
        let copy = FloatBuffer(count: output.count)
        if let base = output.baseAddress { copy.pointer.update(from: base, count: output.count) }
        return copy
    }

    /// What the last layer puts out, whatever was kept of the layers, [positions, hidden].
    public var last: UnsafeBufferPointer<Float> {
        guard let lastOutput else { return self[layers - 1] }
        return UnsafeBufferPointer(start: lastOutput.pointer, count: positions * hiddenSize)
    }

    /// The output of a layer, [positions, hidden]. Valid as long as this object.
    public subscript(layer: Int) -> UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: outputs[layer].pointer, count: positions * hiddenSize)
    }
}

/// How far a layer's output is from that of another pass, position by position.
public struct RowDeviation: Sendable, Equatable {
    /// Cosine of the angle between the two rows; 1 where both are 0, 0 where one is.
    public let cosine: Double
    /// |x - y| / |x|, x being the row of the pass that is compared with; 0 where both are 0, 1
    /// where only x is.
    public let relativeDistance: Double
}

extension VisionLanguageModel {
    /// Runs the decoder over a prompt and keeps what every layer, or a part of it, puts out.
    public func hiddenStates(
        _ input: PreparedInput, features: [Float], observation: Observation? = nil,
        part: LayerPart = .block
    ) throws -> HiddenStates {
        let states = try emptyStates(input, part: part)
        let last = backend.decoder.layers.count - 1
        _ = try run(
            input, features: features, observation: observation, keepsCache: nil,
            partial: { states.take($1, $2) }, after: { states.take($1, isLast: $0 == last) })
        return states
    }

    /// What a pass over a prompt may fill.
    func emptyStates(_ input: PreparedInput, part: LayerPart) throws -> HiddenStates {
        guard !backend.decoder.layers.isEmpty else {
            throw InputError.prompt("the decoder has no layers")
        }
        return HiddenStates(
            positions: input.inputIDs.count, hiddenSize: backend.decoder.hiddenSize, part: part)
    }

    /// Runs the decoder under a mask and says how far each layer's output is from `states`.
    ///
    /// - Returns: for each layer, one entry per position.
    public func deviations(
        from states: HiddenStates, _ input: PreparedInput, features: [Float],
        observation: Observation?
    ) throws -> [[RowDeviation]] {
        var layers: [[RowDeviation]] = []
        guard input.inputIDs.count == states.positions else {
            throw InputError.prompt(
                "\(input.inputIDs.count) tokens, to be compared with \(states.positions)")
        }
        _ = try run(input, features: features, observation: observation, keepsCache: nil) {
            layer, x in
            var sums = [Double](repeating: 0, count: states.positions * 4)
            csimd_row_deviation(
                states[layer].baseAddress, x.baseAddress, states.positions, states.hiddenSize,
                &sums)
            layers.append(
                (0..<states.positions).map { row in
                    let xx = sums[row * 4]
                    let yy = sums[row * 4 + 1]
                    let apart = sums[row * 4 + 3]
                    let cosine =
                        xx > 0 && yy > 0
                        ? sums[row * 4 + 2] / (xx.squareRoot() * yy.squareRoot())
                        : (xx == yy ? 1 : 0)
                    let distance = xx > 0 ? (apart / xx).squareRoot() : (apart > 0 ? 1 : 0)
                    return RowDeviation(
                        cosine: min(1, max(-1, cosine)), relativeDistance: distance)
                })
        }
        return layers
    }

    /// Which positions of a prompt hold image tokens.
    public func imagePositions(_ input: PreparedInput) -> [Bool] {
        input.inputIDs.map { $0 == imageToken }
    }
}
