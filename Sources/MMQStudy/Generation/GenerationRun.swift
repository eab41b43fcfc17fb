import Foundation
import MMQBase
import MMQModels

/// Answers a bench's questions under mask settings into a study: resumable, several answers at a
/// time.
public final class GenerationRun {
    /// Why a run over a domain ended.
    public typealias Outcome = ActivationRun.Outcome

    /// What to answer, and how.
    public struct Plan: Sendable {
        /// The domains, each answered under its own neuron sets.
        public var domains: [Domain]
        /// The mask settings.
        public var settings: [MaskSetting]
        /// The split.
        public var split: String
        /// Samples of each domain. The official code takes one more than the 1000 it says.
        public var samples: Int
        /// Answers decoded together. Each keeps the keys and values of its prompt in memory.
        public var batch: Int
        /// What an answer depends on.
        public var options: AnswerOptions
        /// Whether answers made in another way are thrown away; otherwise they are an error.
        public var replaces: Bool

        /// The official settings for a model's standard mask settings.
        public init(
            domains: [Domain] = Domain.allCases, settings: [MaskSetting], split: String = "val",
            samples: Int = 1000, batch: Int = 4, options: AnswerOptions = AnswerOptions(),
            replaces: Bool = false
        ) {
            self.domains = domains
            self.settings = settings
            self.split = split
            self.samples = samples
            self.batch = batch
            self.options = options
            self.replaces = replaces
        }
    }

    /// Where a run over a domain stands.
    public struct Progress: Sendable {
        /// Answers that this run gave, problems included.
        public let answered: Int
        /// The part of the domain's answers that the study holds, 0...1.
        public let fraction: Double
        /// The same when this run began: what the time left must be computed from.
        public let startFraction: Double
    }

    /// What a domain's answers came to.
    public struct Result: Sendable, Codable {
        /// The domain.
        public let domain: Domain
        /// Why the run ended.
        public internal(set) var outcome: Outcome
        /// Samples that were looked at.
        public internal(set) var samples = 0
        /// Samples passed over because their picture is not there.
        public internal(set) var skipped = 0
        /// Frames left out of a joined picture because they are not there.
        public internal(set) var missingFrames = 0
        /// Answers that this run gave.
        public internal(set) var answered = 0
        /// Answers that the study held before.
        public internal(set) var held = 0
        /// Samples times settings for which there is a problem in place of an answer, in this run.
        public internal(set) var problems = 0
        /// Tokens of this run's answers.
        public internal(set) var tokens = 0
        /// Times that this run ran the towers.
        public internal(set) var towerPasses = 0
    }

    let study: Study
    let model: any VisionLanguageModel
    let bench: String
    let plan: Plan
    /// [domain][setting]: which neurons are off, found before anything is computed.
    private var neurons: [Domain: [[String: [[Int]]]]] = [:]

    /// A run of a model over the bench in a folder.
    ///
    /// - Throws: `InputError`, `.mismatch` if the study is another model's, or if a setting needs
    ///   neurons of a module that were not identified.
    public init(
        study: Study, model: any VisionLanguageModel, bench: String, plan: Plan
    ) throws {
        self.study = study
        self.model = model
        self.bench = bench
        self.plan = plan
        if try study.model() == PassState.imported {
            // Neuron sets that came from files serve any model that has such neurons.
            let shapes = try study.modules()
            guard Set(shapes) == Set(model.modules) else {
                throw InputError(
                    .mismatch, file: study.path, item: "model",
                    "holds imported counts of modules of other shapes")
            }
        } else {
            try study.bind(modules: model.modules, fingerprint: model.fingerprint)
        }
        for domain in plan.domains {
            neurons[domain] = try plan.settings.map {
                try $0.neurons(of: domain, in: study, seed: plan.options.seed)
            }
        }
    }

