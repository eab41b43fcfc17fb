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
        /// 10^9 bytes a second that plain reads of the model gave in turn with the runs, the median,
        /// where reading is what a run waits for and no cache holds it.
        public let readBandwidth: Double?

        enum CodingKeys: String, CodingKey {
            case readBandwidth = "read_bandwidth_gb_per_second"
            case medianSeconds = "median_seconds"
            case bestSeconds = "best_seconds"
            case worstSeconds = "worst_seconds"
            case stages
        }
    }

    /// Bytes of a language file from which on decoding is held against reads of it in turn.
    private static let leastRead = 64 << 20

    /// Tokens in front of those that are decoded, where no others are asked for.
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
        func places(in role: ModuleRole) -> [PicturePlace] { [] }
        func features(observation: Observation?) -> [Float] { [] }
    }

    private func time(reading: Bool = false, _ body: () throws -> Void) throws -> Timing {
        try withoutActuallyEscaping(body) { try time(reading: reading, [$0])[0] }
    }

    /// Times several bodies in turn: what a machine's speed does in the meantime it does to all.
    ///
    /// - Parameter reading: what memory gives is measured in turn with them too.
    private func time(reading: Bool = false, _ bodies: [() throws -> Void]) throws -> [Timing] {
        let workspace = model.backend.workspace
        defer { workspace.stages = nil }
        for body in bodies { try body() }
        // What lies in a cache would be driven out of it, and does not wait for memory.
        let reading = reading && model.languageFile.count >= Self.leastRead
        var runs: [[(seconds: Double, stages: [StageTimes.Entry]?)]] = bodies.map { _ in [] }
        var bandwidths: [Double] = []
        for _ in 0..<repetitions {
            for (number, body) in bodies.enumerated() {
                if reading { bandwidths.append(model.measureReadBandwidth()) }
                let start = clock.now
                workspace.stages = looksInside ? StageTimes() : nil
                try body()
                runs[number].append((clock.seconds(since: start), workspace.stages?.entries))
            }
        }
        if reading { bandwidths.append(model.measureReadBandwidth()) }
        bandwidths.sort()
        let bandwidth =
            reading
            ? (bandwidths[(bandwidths.count - 1) / 2] + bandwidths[bandwidths.count / 2]) / 2 : nil
        return runs.map { runs in
            let runs = runs.sorted { $0.seconds < $1.seconds }
            let median = runs[runs.count / 2]
            return Timing(
                medianSeconds: median.seconds, bestSeconds: runs[0].seconds,
                worstSeconds: runs[runs.count - 1].seconds, stages: median.stages,
                readBandwidth: bandwidth)
        }
    }

    /// What happens to activations on the way.
    public enum Observing {
        /// Nothing.
        case nothing
        /// Every one is counted, as `activation` does.
        case counting
        /// Some are off, or changed.
        case masking(NeuronMask)
    }

    /// Passes of `tokens` tokens through the decoder, last row's logits included, one with each of
    /// `kinds`, in turn.
    public func prefill(tokens: Int, _ kinds: [Observing]) throws -> [Timing] {
        let input = input(tokens: tokens)
        return try time(
            kinds.map { kind in
                let (observation, keepsCache): (Observation?, Int?) =
                    switch kind {
                    case .nothing: (nil, tokens)
                    case .counting: (Observation(modules: model.modules, counting: true), nil)
                    case .masking(let mask):
                        (
                            Observation(modules: model.modules, counting: false, mask: mask),
                            tokens
                        )
                    }
                return {
                    let state = try model.run(
                        input, features: [], observation: observation, keepsCache: keepsCache,
                        after: { _, _ in })
                    _ = try model.lastLogits(state)
                }
            })
    }

    /// `tokens` decoding steps of `sequences` answers together, behind a prompt of `prompt` tokens,
    /// anew each time.
    public func decode(tokens: Int, prompt: Int, sequences: Int) throws -> Timing {
        let states = try (0..<sequences).map { _ in
            try model.run(
                input(tokens: prompt), features: [], observation: nil,
                keepsCache: prompt + tokens, after: { _, _ in })
        }
        return try time(reading: true) {
            for state in states { state.cache?.count = prompt }
            for step in 0..<tokens {
                let ids = states.indices.map { Int32((step * 31 + $0) % 100) }
                _ = try model.step(ids, states: states, observations: states.map { _ in nil })
            }
        }
    }

    /// Towers and projector or Q-Former of one picture.
    public func vision(image: RGBImage, prompt: String) throws -> Timing {
        let input = try model.prepare(image: image, prompt: prompt)
        return try time { _ = try input.imageFeatures(observation: nil) }
    }
}

extension VisionLanguageModel {
    /// 10^9 bytes a second that the kernel threads read from what is mapped of the language file.
    public func measureReadBandwidth() -> Double {
        csimd_measure_read_bandwidth(languageFile.baseAddress, languageFile.count) / 1e9
    }
}
