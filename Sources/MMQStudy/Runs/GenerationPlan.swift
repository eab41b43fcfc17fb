import Foundation
import MMQBase
import MMQModels

/// Answering a bench's questions under mask settings into a study.
public struct GenerationPlan {
    /// What to answer, and how.
    public struct Settings: Sendable {
        /// The domains, each answered under its own neuron sets.
        public var domains: [Domain]
        /// The mask settings.
        public var masks: [MaskSetting]
        /// The split.
        public var split: String
        /// Samples of each domain. The official code takes one more than the 1000 it says.
        public var samples: Int
        /// Answers decoded together. Each keeps the keys and values of its prompt in memory.
        public var batch: Int
        /// What an answer depends on.
        public var options: AnswerOptions
        /// Which samples are answered; nil for all.
        public var shard: Shard?
        /// Whether answers made in another way are thrown away; otherwise they are an error.
        public var replaces: Bool

        /// The official settings for a model's standard mask settings.
        public init(
            domains: [Domain] = Domain.allCases, masks: [MaskSetting], split: String = "val",
            samples: Int = 1000, batch: Int = 4, options: AnswerOptions = AnswerOptions(),
            shard: Shard? = nil, replaces: Bool = false
        ) {
            self.domains = domains
            self.masks = masks
            self.split = split
            self.samples = samples
            self.batch = batch
            self.options = options
            self.shard = shard
            self.replaces = replaces
        }
    }

    /// What a domain's answers came to.
    public struct Result: Sendable, Codable {
        /// The domain.
        public let domain: Domain
        /// Why the run ended.
        public internal(set) var outcome: RunOutcome
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
    let settings: Settings
    let allowsOutside: Bool
    /// [domain]: the settings, each once, with what they do to neurons, found before anything is
    /// computed.
    private var masks: [Domain: [(setting: MaskSetting, neurons: [String: [LayerMask]])]] = [:]

    /// Answering with a model over the bench in a folder.
    ///
    /// - Parameter allowsOutside: whether pictures may lie outside the bench's folder.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's, or if a setting needs
    ///   neurons of a module that were not identified.
    public init(
        study: Study, model: any VisionLanguageModel, bench: String, settings: Settings,
        allowsOutside: Bool = false
    ) throws {
        self.study = study
        self.model = model
        self.bench = bench
        self.settings = settings
        self.allowsOutside = allowsOutside
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
        for domain in settings.domains {
            var known: Set<MaskSetting> = []
            let wanted = settings.masks.map { $0.on(domain) }.filter { known.insert($0).inserted }
            masks[domain] = try study.rememberingCounts {
                try wanted.map {
                    ($0, try $0.neurons(of: domain, in: study, seed: settings.options.seed))
                }
            }
        }
    }

    /// Answering a domain's samples under every setting, from what the study holds.
    ///
    /// - Parameter domain: one of the settings' domains.
    public func step(_ domain: Domain) throws -> some RunStep<Result> {
        try GenerationStep(self, domain)
    }

    /// A domain's sets of answers, each with what the study holds in its place.
    ///
    /// - Throws: `InputError`, `.mismatch` where that was made in another way and is not to be replaced.
    func sets(_ domain: Domain, bench fingerprint: String) throws -> [(
        set: AnswerSet, held: AnswerSet?
    )] {
        guard let masks = masks[domain] else {
            throw InputError(
                .failed, file: study.path, item: domain.rawValue, "not among the planned domains")
        }
        return try masks.map { setting, neurons in
            let set = AnswerSet(
                domain: domain, split: settings.split, setting: setting.name,
                model: model.fingerprint, bench: fingerprint, options: settings.options.json,
                mask: neurons)
            let held = try study.answerSet(
                domain: domain, split: settings.split, setting: setting.name)
            if let held, held != set, !settings.replaces {
                throw InputError(
                    .mismatch, file: study.path, item: "\(domain.rawValue) \(setting.name)",
                    Self.difference(held, set) + "; answer into another study, or let this run "
                        + "replace them (\(CommandHint.replace))")
            }
            return (set, held)
        }
    }

    /// The settings of a domain with what the study holds of each, its set begun if there is none.
    ///
    /// - Parameter samples: the domain's, of which the walk has not begun.
    func lanes(_ samples: BenchSplit) throws -> [Lane] {
        // The same for every setting.
        let total = try settings.shard.map { shard in
            try samples.plan(shard, tokens: nil) { taken, _ in taken >= settings.samples }
        }
        let sets = try sets(samples.domain, bench: samples.fingerprint)
        // Together: a set without its row in `shard` is taken for a whole one.
        return try study.atomically {
            try sets.map { set, held in
                if held != set { try study.begin(set) }
                let done = try study.answeredPositions(
                    domain: set.domain, split: set.split, setting: set.setting)
                let part = ShardRun(
                    try study.progress(
                        of: StudyItem(set), as: settings.shard, isThere: !done.isEmpty,
                        goal: "\(settings.samples) samples"), total: { _ in total ?? 0 })
                if held != set, let part { try study.store(part.progress) }
                return try Lane(set: set, model: model, done: done, part: part)
            }
        }
    }

    private static func difference(_ held: AnswerSet, _ set: AnswerSet) -> String {
        if held.bench == PassState.imported { return "holds imported answers" }
        if held.model != set.model { return "holds answers of another model (\(held.model))" }
        if held.bench != set.bench { return "holds answers to other annotations" }
        if held.options != set.options {
            return "holds answers made with other options (\(held.options))"
        }
        return "holds answers made with other neurons masked than are identified now, or to other "
            + "values than the counts now have"
    }
}
