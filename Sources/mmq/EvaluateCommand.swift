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
            (sign test) or at most 16 are not zero, else from random flips.

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
        let evaluator = Evaluator(
            judge: try judging.open(ifNeeded: given.contains { $0.domain == .ad }),
            resampling: Resampling(draws: draws, seed: seed), baseline: baseline)
        let (scores, problems) = try evaluator.scoresOfEachDomain(of: given, forms: metric.forms)
        if let first = problems.first, scores.isEmpty { throw first.error }
        if json {
            try Diagnostics.printJSON(Document(draws: draws, seed: seed, scores: scores))
        } else {
            print(ScoreTable(scores: scores, types: types).text)
        }
        for problem in problems {
            Diagnostics.note("mmq: \(problem.domain.rawValue) is not scored: \(problem.error)")
        }
        if !problems.isEmpty { throw ExitCode(2) }
    }

    private func read() throws -> [ScoredAnswer] {
        let held: (answers: [ScoredAnswer], unanswered: Int)
        if let answers, let domain = try domains.chosen()?.first {
            held = try ScoredAnswer.read(path: answers, domain: domain, setting: baseline)
        } else {
            held = try Study(path: study ?? "", access: .reading)
                .scoredAnswers(domains: domains.chosen(), split: split)
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
        let version = 1
        let interval = "95 %, percentile bootstrap over samples"
        let test = "two-sided sign flips of paired differences"
        let draws: Int
        let seed: UInt64
        let scores: [Score]
    }
}

/// Scores as a table for reading.
private struct ScoreTable {
    let scores: [Score]
    let types: Bool

    var text: String {
        var lines: [String] = []
        var title = ""
        for score in scores {
            let next =
                "\(score.domain.rawValue) (\(score.domain.dataSet)), \(score.form.rawValue): "
            if title != next + score.metric {
                title = next + score.metric
                if !lines.isEmpty { lines.append("") }
                lines.append(title)
            }
            lines.append(row(score))
            if let average = score.average {
                lines.append("    " + line("mean of types", average))
            }
            if types {
                for group in score.groups {
                    lines.append(
                        "    " + line("\(group.kind): \(group.name)", group.score, width: 40))
                }
            }
        }
        return lines.joined(separator: "\n")
    }

    private func row(_ score: Score) -> String {
        guard let mean = score.score else {
            return "  \(pad(score.setting, 16)) missing: \(score.missing ?? "no answers")"
        }
        var text = "  " + line(score.setting, mean)
        if let change = score.change {
            text += String(format: "   %+.2f", 100 * change.difference)
            text += " " + range(change.interval)
            text += " against \(change.against), n = \(change.pairs), p \(probability(change.p))"
        }
        return text
    }

    private func line(_ name: String, _ mean: MeanScore, width: Int = 16) -> String {
        let number = String(format: "%6.2f", 100 * mean.value)
        return "\(pad(name, width)) \(number) \(range(mean.interval))  n = \(mean.samples)"
    }

    private func range(_ interval: Interval) -> String {
        String(format: "[%.2f, %.2f]", 100 * interval.low, 100 * interval.high)
    }

    private func probability(_ p: Double) -> String {
        p < 0.0001 ? "< 0.0001" : String(format: "= %.4f", p)
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
