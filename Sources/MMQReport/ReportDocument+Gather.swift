import Foundation
import MMQBase
import MMQModels
import MMQStudy

/// What a report looks at.
public struct ReportOptions: Sendable {
    /// The headline; nil for the study file's name.
    public var title: String?
    /// The split of counts and lens.
    public var split: String
    /// The name of the neuron sets.
    public var set: SetName
    /// The split of the answers.
    public var answerSplit: String
    /// Which forms of the scores.
    public var forms: [MetricForm]
    /// The setting that others are compared with.
    public var baseline: String
    /// Bootstrap and test.
    public var resampling: Resampling

    /// Both forms of the scores, against no mask.
    public init(
        title: String? = nil, split: String = "train", set: SetName = .usual,
        answerSplit: String = "val",
        forms: [MetricForm] = MetricForm.allCases, baseline: String = "none",
        resampling: Resampling = .init()
    ) {
        self.title = title
        self.split = split
        self.set = set
        self.answerSplit = answerSplit
        self.forms = forms
        self.baseline = baseline
        self.resampling = resampling
    }
}

extension ReportDocument {
    /// Gathers what a study holds. Nothing is measured anew; what is missing stays empty.
    ///
    /// - Parameters:
    ///   - study: the study.
    ///   - others: studies over the same samples, compared with it.
    ///   - formats: number formats next to a reference.
    ///   - models: models run side by side.
    ///   - pictures: lenses over single pictures.
    ///   - model: the study's model, for its types.
    ///   - judge: scores driving answers; without one their score is missing.
    ///   - gallery: what neurons are shown with one by one.
    ///   - made: the date of the report.
    /// - Throws: `InputError`, `.mismatch` if another study does not compare.
    public init(
        _ study: Study, others: [Study] = [], formats: [FormatFidelity] = [],
        models: [ModelFidelity] = [], pictures: [PictureLens] = [],
        model: ReportFacts.Model? = nil, judge: (any AnswerJudge)? = nil,
        gallery: GallerySources = .init(), options: ReportOptions = .init(), made: Date = Date()
    ) throws {
        version = 1
        let facts = try ReportFacts(study, model: model)
        self.facts = facts
        title = options.title ?? facts.file
        self.made = Self.date(made)
        try study.checkSet(options.set)
        set = options.set.name
        // Each module's entropies come from the same counts.
        (modules, self.gallery) = try study.rememberingCounts {
            let modules = try facts.modules.map {
                try ModuleNeurons($0, in: study, set: options.set)
            }
            return (
                modules, try ReportGallery(study, others, modules, set: options.set, gallery)
            )
        }
        stability = try ReportStability.all(in: study, modules)
        scores = try ReportScores(study, judge: judge, options: options)
        sweeps = try study.sweeps(scores: scores.scores)
        lens = try MaskSetting.sorted(
            study.lensPasses(.lens).filter { $0.split == options.split }, by: \.setting
        ).map { try study.lensSummary($0) }
        deviations = try MaskSetting.sorted(
            study.lensPasses(.deviation).filter { $0.split == options.split }, by: \.setting
        ).map { ReportDeviation(pass: $0, masks: try study.deviationSummaries($0)) }
        comparisons = try others.map { other in
            ReportComparison(
                file: Self.name(other.path), fingerprint: try other.model(),
                comparison: try StudyComparison(
                    study, other, split: options.split, set: options.set, judge: judge))
        }
        self.formats = formats
        self.models = models
        self.pictures = pictures
    }

    static func name(_ path: String) -> String { (path as NSString).lastPathComponent }

    static func date(_ date: Date) -> String {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime]
        return formatter.string(from: date)
    }
}