    /// Answers a domain's samples under every setting, going on from what the study holds.
    ///
    /// Every answer is committed when it is complete. What a killed run leaves out, and only
    /// that, is computed by the next one; the study comes out the same.
    ///
    /// - Parameters:
    ///   - domain: one of the plan's domains.
    ///   - interrupted: asked before every sample and setting; true ends the run after the answers
    ///     under way.
    ///   - missing: called with the files of each picture that is not there.
    ///   - problem: called with the sample's place and why it has no answer.
    ///   - progress: called after every answer.
    public func run(
        _ domain: Domain, interrupted: () -> Bool = { false },
        missing: ([String]) -> Void = { _ in }, problem: (Int, String) -> Void = { _, _ in },
        progress: (Progress) -> Void = { _ in }
    ) throws -> Result {
        let samples = try BenchSplit(bench: bench, domain: domain, split: plan.split, form: .full)
        let lanes = try lanes(domain, bench: samples.fingerprint)
        let wanted = min(plan.samples, samples.count) * lanes.count
        var result = Result(domain: domain, outcome: .interrupted)
        result.held = lanes.reduce(0) { $0 + $1.done.count }
        func fraction() -> Double {
            let held = result.held + result.answered + result.problems
            return min(1, Double(held) / Double(max(1, wanted)))
        }
        let startFraction = fraction()
        func tell() {
            progress(
                Progress(
                    answered: result.answered + result.problems, fraction: fraction(),
                    startFraction: startFraction))
        }

        var running: [(job: Job, answer: RunningAnswer)] = []
        func finish() throws {
            for entry in running where entry.answer.isFinished {
                let answer = entry.answer.answer
                try study.add(
                    entry.job.stored(
                        text: model.architecture.studyAnswer(answer.text), tokens: answer.tokens,
                        promptTokens: answer.promptTokens), to: entry.job.lane.set)
                result.answered += 1
                result.tokens += answer.tokens.count
                tell()
            }
            running.removeAll { $0.answer.isFinished }
        }

        let queue = JobQueue(samples: samples, lanes: lanes, limit: plan.samples)
        var open = true
        while true {
            while open, running.count < max(1, plan.batch) {
                if interrupted() {
                    open = false
                    break
                }
                guard
                    let job = try queue.next(missing: { files, isFrame in
                        missing(files)
                        if isFrame {
                            result.missingFrames += files.count
                        } else {
                            result.skipped += 1
                        }
                    })
                else {
                    result.outcome = queue.reachedLimit ? .reached : .exhausted
                    open = false
                    break
                }
                do {
                    let answer = try begin(job, queue: queue)
                    running.append((job, answer))
                } catch let error as InputError {
                    guard let reason = error.reasonOfSample else { throw error }
                    try study.add(job.stored(problem: reason), to: job.lane.set)
                    result.problems += 1
                    problem(job.sample.position, reason)
                    tell()
                }
                // An answer of one token is complete before any step.
                try finish()
            }
            if running.isEmpty { break }
            try model.advance(running.map(\.answer))
            try finish()
        }
        result.samples = queue.samplesSeen
        result.towerPasses = queue.towerPasses
        return result
    }

    /// The settings of a domain with what the study holds of each, its set begun if there is none.
    private func lanes(_ domain: Domain, bench fingerprint: String) throws -> [Lane] {
        guard let neurons = neurons[domain] else {
            throw InputError(
                .failed, file: study.path, item: domain.rawValue, "not among the planned domains")
        }
        var lanes: [Lane] = []
        for (setting, off) in zip(plan.settings, neurons) {
            let set = AnswerSet(
                domain: domain, split: plan.split, setting: setting.name,
                model: model.fingerprint, bench: fingerprint, options: plan.options.json,
                mask: off)
            let held = try study.answerSet(
                domain: domain, split: plan.split, setting: setting.name)
            if let held, held != set, !plan.replaces {
                throw InputError(
                    .mismatch, file: study.path, item: "\(domain.rawValue) \(setting.name)",
                    Self.difference(held, set) + "; answer into another study, or let this run "
                        + "replace them (\(CommandHint.replace))")
            }
            if held != set { try study.begin(set) }
            let done = try study.answeredPositions(
                domain: domain, split: plan.split, setting: setting.name)
            lanes.append(try Lane(set: set, model: model, done: done))
        }
        return lanes
    }

    private static func difference(_ held: AnswerSet, _ set: AnswerSet) -> String {
        if held.bench == PassState.imported { return "holds imported answers" }
        if held.model != set.model { return "holds answers of another model (\(held.model))" }
        if held.bench != set.bench { return "holds answers to other annotations" }
        if held.options != set.options {
            return "holds answers made with other options (\(held.options))"
        }
        return "holds answers made with other neurons off than are identified now"
    }

    private func begin(_ job: Job, queue: JobQueue) throws -> RunningAnswer {
        let input = try queue.input(of: job) {
            try model.prepare(
                image: $0.picture(), prompt: model.architecture.studyPrompt($0.prompt))
        }
        let tokens = input.inputIDs.count
        guard tokens + max(1, plan.options.minTokens) <= model.contextLength else {
            throw InputError.tooLong(
                tokens: tokens + max(1, plan.options.minTokens), context: model.contextLength)
        }
        let features = try queue.features(of: job) {
            try input.imageFeatures(observation: job.lane.towers)
        }
        return try model.begin(
            input, features: features,
            options: plan.options.generation(
                job.sample, split: plan.split, setting: job.lane.set.setting),
            observation: job.lane.decoder)
    }
}

extension InputError {
    /// Why a model cannot take a sample; nil if the error is no fault of the sample's.
    var reasonOfSample: String? {
        switch code {
        case .badPrompt: description
        case .tooLong: problem
        default: nil
        }
    }
}
