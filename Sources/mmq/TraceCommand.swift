import ArgumentParser
import MMQFormats
import MMQModels

/// `mmq trace`: one forward pass, stage by stage, into a safetensors file.
struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Write what one forward pass computes, stage by stage.",
        discussion: """
            The prompt goes to the tokenizer as it is, with <image> where the picture belongs \
            (\(ArchitectureWords.namingPicture)). Sites: ids, pixels, image, hidden, logits, last-logits, counts, \
            and activations as they are counted: mlp, mlp:MODULE or mlp:MODULE.LAYER.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var input: InputOptions

    @Option(help: "The prompt, as it goes to the tokenizer.")
    var prompt: String

    @Option(help: "The safetensors file to write.")
    var output: String

    @Option(
        help: ArgumentHelp(
            "What to write, separated by commas (default: ids,last-logits,counts).",
            valueName: "list"))
    var sites: String?

    @Option(
        help: ArgumentHelp(
            "Type of activations: f32, or f16, which makes what is beyond 65,504 infinite.",
            valueName: "type"))
    var dtype = SafetensorsType.f32

    func validate() throws {
        _ = try chosenSites()
        guard dtype == .f32 || dtype == .f16 else {
            throw ValidationError("--dtype must be f32 or f16.")
        }
        if dtype != .f32, !words.contains(where: Self.isActivations) {
            throw ValidationError("--dtype goes with --sites mlp.")
        }
    }

    func run() throws {
        let sites = try chosenSites()
        let picture = try input.picture()
        let model = try model.open(study: input.study)
        try model.trace(
            image: picture, prompt: prompt, sites: sites,
            activations: ActivationSite.sites(
                words.filter(Self.isActivations), of: model.modules),
            as: dtype, mask: input.mask(for: model), to: output)
        Diagnostics.note("wrote \(output)")
    }

    private var words: [String] {
        (sites ?? "").split(separator: ",", omittingEmptySubsequences: false)
            .map { $0.filter { $0 != " " } }
    }

    /// Which layers there are the model knows.
    private static func isActivations(_ word: String) -> Bool {
        word == "mlp" || word.hasPrefix("mlp:")
    }

    private func chosenSites() throws -> Set<TraceSite> {
        guard sites != nil else { return TraceSite.defaults }
        return Set(
            try words.filter { !Self.isActivations($0) }.map { name in
                guard let site = TraceSite(rawValue: name) else {
                    let all = TraceSite.allCases.map(\.rawValue).joined(separator: ", ")
                    throw ValidationError(
                        "'\(name)' is not a site. The sites are \(all), mlp, mlp:MODULE and "
                            + "mlp:MODULE.LAYER.")
                }
                return site
            })
    }
}

extension SafetensorsType: ExpressibleByArgument {
    /// In either case.
    public init?(argument: String) { self.init(rawValue: argument.uppercased()) }
    /// As options have it.
    public var defaultValueDescription: String { rawValue.lowercased() }
}
