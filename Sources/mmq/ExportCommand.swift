import ArgumentParser
import MMQStudy

/// `mmq export`: a study's counts and neuron sets as safetensors and JSON.
struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write counts and neuron sets with the official code's key names.",
        discussion: """
            Writes OUTPUT/<model>/activation/<domain>.safetensors with <module>_log, <module>_value \
            and <module>_len, and OUTPUT/<model>/mask/<module>.json.
            """)

    @OptionGroup var study: StudyOptions

    @Option(help: "The folder to write into.")
    var output: String

    @Option(help: "The name of the model's folder (default: llava or blip).")
    var name: String?

    @Option(help: "The split whose counts are written.")
    var split: String = "train"

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Print one JSON document with the files written.")
    var json = false

    func run() throws {
        let files = try StudyExport.write(
            try study.open(.reading), to: output, model: name, split: split)
        if json {
            try Diagnostics.printJSON(["files": files])
        } else {
            for file in files { print(file) }
        }
    }
}
