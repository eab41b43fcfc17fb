import ArgumentParser
import Dispatch
import Foundation
import MMQBase
import MMQExplore
import MMQModels
import MMQStudy

/// `mmq explore`: a page on this machine to play with a model.
struct ExploreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explore",
        abstract: "A page on 127.0.0.1: ask, see neurons fire, switch them off, compare.",
        discussion: """
            Prints the page's address, which nobody else can guess. Pictures are dropped into the \
            page, or with --bench picked from a data set; --study brings the domains' neurons. \
            Nothing is written, and nothing leaves the machine. Ctrl-C ends it.
            """)

    @OptionGroup var model: ModelOptions

    @Option(help: "A study whose neurons the page shows and switches off.")
    var study: String?

    @OptionGroup var sets: SetOptions

    @Option(help: "A bench whose samples the page offers.")
    var bench: String?

    @Option(help: "The split of the data sets.")
    var split: String = "train"

    @OptionGroup var outside: OutsideOptions

    @Option(help: "The port of 127.0.0.1 (default: any that is free).")
    var port: UInt16 = 0

    func validate() throws {
        if sets.set != nil, study == nil {
            throw ValidationError("--set names sets of a --study.")
        }
    }

    func run() throws {
        let opened = try model.open(study: study)
        let shelf = try bench.map {
            try BenchShelf(bench: $0, split: split, allowsOutside: outside.allowOutside)
        }
        let explorer = try Explorer(
            model: opened, title: title, sets: neuronSets(opened), bench: shelf,
            surroundings: surroundings(opened))
        let server = try ExploreServer(explorer, port: port)
        let signals = [SIGINT, SIGTERM, SIGHUP].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            // Not `exit`: kernels may be running on other threads. Nothing is written that could
            // be half done.
            source.setEventHandler { _exit(0) }
            source.resume()
            return source
        }
        try withExtendedLifetime(signals) {
            try Diagnostics.write(server.address + "\n")
            Diagnostics.note("Open it in a browser. Ctrl-C ends.")
            server.run()
        }
    }

    /// What the page calls the model.
    private var title: String {
        let path = model.model ?? model.language ?? ""
        return URL(fileURLWithPath: path).lastPathComponent
    }

    private func neuronSets(_ model: any VisionLanguageModel) throws -> NeuronSets {
        guard let study else { return NeuronSets() }
        let opened = try maskStudy(path: study, for: model)
        try opened.checkModules(model.modules)
        return try NeuronSets(of: opened, set: sets.chosen(), modules: model.modules)
    }

    private func surroundings(_ model: any VisionLanguageModel) throws -> ExploreSurroundings {
        let set = try sets.chosen()
        let (path, modules, architecture) = (study, model.modules, model.architecture)
        let files = ModelReference(model: model)
        let words = CommandWords(self)
        var settings: [String] = []
        if let path {
            let domains = try Study(path: path, access: .reading).setDomains(set)
            settings = try MaskSetting.list("matrix", of: architecture, domains: domains, set: set)
                .filter { !$0.isNone }.map(\.name)
        }
        let mask: @Sendable (String) throws -> NeuronMask? = { name in
            try MaskOptions.read(name, for: files.model, study: path, set: set)
        }
        var resolve: (@Sendable (String, Int) throws -> LayerMask.Resolver)?
        if let path {
            resolve = { module, layer in
                try maskStudy(path: path, for: files.model).resolver()(module, layer)
            }
        }
        let commands: @Sendable (ExploreQuestion, String) -> [String] = { question, picture in
            words.commands(question, picture: picture, modules: modules)
        }
        return ExploreSurroundings(
            mask: mask, resolve: resolve, commands: commands, settings: settings,
            kinds: ["zero"] + (path == nil ? [] : ["mean"]) + ["scale=0.5", "scale=2"])
    }

    /// The model, used by the one thread that runs it.
    private struct ModelReference: @unchecked Sendable { let model: any VisionLanguageModel }
}

/// The command lines of what a page shows.
private struct CommandWords: Sendable {
    /// `--model DIR ...`
    private let opening: String
    private let study: String

    init(_ command: ExploreCommand) {
        let model = command.model
        let words: [(String, String?)] = [
            ("--model", model.model), ("--language", model.language), ("--vision", model.vision),
            ("--activations", model.activations?.rawValue), ("--compat", model.compat?.rawValue),
        ]
        opening = words.compactMap { option, value in value.map { "\(option) \(shellWord($0))" } }
            .joined(separator: " ")
        study = command.study.map { " --study " + shellWord($0) } ?? ""
    }

    func commands(
        _ question: ExploreQuestion, picture: String, modules: [ModuleShape]
    ) -> [String] {
        var lines: [String] = []
        var mask = ""
        switch question.mask {
        case nil: break
        case .setting(let name): mask = " --mask " + shellWord(name) + study
        case .neurons(_, let kind):
            let document = (try? question.mask?.document(modules)) ?? .null
            lines.append("echo \(shellWord(document.jsonLine)) > mask.json")
            mask = " --mask mask.json" + (kind == "mean" || kind.hasPrefix("add") ? study : "")
        }
        let common = "\(opening) --image \(shellWord(picture))\(mask)"
        lines.append(
            "mmq ask \(common) --max-tokens \(max(1, question.maxTokens))"
                + (question.isRaw ? " --raw-prompt" : "") + " \(shellWord(question.prompt))")
        return lines
    }
}
