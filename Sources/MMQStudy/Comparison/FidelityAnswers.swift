import MMQBase
import MMQImage
import MMQModels

/// What a reference and other models answered to the same questions, and how fast.
final class FidelityAnswers {
    /// The reference first.
    let models: [(name: String, model: any VisionLanguageModel)]
    /// Where questions come from, for errors.
    let bench: String
    private var speeds: [Fidelity.Speed]
    /// [models]: answers to the same samples, in the same order.
    private var given: [(domain: Domain, answers: [[ScoredAnswer]])] = []

    init(_ models: [(name: String, model: any VisionLanguageModel)], bench: String) {
        self.models = models
        self.bench = bench
        speeds = models.map { _ in Fidelity.Speed() }
    }

    /// How fast a model was; nil if it was asked nothing.
    func speed(_ place: Int) -> Fidelity.Speed? {
        speeds[place].promptTokens > 0 ? speeds[place] : nil
    }

    fileprivate func add(_ domain: Domain, _ answers: [[ScoredAnswer]], _ taken: [Fidelity.Speed]) {
        given.append((domain, answers))
        for (place, speed) in taken.enumerated() {
            speeds[place].promptTokens += speed.promptTokens
            speeds[place].promptSeconds += speed.promptSeconds
            speeds[place].answerTokens += speed.answerTokens
            speeds[place].answerSeconds += speed.answerSeconds
        }
    }

    /// How many samples were compared, with how many were answered.
    func counted(_ samples: [Fidelity.Samples]) -> [Fidelity.Samples] {
        samples.map { domain in
            var domain = domain
            domain.answered = given.first { $0.domain == domain.domain }?.answers[0].count ?? 0
            return domain
        }
    }

    /// A model's answers next to the reference's; a domain that cannot be scored is noted.
    func compared(
        _ place: Int, split: String, judge: (any AnswerJudge)?, notes: inout [String]
    ) throws -> ([StudyComparison.Answers], [StudyComparison.ScoreChange]) {
        var agreements: [StudyComparison.Answers] = []
        var scores: [StudyComparison.ScoreChange] = []
        for (domain, answers) in given {
            let pairs = Array(zip(answers[0], answers[place]))
            agreements.append(
                StudyComparison.Answers(
                    domain: domain, split: split, setting: FidelityAnswersStep.setting,
                    texts: pairs.map { ($0.answer, $1.answer) }))
            do {
                scores += try StudyComparison.changes(
                    from: answers[0], to: answers[place], domain: domain, split: split,
                    setting: FidelityAnswersStep.setting, judge: judge)
            } catch let error as InputError where error.code == .badInput {
                let note = "\(domain.rawValue) answers: not scored: \(error)"
                if !notes.contains(note) { notes.append(note) }
            }
        }
        return (agreements, scores)
    }
}

/// A judge that is asked the same but once: the reference's answers come again with every model.
final class RememberingJudge: AnswerJudge {
    private let judge: any AnswerJudge
    private var known: [[String]: Float] = [:]

    init(_ judge: any AnswerJudge) { self.judge = judge }

    var name: String { judge.name }

    func score(question: String, reference: String, answer: String) throws -> Float {
        let key = [question, reference, answer]
        if let score = known[key] { return score }
        let score = try judge.score(question: question, reference: reference, answer: answer)
        known[key] = score
        return score
    }
}

/// Lets the reference and every model answer a sample, greedily and one after the other; nothing is
/// stored.
final class FidelityAnswersStep: RunStep {
    /// Nothing is masked.
    static let setting = "none"

    let samples: BenchSplit
    let start = RunCursor()

    private let run: FidelityAnswers
    private let wanted: Int
    private let options: AnswerOptions
    private var answers: [[ScoredAnswer]]
    private var speeds: [Fidelity.Speed]

    init(_ run: FidelityAnswers, samples: BenchSplit, wanted: Int, maxTokens: Int) {
        self.run = run
        self.samples = samples
        self.wanted = wanted
        options = AnswerOptions(temperature: 0, topK: 0, maxTokens: maxTokens)
        answers = run.models.map { _ in [] }
        speeds = run.models.map { _ in Fidelity.Speed() }
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= wanted }

    func fraction(_ cursor: RunCursor) -> Double {
        fraction(Double(cursor.samples), of: Double(wanted), cursor)
    }

    func begin(_ sample: BenchSample) throws -> Bool {
        let picture = try sample.picture()
        // A sample that one model refuses counts for none of them.
        var taken = speeds
        let texts = try run.models.indices.map { place in
            try answer(run.models[place].model, picture, sample, &taken[place])
        }
        speeds = taken
        for (place, text) in texts.enumerated() {
            answers[place].append(
                ScoredAnswer(
                    domain: sample.domain, index: sample.index, setting: Self.setting,
                    question: sample.question, groundTruth: sample.answer, answer: text,
                    attributes: sample.attributes, choices: sample.choices,
                    source: run.bench))
        }
        return true
    }

    private func answer(
        _ model: any VisionLanguageModel, _ picture: RGBImage, _ sample: BenchSample,
        _ speed: inout Fidelity.Speed
    ) throws -> String {
        let input = try model.prepareQuestion(sample, picture, options)
        let features = try input.imageFeatures(observation: nil)
        let running = try model.begin(
            input, features: features,
            options: options.generation(sample, split: "", setting: Self.setting),
            observation: nil)
        while !running.isFinished { try model.advance([running]) }
        let answer = running.answer
        speed.promptTokens += answer.promptTokens
        speed.promptSeconds += answer.prefillSeconds
        speed.answerTokens += max(0, answer.tokens.count - 1)
        speed.answerSeconds += answer.decodeSeconds
        return model.architecture.studyAnswer(answer.text)
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) {}

    /// How many samples were answered. With the last, the domain is handed to the run.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> Int {
        guard let count = answers.first?.count, count > 0 else { return 0 }
        run.add(samples.domain, answers, speeds)
        return count
    }
}
