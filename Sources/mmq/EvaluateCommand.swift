import ArgumentParser
import Foundation
import MMQBase
import MMQModels
import MMQStudy

/// `mmq evaluate`: scores answers, of a study or of a file.
struct EvaluateCommand: ParsableCommand {
    enum Form: String, CaseIterable, ExpressibleByArgument {
        case official, mmneuron, both

        var forms: [MetricForm] {
            switch self {
            case .official: [.official]
            case .mmneuron: [.mmneuron]
            case .both: MetricForm.allCases
            }
        }
    }

    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Score answers: the data sets' own rules and MMNeuron's.",
        discussion: """
            Every score comes with a 95 % interval (percentile bootstrap over the samples) and every \
            mask setting with its difference to no mask over the samples that both answered, with \
            the p value of a two-sided sign-flip test: exact where all differences have one size \
            (sign test) or at most 16 are not zero, else from random flips. Samples that belong \
            together (\(ClusterWords.keys)) are drawn and flipped together. "Holm" is p corrected \
            for all tests of its kind that are printed; beside differences that p does not tell from \
            0 stands the smallest that so many samples would have shown (80 % power).

            Where a study has every set on every bench (generate --masks matrix), a matrix of the \
            differences follows, and for each set its specificity: the drop of its own domain less \
            the mean drop of the others. Where it has numbered controls (random*20, matched*20), \
            each effect's place among theirs.

            A file of answers has one JSON object a line: index, ground_truth, answer, and where a \
            score needs them question, question_id, segment_id (ad), type (rs), question_type, \
            answer_type (com), choices (med). Ground truth as the official loaders yield it: texts \
            (ad, doc), a letter (med), a record with answer (rs), the annotators' records or their \
            texts (com).
            """)

    @Option(help: "The study file (SQLite).")
    var study: String?

    @Option(help: "A file of answers made elsewhere, one JSON object a line.")
    var answers: String?

    @OptionGroup var domains: DomainOptions

    @Option(help: "The split whose answers are scored.")
    var split: String = "val"

    @Option(help: "Whose rules: official, mmneuron or both.")
    var metric: Form = .both

    @OptionGroup var judging: JudgeOptions

    @OptionGroup var sets: SetOptions

    @Option(help: "The setting that the others are compared with.")
    var baseline: String = "none"

    @Option(help: "Bootstrap samples, and random sign flips.")
    var draws: Int = 10_000

    @Option(help: "The seed of both.")
    var seed: UInt64 = 1

    @Flag(help: "Also print the scores of the single types of question.")
    var types = false

    @Flag(help: "Print one JSON document, types included.")
    var json = false

    func validate() throws {
        guard (study == nil) != (answers == nil) else {
            throw ValidationError("Give either --study or --answers.")
        }
        if answers != nil, try domains.chosen()?.count != 1 {
            throw ValidationError("--answers needs one --domain: ad, med, rs, com or doc.")
        }
        guard (100...1_000_000).contains(draws) else {
            throw ValidationError("--draws is between 100 and 1000000.")
        }
    }

    func run() throws {
        let given = try read()
        let settings = Set(given.map(\.setting))
        if baseline != "none", !settings.contains(baseline) {
            throw ValidationError(
                "--baseline \(baseline): there are no such answers, only "
                    + settings.sorted().joined(separator: ", ") + ".")
        }
        var evaluator = Evaluator(
            judge: try judging.open(ifNeeded: given.contains { $0.domain == .ad }),
            resampling: Resampling(draws: draws, seed: seed), baseline: baseline)
        // The text has none of them.
        evaluator.scoresControls = json
        let found = try evaluator.evaluate(given, forms: metric.forms)
        let problems = found.problems
        if let first = problems.first, found.scores.isEmpty { throw first.error }
        if json {
            try Diagnostics.printJSON(Document(draws: draws, seed: seed, found))
        } else {
            print(EvaluationText(found, types: types).text)
        }
        for problem in problems {
            Diagnostics.note("mmq: \(problem.domain.rawValue) is not scored: \(problem.error)")
        }
        if !problems.isEmpty { throw ExitCode(2) }
    }

    private func read() throws -> [ScoredAnswer] {
        var held: (answers: [ScoredAnswer], unanswered: Int)
        if let answers, let domain = try domains.chosen()?.first {
            held = try ScoredAnswer.read(path: answers, domain: domain, setting: baseline)
        } else {
            held = try Study(path: study ?? "", access: .reading)
                .scoredAnswers(domains: domains.chosen(), split: split)
            if sets.set != nil {
                let wanted = try sets.chosen()
                held.answers.removeAll { MaskSetting.set(of: $0.setting) ?? wanted != wanted }
            }
        }
        if held.unanswered > 0 {
            Diagnostics.note("note: \(held.unanswered) samples have no answer and are left out")
        }
        guard !held.answers.isEmpty else {
            let problem = answers == nil ? "no answers of the \(split) split" : "no answers"
            throw InputError(.mismatch, file: answers ?? study ?? "", problem + " to score")
        }
        return held.answers
    }

    private struct Document: Encodable {
        let version = 2
        let interval =
            "95 %, percentile bootstrap over samples, or over groups that belong together"
        let test = "two-sided sign flips of paired differences, of groups as a whole"
        let draws: Int
        let seed: UInt64
        let clusters: [String: String]
        let scores: [Score]
        let matrices: [SetMatrix]
        let controls: [ControlTest]

        init(draws: Int, seed: UInt64, _ found: Evaluation) {
            self.draws = draws
            self.seed = seed
            clusters = Dictionary(
                Domain.allCases.compactMap { domain in
                    domain.clusterKey.map { (domain.rawValue, $0) }
                }, uniquingKeysWith: { $1 })
            scores = found.scores
            matrices = found.matrices
            controls = found.controls
        }
    }
}

/// Sentences of help texts about samples that belong together.
private enum ClusterWords {
    /// The attribute of each data set.
    static let keys = Domain.allCases.compactMap { domain in
        domain.clusterKey.map { "\(domain.rawValue): \($0)" }
    }.joined(separator: ", ")
}
