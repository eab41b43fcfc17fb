import ArgumentParser
import MMQModels
import MMQStudy

/// `mmq export`: a study's counts, neuron sets and answers as safetensors, JSON and JSONL.
struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write counts, neuron sets and answers with the official code's key names.",
        discussion: """
            Writes OUTPUT/<model>/activation/<domain>.safetensors with <module>_log, <module>_value \
            and <module>_len, OUTPUT/<model>/mask/<module>.json, and \
            OUTPUT/<model>/answers/<domain>/<setting>.jsonl with index, ground_truth and answer in \
            each line, beside it the neurons that were off (<setting>.mask.json).

            --format csv writes long tables in their place, one row an observation, for pandas and \
            the like: OUTPUT/<model>/tables/counts.csv, neurons.csv, answers.csv, scores.csv and \
            lens.csv. The same tables as Parquet, which keeps types, are written by the Python \
            package: python -m mmq export ... --format parquet.
            """)

    @OptionGroup var study: StudyOptions

    @Option(help: "The folder to write into.")
    var output: String

    @Option(
        help:
            "The name of the model's folder (default: \(words: Architectures.all.map(\.exportName), "or"))."
    )
    var name: String?

    @Option(help: "The split whose counts are written.")
    var split: String = "train"

    @Option(help: "The split whose answers are written.")
    var answerSplit: String = "val"

    @Option(
        help: "official (safetensors, JSON and JSONL), csv, or parquet (by the Python package).")
    var format: Format = .official

    @Flag(
        inversion: .prefixedNo,
        help: "Write the counts of each block of samples too, most of all there is (csv has none).")
    var blocks = true

    @Flag(
        inversion: .prefixedNo,
        help: "Write the strongest activations and the histograms too (csv has none).")
    var moments = true

    @OptionGroup var judging: JudgeOptions

    @OptionGroup var threading: ThreadOptions

    /// What is written.
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case official, csv, parquet
    }

    @Flag(help: "Print one JSON document with the files written.")
    var json = false

    func validate() throws {
        if format == .official, judging.judge != nil {
            throw ValidationError("--judge goes with --format csv, which has scores.")
        }
    }

    /// Who writes Parquet, which no library for Swift does: the line of Python for what was asked.
    private static func parquet(_ arguments: [String]) -> String {
        let words = arguments.dropFirst().map(shellWord).joined(separator: " ")
        return """
            Parquet is written by mmq's Python package, which needs pyarrow:
              python -m mmq \(words)
            """
    }

    func run() throws {
        let files =
            switch format {
            case .official: try official(study.open(.reading))
            case .csv: try tables(study.open(.reading))
            case .parquet: throw ValidationError(Self.parquet(CommandLine.arguments))
            }
        if json {
            try Diagnostics.printJSON(["files": files])
        } else {
            for file in files { print(file) }
        }
    }

    private func official(_ study: Study) throws -> [String] {
        try StudyExport.write(
            study, to: output, model: name, split: split, answerSplit: answerSplit,
            blocks: blocks, moments: moments)
    }

    private func tables(_ study: Study) throws -> [String] {
        let isDriven = try study.answerSets(split: answerSplit).contains { $0.domain == .ad }
        let written = try StudyTables(
            study, to: output, model: name, split: split, answerSplit: answerSplit
        ).write(evaluator: Evaluator(judge: judging.open(ifNeeded: isDriven)))
        for problem in written.problems {
            Diagnostics.note("mmq: \(problem.domain.rawValue) is not scored: \(problem.error)")
        }
        return written.files
    }
}
