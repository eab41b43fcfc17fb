import MMQBase

/// A mean over samples with its interval.
public struct MeanScore: Sendable, Equatable, Codable {
    /// Samples (of `ad` questions) that the mean is over.
    public let samples: Int
    /// The mean: 0...1, except that MMNeuron's rule for `med` may count a sample more than once.
    public let value: Double
    /// Its 95 % interval: percentile bootstrap over the samples, or over the groups of samples that
    /// belong together (`Domain.clusterKey`).
    public let interval: Interval
    /// How many such groups; as many as samples where each is its own.
    public let clusters: Int
}

/// One score of one domain under one mask setting.
public struct Score: Sendable, Equatable, Codable {
    /// The score of the samples of one type.
    public struct Group: Sendable, Equatable, Codable {
        /// What the types are types of: `question_type`, `answer_type`, `type`.
        public let kind: String
        /// The type.
        public let name: String
        /// Its score.
        public let score: MeanScore
    }

    /// The domain.
    public let domain: Domain
    /// Whose rule it follows.
    public let form: MetricForm
    /// The rule in a few words.
    public let metric: String
    /// The mask setting.
    public let setting: String
    /// Answers that were given.
    public let answers: Int
    /// The score; nil if `missing` says what it lacks.
    public internal(set) var score: MeanScore?
    /// Apart by type, where the data set has types and the answers name them.
    public internal(set) var groups: [Group] = []
    /// The mean of the types' scores (RSVQA's average accuracy); the bootstrap draws within each
    /// type.
    public internal(set) var average: MeanScore?
    /// The difference to no mask; nil for no mask itself and where that was not answered.
    public internal(set) var change: Change?
    /// What the score lacks.
    public internal(set) var missing: String?
}

/// Scores answers: both forms of every domain's score, with intervals and paired tests.
public struct Evaluator {
    /// Judges driving answers; without one their score is missing.
    public var judge: (any AnswerJudge)?
    /// Bootstrap and test.
    public var resampling: Resampling
    /// The setting that all others are compared with.
    public var baseline: String
    /// Whether numbered controls get scores with intervals of their own. Without, `ControlTest` has
    /// their effects all the same; where they are many, their bootstraps take most of the time.
    public var scoresControls = true

    /// An evaluator.
    public init(
        judge: (any AnswerJudge)? = nil, resampling: Resampling = .init(),
        baseline: String = "none"
    ) {
        self.judge = judge
        self.resampling = resampling
        self.baseline = baseline
    }

    /// The scores, by domain, form and rule; within these in the order in which the settings first
    /// occur.
    ///
    /// - Throws: `InputError`, `.badInput` naming a sample whose ground truth has not the domain's
    ///   form; whatever the judge throws.
    public func scores(
        of answers: [ScoredAnswer], forms: [MetricForm] = MetricForm.allCases
    ) throws -> [Score] {
        let found = try evaluate(answers, forms: forms)
        if let problem = found.problems.first { throw problem.error }
        return found.scores
    }

    /// Scores, what sets do on benches of other domains, and the chance of such effects.
    ///
    /// Domains do not depend on each other: answers that cannot be scored (imported ones may have
    /// another form, or lack their references) leave the others' scores as they are.
    ///
    /// - Throws: whatever the judge throws.
    public func evaluate(
        _ answers: [ScoredAnswer], forms: [MetricForm] = MetricForm.allCases
    ) throws -> Evaluation {
        var evaluation = Evaluation()
        var benches: [MetricForm: [Domain: BenchUnits]] = [:]
        for domain in Domain.allCases {
            let held = answers.filter { $0.domain == domain }
            var settings: [String] = []
            for answer in held where !settings.contains(answer.setting) {
                settings.append(answer.setting)
            }
            do {
                var found: [Score] = []
                for form in forms {
                    for (number, metric) in Metric.all(domain, form).enumerated() {
                        let (scores, units) = try self.scores(
                            domain, form, metric, settings, held)
                        // A second rule that lacks what it needs is not worth a line.
                        found += number == 0 ? scores : scores.filter { $0.missing == nil }
                        if number == 0, !units.isEmpty {
                            benches[form, default: [:]][domain] = BenchUnits(
                                metric: metric.title(judge: judge), settings: settings,
                                units: units)
                        }
                    }
                }
                evaluation.scores += found
            } catch let error as InputError where error.code == .badInput {
                for form in forms { benches[form]?[domain] = nil }
                evaluation.problems.append((domain, error))
            }
        }
        for form in forms {
            evaluation.controls += controls(form, benches[form] ?? [:])
            evaluation.matrices += matrices(form, benches[form] ?? [:])
        }
        evaluation.correct()
        return evaluation
    }

