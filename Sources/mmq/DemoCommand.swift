import ArgumentParser
import Foundation
import MMQBase
import MMQModels
import MMQReport
import MMQStudy

/// `mmq demo`: the whole study on the small trained models that come with the repository.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "The whole study on two small trained models, ending with a report.",
        discussion: """
            Every step is an mmq command, printed before it runs: convert, round, ask, activation, \
            identify, generate, evaluate, logit-lens, deviation, compare, report. A demo that was stopped, or \
            killed, goes on with the same command.
            """)

    @Option(help: "The folder with \(DemoCommand.parts) (default: models/demo).")
    var assets: String?

    @Option(help: "Where models, studies and reports go.")
    var output: String = "mmq-demo"

    @Option(
        help: """
            The models, separated by commas: \(DemoCommand.all.joined(separator: ", ")) (default: \
            all there are).
            """)
    var models: String?

    @Option(
        help: """
            Questions of each domain that are answered under each mask setting (driving has two \
            references to a question, each a sample).
            """)
    var samples: Int = 260

    @OptionGroup var threading: ThreadOptions

    func validate() throws {
        guard samples > 0 else { throw ValidationError("--samples must be 1 or more.") }
        for name in named ?? [] where !Self.all.contains(name) {
            throw ValidationError("--models: \(words: Self.all, "or"), not \(name).")
        }
    }

    private static let all = Architectures.all.map(\.name)
    private static let parts = "bench and a folder for each model"
    private var named: [String]? { models?.split(separator: ",").map(String.init) }

    func run() async throws {
        let start = ContinuousClock.now
        let assets = try folder()
        let chosen =
            named
            ?? Self.all.filter { exists("\(assets)/\($0)") }
        try makeFolder(output)
        for name in chosen {
            guard let architecture = Architectures.all.first(where: { $0.name == name }) else {
                continue
            }
            try await DemoStudy(
                architecture: architecture, checkpoint: "\(assets)/\(name)",
                bench: "\(assets)/bench", output: "\(output)/\(name)", samples: samples,
                threads: threading.threads
            ).run()
        }
        let seconds = (ContinuousClock.now - start).components.seconds
        print("\nDone in \(seconds / 60) min \(seconds % 60) s.")
        for name in chosen {
            print("  \(output)/\(name)/report.html        open it in a browser")
            print("  \(output)/\(name)/study.sqlite       the study, for every other command")
        }
    }

    /// The models' folder: as named, below the working folder, or where the repository is that this
    /// program was built in.
    private func folder() throws -> String {
        var places = ["models/demo"]
        if let assets {
            places = [assets]
        } else if let program = Bundle.main.executableURL?.resolvingSymlinksInPath() {
            var above = program
            for _ in 0..<5 {
                above.deleteLastPathComponent()
                places.append(above.appendingPathComponent("models/demo").path)
            }
        }
        let found = places.first { exists($0 + "/bench") }
        guard let found else {
            throw InputError(
                .badInput, file: places[0],
                "expected the demo's folder with \(Self.parts); found none"
                    + (assets == nil ? " (run from the repository, or name it with --assets)" : ""))
        }
        return found
    }
}

/// The study of one of the demo's models.
private struct DemoStudy {
    let architecture: any Architecture
    let checkpoint: String
    let bench: String
    let output: String
    let samples: Int
    let threads: Int?

    /// The weights' types that are compared: f16 first, the reference.
    private static let types = ["f16", "q8_0", int4]
    /// Four bits that keep the neurons: made of the f16 model by `round`.
    private static let int4 = "iq4_nl"
    /// Samples of each domain whose neurons are counted.
    private static let counted = 60

    private var name: String { architecture.name }
    private func model(_ type: String) -> String { "\(output)/model-\(type)" }
    /// Removes a study that an earlier demo made with another model.
    private func dropStudy(_ type: String) throws {
        let path = study(type)
        guard exists(path),
            let held = try? Study(path: path, access: .reading).model(),
            try held != ModelFiles(folder: model(type)).open().fingerprint
        else { return }
        Diagnostics.note("\(path) is another model's: starting over")
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
    }

    /// The study is made with f16; the others are there to see what int8 and int4 change.
    private func study(_ type: String) -> String {
        type == "f16" ? "\(output)/study.sqlite" : "\(output)/study-\(type).sqlite"
    }

