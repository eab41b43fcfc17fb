import CSIMD
import MMQImage

/// Timings of one model on this machine, and the limits they are measured against.
public struct Benchmark {
    /// Seconds of several repetitions.
    public struct Timing: Sendable, Encodable {
        /// The median.
        public let medianSeconds: Double
        /// The fastest.
        public let bestSeconds: Double
        /// The slowest.
        public let worstSeconds: Double
        /// Where the time of the median run went, if that was asked for.
        public let stages: [StageTimes.Entry]?

        enum CodingKeys: String, CodingKey {
            case medianSeconds = "median_seconds"
            case bestSeconds = "best_seconds"
            case worstSeconds = "worst_seconds"
            case stages
        }
    }

    /// Tokens in front of those that are decoded.
    public static let decodingPrompt = 8

    private let model: any VisionLanguageModel
    private let repetitions: Int
    private let looksInside: Bool
    private let clock = ContinuousClock()

    /// - Parameters:
    ///   - repetitions: timed runs of each thing, after one that is not timed.
    ///   - looksInside: also take the times of the stages.
    public init(model: any VisionLanguageModel, repetitions: Int, looksInside: Bool = false) {
        self.model = model
        self.repetitions = repetitions
        self.looksInside = looksInside
    }

    /// A prompt of `tokens` tokens without a picture. Which tokens does not change the time; the
    /// first hundred ids are in every vocabulary and never stand for a picture.
    private func input(tokens: Int) -> PreparedInput {
        let ids = (0..<tokens).map { Int32($0 % 100) }
        return PreparedInput(
            inputIDs: ids, imageTokens: 0, picture: NoPicture(), backend: model.backend)
    }

    private struct NoPicture: TowerInput {
        let pixelValues: [Float] = []
        let pixelShape = [0]
        func features(observation: Observation?) -> [Float] { [] }
    }

    private func time(_ body: () throws -> Void) rethrows -> Timing {
        try body()
        let workspace = model.backend.workspace
        defer { workspace.stages = nil }
        var runs: [(seconds: Double, stages: [StageTimes.Entry]?)] = []
        for _ in 0..<repetitions {
            let start = clock.now
            workspace.stages = looksInside ? StageTimes() : nil
            try body()
            runs.append((clock.seconds(since: start), workspace.stages?.entries))
        }
        runs.sort { $0.seconds < $1.seconds }
        let median = runs[runs.count / 2]
        return Timing(
            medianSeconds: median.seconds, bestSeconds: runs[0].seconds,
            worstSeconds: runs[runs.count - 1].seconds, stages: median.stages)
    }

    /// A pass of `tokens` tokens through the decoder, last row's logits included.
    ///
    /// - Parameters:
    ///   - counting: count every activation, as `activation` does.
    ///   - mask: neurons that are off.
    public func prefill(tokens: Int, counting: Bool, mask: NeuronMask? = nil) throws -> Timing {
        let input = input(tokens: tokens)
        let observation =
            counting || mask != nil
            ? Observation(modules: model.modules, counting: counting, mask: mask) : nil
        return try time {
            let state = try model.run(
                input, features: [], observation: observation,
                keepsCache: counting ? nil : tokens, after: { _, _ in })
            _ = try model.lastLogits(state)
        }
    }

    /// `tokens` decoding steps of `sequences` answers together, behind a prompt of `prompt` tokens.
    public func decode(tokens: Int, prompt: Int, sequences: Int) throws -> Timing {
        let states = try (0..<sequences).map { _ in
            try model.run(
                input(tokens: prompt), features: [], observation: nil,
                keepsCache: prompt + tokens * (repetitions + 1), after: { _, _ in })
        }
        return try time {
            for step in 0..<tokens {
                let ids = states.indices.map { Int32((step * 31 + $0) % 100) }
                _ = try model.step(ids, states: states, observations: states.map { _ in nil })
            }
        }
    }

    /// Towers and projector or Q-Former of one picture.
    public func vision(image: RGBImage, prompt: String, counting: Bool) throws -> Timing {
        let input = try model.prepare(image: image, prompt: prompt)
        let observation = counting ? Observation(modules: model.modules, counting: true) : nil
        return try time { _ = try input.imageFeatures(observation: observation) }
    }
}
