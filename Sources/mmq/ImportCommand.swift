import ArgumentParser
import MMQStudy

/// `mmq import`: counts and neuron sets made elsewhere into a study.
struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Read counts and neuron sets in the layout that export writes.",
        discussion: """
            Folders are searched for activation/<domain>.safetensors and mask/<module>.json. The \
            study must be empty, or made by importing: counts of a run are not overwritten.
            """)

    @OptionGroup var study: StudyOptions

    @Argument(help: "Files and folders.")
    var paths: [String]

    @Option(help: "The split that the counts are of.")
    var split: String = "train"

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Print one JSON document with the files read.")
    var json = false

    func run() throws {
        let file = try study.open(.writing)
        var files: [String] = []
        do {
            files = try StudyExport.read(paths, into: file, split: split)
            guard !files.isEmpty else {
                throw StudyError(.badInput, file: paths.joined(separator: " "), "nothing to import")
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
