import ArgumentParser
import MMQBase
import MMQFormats
import MMQModels
import MMQStudy

extension ActivationSelection.Rows: ExpressibleByArgument {}

/// `mmq activations`: activation values over a bench.
struct ActivationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activations",
        abstract: "Write activation values over a bench, as arrays with an index.",
        discussion: """
            For every layer DIR/DOMAIN/MODULE.LAYER-00000.safetensors and so on, each one array \
            [rows, neurons] of as many rows but for the last; for every module \
            DIR/DOMAIN/MODULE-00000.csv, which says of each row of these files the sample (its \
            place in the bench), the position among the module's tokens, whether it is the \
            picture's, where in the picture it lies (tile, row and column of patches), the \
            token's id, and file and file_row; -1 stands for none. Values are those that \
            activation counts and trace --sites mlp writes. mmq.Activations(DIR) reads it in Python.

            A run that was stopped, or killed, goes on with the same command and ends with the \
            same files; --samples may be raised later. Each --shard goes to a folder of its own.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var bench: BenchOptions
    @OptionGroup var outside: OutsideOptions
    @OptionGroup var domains: DomainOptions
    @OptionGroup var shards: ShardOptions

    @Option(
        help: ArgumentHelp(
            "Which layers, separated by commas: mlp, mlp:MODULE or mlp:MODULE.LAYER (default: those "
                + "that --neurons or --set has neurons of).", valueName: "list"))
    var sites: String?

    @Option(
        help: ArgumentHelp(
            "Only these neurons: a mask file, {\"\(Architectures.moduleNames[0])\": [[12, 40], "
                + "[], ...], ...}.", valueName: "file"))
    var neurons: String?

    @Option(help: "The study file (SQLite) whose neurons are meant: those of any domain.")
    var study: String?

    @OptionGroup var sets: SetOptions

    @Option(
        help: """
            Which positions: image (also all of a tower, projector or query branch), text, last \
            (of the prompt; the decoder alone has it) or all.
            """)
    var positions: ActivationSelection.Rows = .all

    @Option(
        help: ArgumentHelp(
            "Type of the values: f32, or f16, which makes what is beyond 65,504 infinite.",
            valueName: "type"))
    var dtype = SafetensorsType.f32

    @Option(help: "Samples of each domain.")
    var samples = 32

    @Option(help: "The most bytes of a file: 64kB, 256MB or 2GB.")
    var fileSize = ByteSize(bytes: 256_000_000)

    @Option(help: ArgumentHelp("The folder to write, or to go on with.", valueName: "dir"))
    var output: String

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        guard dtype == .f32 || dtype == .f16 else {
            throw ValidationError("--dtype must be f32 or f16.")
        }
        if neurons != nil, study != nil {
            throw ValidationError("Give either --neurons or --study.")
        }
        if sets.set != nil, study == nil { throw ValidationError("--set goes with --study.") }
        if sites == nil, neurons == nil, study == nil {
            throw ValidationError(
                "Say what is wanted: --sites, --neurons, or --study with or without --set.")
        }
        if samples < 1 { throw ValidationError("--samples must be 1 or more.") }
    }

    func run() throws {
        let chosen = try domains.chosen() ?? Domain.allCases
        let model = try model.open(study: study)
        let words = (sites ?? "mlp").split(separator: ",", omittingEmptySubsequences: false)
            .map { $0.filter { $0 != " " } }
        let selection = try ActivationSelection(
            sites: words, neurons: chosenNeurons(of: model), rows: positions, of: model)
        if sites != nil, !selection.leftOut.isEmpty {
            Diagnostics.note(
                "left out, for they have no such positions or neurons: "
                    + selection.leftOut.joined(separator: ", "))
        }
        let series = try RunSeries(over: chosen, study: nil) {
            try ActivationsPlan(
                model: model, bench: bench.bench, split: bench.split, samples: samples,
                selection: selection, type: dtype, fileSize: fileSize.bytes, output: output,
                shard: shards.chosen(), allowsOutside: outside.allowOutside)
        } run: { plan, domain, interrupt in
            try RunDisplay(domain).follow(plan.step(domain), interrupt)
        }
        try series.show(json: json, Self.line)
        if series.isInterrupted { throw Diagnostics.interrupted() }
    }

    /// For each module the neurons of each layer; nil for all.
    private func chosenNeurons(of model: any VisionLanguageModel) throws -> [String: [[Int]]]? {
        if let neurons {
            return try NeuronMask(path: neurons, modules: model.modules).layers
                .mapValues { $0.map(\.neurons) }
        }
        guard let study else { return nil }
        let file = try maskStudy(path: study, for: model)
        try file.checkModules(model.modules)
        return try file.neurons(of: sets.chosen())
    }

    private static func line(_ result: ActivationsPlan.Result) -> String {
        let rows = result.rows.sorted { $0.key < $1.key }.map { "\($1) of \($0)" }
        var text = "\(result.domain.rawValue): \(result.samples) samples, "
        if let shard = result.shard { text += "those of shard \(shard), " }
        text += "rows: "
        text += rows.isEmpty ? "none" : rows.joined(separator: ", ")
        if result.skipped > 0 {
            text += ", \(result.skipped) left out (no picture, or the model cannot take it)"
        }
        if result.missingFrames > 0 { text += ", \(result.missingFrames) missing frames" }
        switch result.outcome {
        case .reached: break
        case .exhausted: text += "; the bench has no more"
        case .interrupted: text += "; interrupted"
        }
        return text
    }
}