    /// The scores under every setting by one rule, and what each sample scored, by setting; of numbered
    /// controls perhaps only the latter.
    func scores(
        _ domain: Domain, _ form: MetricForm, _ metric: Metric, _ settings: [String],
        _ answers: [ScoredAnswer]
    ) throws -> (scores: [Score], units: [String: [UnitScore]]) {
        var unitsBySetting: [String: [UnitScore]] = [:]
        var scores: [Score] = []
        for setting in settings {
            let given = answers.filter { $0.setting == setting }
            var score = Score(
                domain: domain, form: form, metric: metric.title(judge: judge),
                setting: setting, answers: given.count)
            switch try metric.units(given, judge) {
            case .missing(let what): score.missing = what
            case .units(let units):
                unitsBySetting[setting] = units
                guard scoresControls || !MaskSetting.isNumbered(setting) else { continue }
                score.score = mean(units)
                let grouped = groups(units, metric)
                score.groups = grouped.groups
                score.average = grouped.average
            }
            scores.append(score)
        }
        guard let base = unitsBySetting[baseline] else { return (scores, unitsBySetting) }
        for (i, score) in scores.enumerated() where score.setting != baseline {
            scores[i].change = change(unitsBySetting[score.setting] ?? [], base)
        }
        return (scores, unitsBySetting)
    }

    private func mean(_ units: [UnitScore], stream: UInt64 = 0) -> MeanScore? {
        let clusters = Clusters(units.map(\.value), keys: units.map(\.cluster))
        return resampling.interval(clusters, stream: stream).map {
            MeanScore(
                samples: units.count, value: clusters.mean, interval: $0,
                clusters: clusters.count)
        }
    }

    /// The scores by type, types in alphabetical order, and their mean if the metric has one.
    private func groups(
        _ units: [UnitScore], _ metric: Metric
    ) -> (groups: [Score.Group], average: MeanScore?) {
        var groups: [Score.Group] = []
        var average: MeanScore?
        for kind in metric.groupings {
            let byName = Dictionary(grouping: units.filter { $0.groups[kind] != nil }) {
                $0.groups[kind] ?? ""
            }
            let names = byName.keys.sorted()
            var drawn = Array(repeating: 0.0, count: resampling.draws)
            for (number, name) in names.enumerated() {
                let some = byName[name] ?? []
                let clusters = Clusters(some.map(\.value), keys: some.map(\.cluster))
                let draws = resampling.means(clusters, stream: UInt64(number) + 1)
                for i in draws.indices { drawn[i] += draws[i] / Double(names.count) }
                groups.append(
                    .init(
                        kind: kind, name: name,
                        score: MeanScore(
                            samples: some.count, value: clusters.mean,
                            interval: Resampling.interval(ofDraws: draws),
                            clusters: clusters.count)))
            }
            if metric.averagesGroups, kind == metric.groupings.first, !names.isEmpty {
                let scores = groups.filter { $0.kind == kind }.map(\.score)
                average = MeanScore(
                    samples: scores.reduce(0) { $0 + $1.samples },
                    value: scores.reduce(0) { $0 + $1.value } / Double(scores.count),
                    interval: Resampling.interval(ofDraws: drawn),
                    clusters: scores.reduce(0) { $0 + $1.clusters })
            }
        }
        return (groups, average)
    }

    /// The differences between two settings of the samples that both answered.
    static func differences(_ units: [UnitScore], _ base: [UnitScore]) -> Clusters {
        let others = Dictionary(base.map { ($0.key, $0.value) }) { first, _ in first }
        let pairs = units.compactMap { unit in
            others[unit.key].map { (unit.value - $0, unit.cluster) }
        }
        return Clusters(pairs.map(\.0), keys: pairs.map(\.1))
    }

    func change(_ units: [UnitScore], _ base: [UnitScore]) -> Change? {
        change(Self.differences(units, base))
    }
}
