import MMQBase

/// Whose rule a score follows.
public enum MetricForm: String, Sendable, Codable, CaseIterable {
    /// The data set's own evaluation script.
    case official
    /// MMNeuron's `evaluate.py`.
    case mmneuron
}

/// What one sample (of `ad` one question) scored.
struct UnitScore: Sendable, Equatable {
    /// By what the same unit is found under another setting.
    let key: String
    let value: Double
    /// The group of samples that it belongs to, where the data set has such groups.
    var cluster: String?
    /// The groups that it belongs to: kind (`question_type`) and name (`what color is the`).
    var groups: [String: String] = [:]
}

/// One way to score a domain's answers.
struct Metric: Sendable {
    /// The rule in a few words; where a judge decides, what is added to the judge's name.
    private let name: String
    private var isJudged = false
    /// Attributes by which scores are also given apart.
    var groupings: [String] = []
    /// Whether the mean over the first grouping's groups is a score of its own.
    var averagesGroups = false
    /// Scores answers under one setting, or says what is missing.
    let units: @Sendable ([ScoredAnswer], (any AnswerJudge)?) throws -> Outcome

    enum Outcome {
        case units([UnitScore])
        case missing(String)
    }

    private init(
        _ name: String, isJudged: Bool = false, groupings: [String] = [],
        averagesGroups: Bool = false,
        _ units: @escaping @Sendable ([ScoredAnswer], (any AnswerJudge)?) throws -> Outcome
    ) {
        self.name = name
        self.isJudged = isJudged
        self.groupings = groupings
        self.averagesGroups = averagesGroups
        self.units = units
    }

    /// The rule in a few words, with the judge that decides.
    func title(judge: (any AnswerJudge)?) -> String {
        isJudged ? (judge?.name ?? "Lingo-Judge") + name : name
    }

    /// A rule that looks at one sample at a time.
    private static func each(
        _ name: String, groupings: [String] = [], averagesGroups: Bool = false,
        _ score: @escaping @Sendable (ScoredAnswer) throws -> Double
    ) -> Metric {
        Metric(name, groupings: groupings, averagesGroups: averagesGroups) { answers, _ in
            let keys = sampleKeys(answers)
            return .units(
                try zip(answers, keys).map { answer, key in
                    UnitScore(
                        key: key, value: try score(answer), cluster: answer.cluster,
                        groups: answer.attributes.filter { groupings.contains($0.key) })
                })
        }
    }

    /// The index; of repeated ones each gets its number too.
    private static func sampleKeys(_ answers: [ScoredAnswer]) -> [String] {
        var seen: [Int: Int] = [:]
        return answers.map { answer in
            seen[answer.index, default: 0] += 1
            let number = seen[answer.index] ?? 1
            return number == 1 ? "\(answer.index)" : "\(answer.index) (\(number))"
        }
    }

    /// The scores of a domain in one form; the first is the domain's score.
    static func all(_ domain: Domain, _ form: MetricForm) -> [Metric] {
        switch (domain, form) {
        case (.com, .official):
            [
                each("VQAv2 accuracy", groupings: ["answer_type", "question_type"]) {
                    VQAAccuracy.score(answer: $0.answer, records: try $0.records())
                }
            ]
        case (.com, .mmneuron):
            [
                Metric("among the confident answers") { answers, _ in
                    let keys = sampleKeys(answers)
                    var units: [UnitScore] = []
                    for (answer, key) in zip(answers, keys) {
                        guard let confident = try answer.confidentAnswers() else {
                            return .missing("the answers say nothing of 'answer_confidence'")
                        }
                        let text = PythonText(answer.answer).lowered()
                        let isRight = confident.contains { PythonText($0).lowered() == text }
                        units.append(
                            UnitScore(
                                key: key, value: isRight ? 1 : 0, cluster: answer.cluster))
                    }
                    return .units(units)
                }
            ]
        case (.doc, .official):
            [
                each("ANLS") {
                    ANLS.official(answer: $0.answer, references: try $0.comparedReferences())
                }
            ]
        case (.doc, .mmneuron):
            [
                each("ANLS without a cut") {
                    ANLS.uncut(answer: $0.answer, references: try $0.comparedReferences())
                }
            ]
        case (.rs, .official):
            [
                each("RSVQA accuracy", groupings: ["type"], averagesGroups: true) {
                    AerialAccuracy.official(answer: $0.answer, truth: try $0.truth()) ? 1 : 0
                }
            ]
        case (.rs, .mmneuron):
            [
                each("exact match") {
                    AerialAccuracy.exact(answer: $0.answer, truth: try $0.truth()) ? 1 : 0
                }
            ]
        case (.med, .official):
            [
                each("PMC-VQA accuracy") {
                    ChoiceAccuracy.official(answer: $0.answer, label: try $0.truth()) ? 1 : 0
                },
                byChoices,
            ]
        case (.med, .mmneuron):
            [
                each("letters found") {
                    Double(ChoiceAccuracy.occurrences(answer: $0.answer, label: try $0.truth()))
                }
            ]
        case (.ad, _):
            [
                Metric(form == .official ? "" : ", any row", isJudged: true) { answers, judge in
                    guard let judge else {
                        return .missing(
                            "needs Lingo-Judge: give its folder with \(CommandHint.judge)")
                    }
                    let accuracy = DrivingAccuracy(judge: judge)
                    return .units(
                        try form == .official
                            ? accuracy.official(answers) : accuracy.anyRow(answers))
                }
            ]
        }
    }

    /// PMC-VQA's other script. The label is a letter there too: its choice's text is looked for.
    private static let byChoices = Metric("PMC-VQA accuracy by choice texts") { answers, _ in
        let keys = sampleKeys(answers)
        var units: [UnitScore] = []
        for (answer, key) in zip(answers, keys) {
            guard let choices = answer.choices else {
                return .missing("the answers come without 'choices'")
            }
            let label = try answer.truth()
            try answer.check(choices + [label], most: ScoredAnswerLimit.choice)
            let place = ["A", "B", "C", "D"].firstIndex(of: label)
            let isRight = ChoiceAccuracy.byChoices(
                answer: answer.answer, choices: choices, label: place.map { choices[$0] } ?? label)
            units.append(
                UnitScore(
                    key: key, value: isRight ? 1 : 0, cluster: answer.cluster))
        }
        return .units(units)
    }
}
