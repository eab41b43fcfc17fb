import ArgumentParser
import MMQModels

/// `mmq trace`: one forward pass, stage by stage, into a safetensors file.
struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Write what one forward pass computes, stage by stage.",
        discussion: """
            The prompt goes to the tokenizer as it is, with <image> where the picture belongs \
            (\(ArchitectureWords.namingPicture)). Sites: ids, pixels, image, hidden, logits, last-logits, counts.
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

    func validate() throws { _ = try chosenSites() }

    func run() throws {
        let sites = try chosenSites()
        let picture = try input.picture()
        let model = try model.open(study: input.study)
        try model.trace(
            image: picture, prompt: prompt, sites: sites, mask: input.mask(for: model), to: output)
        Diagnostics.note("wrote \(output)")
    }

    private func chosenSites() throws -> Set<TraceSite> {
        guard let sites else { return TraceSite.defaults }
        return Set(
            try sites.split(separator: ",", omittingEmptySubsequences: false).map { name in
                let name = name.filter { $0 != " " }
                guard let site = TraceSite(rawValue: name) else {
                    let all = TraceSite.allCases.map(\.rawValue).joined(separator: ", ")
                    throw ValidationError("'\(name)' is not a site. The sites are \(all).")
                }
                return site
            })
    }
}
