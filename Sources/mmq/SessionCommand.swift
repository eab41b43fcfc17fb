import ArgumentParser

/// `mmq session`: a model that stays open and answers requests on stdin.
struct SessionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session",
        abstract: "Keep a model open and answer requests, JSON lines on stdin and stdout.",
        discussion: """
            A request is a JSON object on a line, {"op": "run", "id": 1, "image": FILE, "prompt": \
            TEXT}; so is every event on stdout. Requests wait for each other; what they ask for \
            (the model's words, activations as arrays in files, masks) and what goes wrong is \
            written down in docs/session.md. The session ends with its input.
            """)

    @OptionGroup var model: ModelOptions

    @Option(
        help: ArgumentHelp(
            "Where the folder for arrays is made, which is removed at the end (default: the "
                + "system's folder for temporary files).", valueName: "dir"))
    var scratch: String?

    func run() throws {
        let opened = try model.open()
        try Session(model: opened, folder: SessionFolder(in: scratch)).run()
    }
}
