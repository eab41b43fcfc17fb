import MMQBase
import MMQModels

/// Says how well an answer agrees with a reference: Lingo-Judge, or what stands in for it.
public protocol AnswerJudge {
    /// What a score made with it is called.
    var name: String { get }

    /// The judge's logit; above 0 (a probability above one half) the answer counts as right.
    ///
    /// - Parameters:
    ///   - question: the question as the data set has it.
    ///   - reference: a true answer.
    ///   - answer: the model's answer.
    func score(question: String, reference: String, answer: String) throws -> Float
}

/// LingoQA's score: the part of the questions whose answer a judge takes for right.
///
/// Each row of the data set is one reference of a question; two rows belong together.
struct DrivingAccuracy {
    let judge: any AnswerJudge

    /// As the data set's script computes it: one answer to each question (the first in the order
    /// of the answers) against all references that the answers bring; the greatest logit decides.
    /// Reference and answer are judged in lower case and stripped.
    func official(_ answers: [ScoredAnswer]) throws -> [UnitScore] {
        try Self.questions(answers, by: ["question_id", "segment_id"]).map { question in
            let first = question.answers[0]
            var best = -Float.infinity
            for reference in try question.answers.flatMap({ try $0.references() }) {
                best = max(
                    best,
                    try judge.score(
                        question: try first.requiredQuestion(), reference: cleaned(reference),
                        answer: cleaned(first.answer)))
            }
            return UnitScore(key: question.key, value: best > 0 ? 1 : 0, cluster: first.cluster)
        }
    }

    /// As MMNeuron computes it: every row's own answer against the row's own reference, nothing
    /// cleaned; a question is right if any of its rows is. Two departures: a question of which no
    /// row was answered is left out (there it counts as wrong), and the judge reads 128 tokens of
    /// a text (there all of it).
    func anyRow(_ answers: [ScoredAnswer]) throws -> [UnitScore] {
        try Self.questions(answers, by: ["question_id"]).map { question in
            var isRight = false
            for row in question.answers where !isRight {
                isRight = try row.references().contains { reference in
                    try judge.score(
                        question: try row.requiredQuestion(), reference: reference,
                        answer: row.answer) > 0
                }
            }
            return UnitScore(
                key: question.key, value: isRight ? 1 : 0, cluster: question.answers[0].cluster)
        }
    }

    private func cleaned(_ text: String) -> String { PythonText(text).lowered().stripped().string }

    /// The rows of each question, in the order of their first; a row that does not name its
    /// question is one of its own.
    private static func questions(
        _ answers: [ScoredAnswer], by fields: [String]
    ) -> [(key: String, answers: [ScoredAnswer])] {
        var places: [String: Int] = [:]
        var questions: [(key: String, answers: [ScoredAnswer])] = []
        for answer in answers {
            let named = answer.attributes["question_id"] != nil
            let key =
                named
                ? fields.map { answer.attributes[$0] ?? "" }.joined(separator: "\u{1f}")
                : "row \(answer.index)"
            if let place = places[key] {
                questions[place].answers.append(answer)
            } else {
                places[key] = questions.count
                questions.append((key, [answer]))
            }
        }
        return questions
    }
}

/// Takes an answer for right if it is a reference, but for case, blanks around it and a full stop.
/// Not LingoQA's score: for short answers (the demo's) where Lingo-Judge is not at hand.
public struct ExactJudge: AnswerJudge {
    /// Says what it is not, too.
    public let name = "exact match, not Lingo-Judge"

    /// There is nothing to load.
    public init() {}

    /// 1 or -1.
    public func score(question: String, reference: String, answer: String) -> Float {
        bare(reference) == bare(answer) ? 1 : -1
    }

    private func bare(_ text: String) -> String {
        let text = PythonText(text).lowered().stripped().string
        return text.hasSuffix(".") ? String(text.dropLast()) : text
    }
}

extension LingoJudge: AnswerJudge {
    /// As LingoQA calls its score.
    public var name: String { "Lingo-Judge" }

    /// The judge's logit for texts as they are.
    public func score(question: String, reference: String, answer: String) throws -> Float {
        try logit(question: question, reference: reference, answer: answer, cleans: false)
    }
}
