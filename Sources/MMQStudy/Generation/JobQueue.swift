import MMQBase
import MMQImage
import MMQModels

/// One mask setting of a domain, ready to answer under.
final class Lane {
    /// How its answers are made.
    let set: AnswerSet
    /// Positions that the study holds.
    let done: Set<Int>
    /// Switches neurons off in the towers; nil if none is off there.
    let towers: Observation?
    /// Switches neurons off in the decoder; nil if none is off there.
    let decoder: Observation?
    /// The neurons that `towers` switches off: features are shared between lanes where these agree.
    let towerNeurons: [String: [[Int]]]

    init(set: AnswerSet, model: any VisionLanguageModel, done: Set<Int>) throws {
        self.set = set
        self.done = done
        let off = set.mask.filter { $0.value.contains { !$0.isEmpty } }
        func observation(_ neurons: [String: [[Int]]]) throws -> Observation? {
            guard !neurons.isEmpty else { return nil }
            return Observation(
                modules: model.modules, counting: false,
                mask: try NeuronMask(
                    layers: neurons, modules: model.modules, file: "mask \(set.setting)"))
        }
        towerNeurons = off.filter { $0.key != model.decoderModule.name }
        towers = try observation(towerNeurons)
        decoder = try observation(off.filter { $0.key == model.decoderModule.name })
    }
}

/// One answer to give: a sample under a setting.
struct Job {
    let sample: BenchSample
    let lane: Lane

    /// The answer as it is stored.
    func stored(
        text: String? = nil, problem: String? = nil, tokens: [Int32] = [], promptTokens: Int = 0
    ) -> StoredAnswer {
        StoredAnswer(
            position: sample.position, index: sample.index, question: sample.question,
            groundTruth: sample.answer, attributes: sample.attributes, text: text,
            problem: problem, tokens: tokens, promptTokens: promptTokens)
    }
}

/// The answers that a domain still lacks, sample by sample and in each sample setting by setting,
/// so that a sample's pixels and features are computed once and then forgotten.
final class JobQueue {
    /// Samples that the walk came to, those that lack nothing included.
    private(set) var samplesSeen = 0
    /// Whether the walk ended because it had as many samples as wanted.
    private(set) var reachedLimit = false
    /// Times that features were computed.
    private(set) var towerPasses = 0

    private let samples: BenchSplit
    private let lanes: [Lane]
    private let limit: Int
    /// The jobs of the sample at hand, last first.
    private var waiting: [Job] = []
    private var position: Int?
    private var input: Swift.Result<PreparedInput, InputError>?
    private var features: [[String: [[Int]]]: [Float]] = [:]

    init(samples: BenchSplit, lanes: [Lane], limit: Int) {
        self.samples = samples
        self.lanes = lanes
        self.limit = limit
    }

    /// The next job; nil at the end.
    ///
    /// - Parameter missing: called with the files that are not there; the second argument says
    ///   whether they are frames of a sample that has others.
    func next(missing: (_ files: [String], _ isFrame: Bool) -> Void) throws -> Job? {
        while waiting.isEmpty {
            guard samplesSeen < limit else {
                reachedLimit = true
                return nil
            }
            guard let item = try samples.next() else { return nil }
            switch item {
            case .missing(_, let files):
                missing(files, false)
            case .sample(let sample):
                samplesSeen += 1
                if !sample.missing.isEmpty { missing(sample.missing, true) }
                waiting = lanes.filter { !$0.done.contains(sample.position) }
                    .reversed().map { Job(sample: sample, lane: $0) }
            }
        }
        return waiting.removeLast()
    }

    /// Pixels and token ids of a job's sample, made by `prepare` at the first of its jobs.
    func input(
        of job: Job, prepare: (BenchSample) throws -> PreparedInput
    ) throws -> PreparedInput {
        if position != job.sample.position {
            position = job.sample.position
            input = nil
            features = [:]
        }
        if let input { return try input.get() }
        do {
            let made = try prepare(job.sample)
            input = .success(made)
            return made
        } catch let error as InputError {
            // The same for every setting: no need to find it out again.
            input = .failure(error)
            throw error
        }
    }

    /// The features of a job's sample under its mask, computed once for all masks that agree in
    /// the towers.
    func features(of job: Job, compute: () throws -> [Float]) throws -> [Float] {
        if let known = features[job.lane.towerNeurons] { return known }
        let computed = try compute()
        towerPasses += 1
        features[job.lane.towerNeurons] = computed
        return computed
    }
}
