import ArgumentParser
import MMQBase
import MMQStudy

/// `mmq import`: counts, neuron sets and answers made elsewhere into a study.
struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Read counts, neuron sets and answers in the layout that export writes.",
        discussion: """
            Folders are searched for activation/<domain>.safetensors, mask/<module>.json and \
            answers/<domain>/<setting>.jsonl. The study must be empty, or made by importing: counts \
            and answers of a run are not overwritten.
            """)

    @OptionGroup var study: StudyOptions

    @Argument(help: "Files and folders.")
    var paths: [String]

    @Option(help: "The split that the counts are of.")
    var split: String = "train"

    @Option(help: "The split that the answers are of.")
    var answerSplit: String = "val"

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Print one JSON document with the files read.")
    var json = false

    func run() throws {
        let file = try study.open(.writing)
        var files: [String] = []
        do {
            files = try StudyExport.read(paths, into: file, split: split, answerSplit: answerSplit)
            guard !files.isEmpty else {
                throw InputError(.badInput, file: paths.joined(separator: " "), "nothing to import")
            }
        } catch {
            file.discardIfNewAndEmpty()
            throw error
        }
        if json {
            try Diagnostics.printJSON(["files": files])
        } else {
            for file in files { print(file) }
        }
    }
}
