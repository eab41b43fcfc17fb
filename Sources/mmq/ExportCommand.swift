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

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Print one JSON document with the files written.")
    var json = false

    func run() throws {
        let files = try StudyExport.write(
            try study.open(.reading), to: output, model: name, split: split,
            answerSplit: answerSplit)
        if json {
            try Diagnostics.printJSON(["files": files])
        } else {
            for file in files { print(file) }
        }
    }
}