extension ReportFacts {
    init(_ study: Study, model: Model?) throws {
        file = ReportDocument.name(study.path)
        let attributes = try? FileManager.default.attributesOfItem(atPath: study.path)
        bytes = attributes?[.size] as? Int ?? 0
        changed = (attributes?[.modificationDate] as? Date).map(ReportDocument.date)
        fingerprint = try study.model()
        self.model = model
        modules = try study.modules()
        passes = try study.passes()
        found = try study.setNames().flatMap { set in
            try study.modules().compactMap { module in
                try study.identification(module: module.name, set: set).map {
                    Found(
                        set: set.name, module: module.name, domains: $0.domains, split: $0.split,
                        settings: $0.settings)
                }
            }
        }
        answers = try study.answerSets().map { set in
            let held = try study.answers(
                domain: set.domain, split: set.split, setting: set.setting)
            let answered = held.count { $0.text != nil }
            return Answers(
                domain: set.domain, split: set.split, setting: set.setting, model: set.model,
                bench: set.bench, options: set.options, answered: answered,
                unanswered: held.count - answered,
                neuronsOff: set.mask.values.joined().reduce(0) { $0 + $1.count })
        }
        lensPasses = try study.lensPasses(.lens) + study.lensPasses(.deviation)
    }
}

extension ReportStability {
    /// Random halves for a report: as many as `mmq stability` draws by default where modules are small,
    /// a fifth of them for a 7B model's decoder.
    ///
    /// Each draw looks through all neurons of a module in all domains, twice for the halves and 4/5
    /// times for a curve over 16 blocks. 20 draws over 450,000 neurons in five domains, a decoder's
    /// image and text positions apart, take 10 s of one core, shared by up to four.
    static func draws(_ modules: [ModuleNeurons]) -> Int {
        let greatest = modules.map { $0.module.layers * $0.module.neurons * $0.domains.count }.max()
        return max(20, min(100, 36_000_000 / max(1, greatest ?? 0)))
    }

    /// The neuron sets of each identified module, by the positions that they were found over and, if
    /// those are all, by the picture's and the text's where the module sees and the study tells both.
    static func all(in study: Study, _ modules: [ModuleNeurons]) throws -> [ReportStability] {
        let identified = modules.filter(\.isIdentified)
        let draws = draws(identified)
        return try identified.flatMap { module in
            let own = module.settings.positions
            let kinds: [Positions] =
                try own == .all && seesBoth(module, study) ? [.all, .image, .text] : [own]
            return try kinds.map { positions in
                var settings = module.settings
                settings.positions = positions
                do {
                    let found = try study.stability(
                        module: module.module.name, domains: module.domains, split: module.split,
                        settings: settings, draws: draws, extent: .overview)
                    return ReportStability(
                        module: module.module.name, positions: positions, found: found, missing: nil
                    )
                } catch let error as InputError where error.code == .mismatch {
                    let item = error.item.map { $0 + ": " } ?? ""
                    return ReportStability(
                        module: module.module.name, positions: positions, found: nil,
                        missing: item + error.problem)
                }
            }
        }
    }

    private static func seesBoth(_ module: ModuleNeurons, _ study: Study) throws -> Bool {
        try module.domains.allSatisfy { domain in
            guard let pass = try study.pass(domain: domain, split: module.split) else {
                return false
            }
            let kinds = try study.positions(of: module.module.name, in: pass)
            return kinds.contains(.image) && kinds.contains(.text)
        }
    }
}

extension ReportScores {
    init(_ study: Study, judge: (any AnswerJudge)?, options: ReportOptions) throws {
        split = options.answerSplit
        baseline = options.baseline
        draws = options.resampling.draws
        seed = options.resampling.seed
        isJudged = judge != nil
        let held = try study.scoredAnswers(split: options.answerSplit)
        unanswered = held.unanswered
        var evaluator = Evaluator(
            judge: judge, resampling: options.resampling, baseline: options.baseline)
        evaluator.scoresControls = false
        let found = try evaluator.evaluate(held.answers, forms: options.forms)
        scores = found.shownScores
        matrices = found.matrices
        controls = found.controls
        problems = found.problems.map {
            "\($0.domain.rawValue): not scored: \($0.error.item ?? ""): \($0.error.problem)"
        }
    }
}