    func run() async throws {
        try makeFolder(output)
        say("\(name): convert the checkpoint to f16, int8 and int4")
        for type in Self.types {
            // Each time: the checkpoint may be another than the last demo's.
            if type == Self.int4 {
                try await mmq(
                    "round", "--model", model("f16"), "--bench", bench, "--type", type,
                    "--leave-out", "\(Self.counted)", "--output", model(type), "--force")
            } else {
                try await mmq(
                    "convert", checkpoint, "--output", model(type), "--type", type,
                    "--vision-type", type, "--force")
            }
            try dropStudy(type)
        }
        try await ask()

        say(
            "\(name): count which neurons fire in five visual domains, and find those of one domain"
        )
        try await find("f16", quietly: false)

        say("\(name): would other pictures find the same neurons?")
        try await mmq(
            "stability", "--study", study("f16"), "-d", architecture.decoder, "--draws", "20")

        say("\(name): answer with these neurons on, off, and with as many others off")
        let decoder = architecture.decoderMask
        try await answer("none,\(decoder),all,random", samples)
        // Fewer questions: these are many settings.
        say(
            "\(name): with every domain's neurons off in turn, held at their mean, and twenty times others"
        )
        try await answer(
            "matrix-\(decoder),\(decoder):mean,random-\(decoder)*20", min(samples, 20))
        try await mmq(
            "evaluate", "--study", study("f16"), "--metric", "official", "--judge", "exact")

        say("\(name): look inside: what each layer would say, and how far the masks move it")
        try await lens("f16", shows: .doc)
        try await mmq(
            ["deviation"] + model(of: "f16") + [
                "--domain", "doc", "--samples", "10", "--masks", architecture.decoderMask,
            ])

        say("\(name): what int8 and int4 change next to f16")
        let formats =
            ["fidelity", "--reference", model("f16")]
            + Self.types.dropFirst().flatMap { ["--model", model($0)] }
            + [
                "--bench", bench, "--split", "val", "--samples", "\(samples)", "--max-tokens", "12",
                "--judge", "exact",
            ]
        let fidelity = "\(output)/fidelity.json"
        try await mmq(formats + ["--json"], into: fidelity)
        print(FidelityCommand.text(try FormatFidelity(file: fidelity).fidelity))
        for type in Self.types.dropFirst() {
            try await find(type, quietly: true)
            try await mmq(
                ["generate"] + model(of: type) + [
                    "--masks", "none", "--samples", "\(samples)", "--greedy", "--max-tokens", "12",
                    "--batch", "8",
                ])
            try await lens(type, shows: nil)
            let table = "\(output)/compare-\(type).txt"
            try await mmq(
                ["compare", "--study", study("f16"), "--study", study(type), "--judge", "exact"],
                into: table)
            // Neurons and lens stand in the file and in the report; here the answers.
            let text = try String(contentsOfFile: table, encoding: .utf8)
            if let answers = text.range(of: "\nanswers\n") {
                print(text[answers.upperBound...], terminator: "")
            }
        }

        say("\(name): all of it on one page")
        let sample = try first(.com)
        try await mmq(
            "report", "--study", study("f16"), "--model", model("f16"), "--bench", bench,
            "--fidelity", fidelity, "--compare", study("q8_0"), "--compare", study(Self.int4),
            "--judge", "exact", "--image", sample.picture, "--prompt",
            sample.prompt, "--title", "\(name), the demo's model", "--output",
            "\(output)/report.html")
    }

    /// Three pictures of the val split, with what the bench holds for right.
    private func ask() async throws {
        say("\(name): ask it about three pictures")
        for domain in [Domain.rs, .com, .doc] {
            let sample = try first(domain)
            try await mmq(
                "ask", "--model", model(Self.int4), "--image", sample.picture, "--greedy",
                "--max-tokens", "12", "--raw-prompt", "--", sample.prompt)
            print("  (right: \(sample.answer))")
        }
    }

    /// Answers of the f16 model under some settings.
    private func answer(_ masks: String, _ samples: Int) async throws {
        try await mmq(
            ["generate"] + model(of: "f16") + [
                "--masks", masks, "--samples", "\(samples)", "--greedy", "--max-tokens", "12",
                "--batch", "8",
            ])
    }

    private func find(_ type: String, quietly: Bool) async throws {
        try await mmq(
            ["activation"] + model(of: type) + ["--samples", "\(Self.counted)"],
            into: quietly ? "/dev/null" : nil)
        try await mmq(
            ["identify", "--study", study(type), "--top-rate", "0.05"],
            into: quietly ? "/dev/null" : nil)
    }

    /// Measures the lens over all domains and shows the table of one.
    private func lens(_ type: String, shows shown: Domain?) async throws {
        let lens = ["logit-lens"] + model(of: type) + ["--samples", "10"]
        try await mmq(lens, into: "/dev/null")
        if let shown { try await mmq(lens + ["--domain", shown.rawValue]) }
    }

    private func model(of type: String) -> [String] {
        ["--model", model(type), "--study", study(type), "--bench", bench]
    }

    private func first(
        _ domain: Domain
    ) throws -> (picture: String, prompt: String, answer: String) {
        let split = try BenchSplit(bench: bench, domain: domain, split: "val", form: .full)
        while let item = try split.next() {
            guard case .sample(let sample) = item, let picture = sample.pictures.first else {
                continue
            }
            let files = try ModelFiles(folder: model("f16"))
            return (picture, try files.studyPrompt(sample.prompt), sample.answerText)
        }
        throw InputError(.badInput, file: bench, "no sample of \(domain.rawValue)")
    }

    // MARK: - Steps

    private func say(_ text: String) { print("\n=== \(text)") }

    private func mmq(_ arguments: String...) async throws { try await mmq(arguments) }

    /// Runs a command of this program as the command line would, its results to a file if one is
    /// named.
    private func mmq(_ arguments: [String], into file: String? = nil) async throws {
        let shown = arguments.map(shellWord).joined(separator: " ")
        print("$ mmq \(shown)" + (file.map { " > \($0)" } ?? ""))
        var arguments = arguments
        if let threads, !["identify", "evaluate", "stability"].contains(arguments[0]) {
            arguments.insert(contentsOf: ["--threads", "\(threads)"], at: 1)
        }
        var command = try MMQ.parseAsRoot(arguments)
        InputLedger.begin()
        let before = try file.map { try Diagnostics.redirect(to: $0) }
        defer { before.map(Diagnostics.restore) }
        if var command = command as? any AsyncParsableCommand {
            try await command.run()
        } else {
            try command.run()
        }
    }
}
