import ArgumentParser
import MMQBase
import MMQModels
import MMQStudy

/// `mmq identify`: finds the domain-specific neurons from a study's counts.
struct IdentifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "identify",
        abstract: "Find domain-specific neurons from the counts.",
        discussion: """
            Rules: dape, least entropy of the activation probabilities over the domains (MMNeuron's); \
            difference, greatest difference of the probability between a domain and the mean of the \
            others; mean and max, the same of the mean and of the greatest activation (MINER's). \
            Sets lie side by side under names (--set); a sweep makes one for each value, called \
            after it: top-rate=0.01, for example.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var study: StudyOptions
    @OptionGroup var domains: DomainOptions

    @Option(
        name: [.customShort("d"), .long],
        help: "The module: \(words: Architectures.moduleNames, "or") (default: all).")
    var module: [String] = []

    @Option(help: "The split that was counted.")
    var split: String = "train"

    @Option(help: "The part of all neurons that is selected, those of least entropy.")
    var topRate: Double = 0.01

    @Option(help: "The quantile of activation probability that a neuron must exceed somewhere.")
    var filterRate: Double = 0.95

    @Option(help: "The quantile that a selected neuron must exceed in a domain to belong to it.")
    var activationBar: Double = 0.95

    @Option(help: "The rule: dape, difference, mean or max.")
    var rule: Identification.Rule = .dape

    @Option(help: "Whose activations count: all positions, the picture's (image) or the text's.")
    var positions: Positions = .all

    @OptionGroup var sets: SetOptions

    @Option(
        help: ArgumentHelp(
            "Several sets at once: \(Sweep.keys), each =VALUE,VALUE,...",
            valueName: "key=list"))
    var sweep: String?

    @Flag(help: "Print one JSON document, neurons included.")
    var json = false

    func validate() throws {
        for rate in [topRate, filterRate, activationBar] where !(0...1).contains(rate) {
            throw ValidationError("Rates are between 0 and 1.")
        }
        if sweep != nil, sets.set != nil {
            throw ValidationError("--sweep names its sets itself: leave --set out.")
        }
        _ = try sweep.map(Sweep.init)
    }

    func run() throws {
        let file = try study.open(.updating)
        if model.isGiven {
            // Only to be told if the counts are another model's.
            let model = try model.open(study: study.study)
            try file.bind(modules: model.modules, fingerprint: model.fingerprint)
        }
        let names = try module.isEmpty ? file.modules().map(\.name) : module
        guard !names.isEmpty else {
            throw InputError(
                .mismatch, file: study.study, "nothing was counted into this study yet")
        }
        let settings = Identification.Settings(
            topRate: topRate, filterRate: filterRate, activationBar: activationBar, rule: rule,
            positions: positions)
        let wanted = try sweep.map { try Sweep($0).sets(settings) } ?? [(sets.chosen(), settings)]
        let chosen = try domains.chosen()
        for pass in try file.passes() where pass.split == split && !pass.finished {
            guard chosen?.contains(pass.domain) ?? true else { continue }
            Diagnostics.note(
                "note: the pass over \(pass.domain.rawValue) is not finished "
                    + "(\(pass.samples) samples so far)")
        }
        let found = try wanted.flatMap { set, settings in
            try names.compactMap { name -> (set: SetName, found: Identification)? in
                do {
                    return (
                        set,
                        try file.identify(
                            module: name, domains: chosen, split: split, settings: settings)
                    )
                } catch let error as InputError
                    where settings.positions != .all && module.isEmpty && error.item == name
                {
                    // A tower has no text: of all modules those that have some are meant.
                    Diagnostics.note("note: \(name): \(error.problem)")
                    return nil
                }
            }
        }
        guard !found.isEmpty else {
            throw InputError(
                .mismatch, file: study.study,
                "no module sees \(positions.rawValue) positions")
        }
        for entry in found { try file.save(entry.found, set: entry.set) }
        if json {
            try Diagnostics.printJSON(found.map(Document.init))
        } else {
            print(
                found.map { (sweep == nil ? "" : "\($0.set.name) ") + Self.table($0.found) }
                    .joined(separator: "\n\n"))
        }
    }

    /// Neurons per layer and domain.
    private static func table(_ found: Identification) -> String {
        let width = 8
        func row(_ head: String, _ numbers: [Int]) -> String {
            pad(head, 8) + numbers.map { pad(String($0), width) }.joined()
        }
        func pad(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(0, width - text.count)) + text
        }
        var lines = [
            "\(found.module.name): \(found.selected) of "
                + "\(found.module.layers * found.module.neurons) neurons selected",
            pad("layer", 8) + found.domains.map { pad($0.rawValue, width) }.joined(),
        ]
        for layer in 0..<found.module.layers {
            lines.append(row(String(layer), found.neurons.map { $0[layer].count }))
        }
        lines.append(row("all", found.neurons.map { $0.reduce(0) { $0 + $1.count } }))
        return lines.joined(separator: "\n")
    }

    private struct Document: Encodable {
        let set: String
        let module: String
        let layers: Int
        let neuronsPerLayer: Int
        let domains: [String]
        let split: String
        let settings: Identification.Settings
        let filterThreshold: Double
        let activationThreshold: Double
        let selected: Int
        let counts: [String: Int]
        let neurons: [String: [[Int]]]

        init(_ entry: (set: SetName, found: Identification)) {
            let found = entry.found
            set = entry.set.name
            module = found.module.name
            layers = found.module.layers
            neuronsPerLayer = found.module.neurons
            domains = found.domains.map(\.rawValue)
            split = found.split
            settings = found.settings
            filterThreshold = found.filterThreshold
            activationThreshold = found.activationThreshold
            selected = found.selected
            let pairs = zip(found.domains, found.neurons).map { ($0.rawValue, $1) }
            neurons = Dictionary(uniqueKeysWithValues: pairs)
            counts = neurons.mapValues { $0.reduce(0) { $0 + $1.count } }
        }
    }
}

extension Identification.Rule: ExpressibleByArgument {}
extension Positions: ExpressibleByArgument {}

/// `--sweep top-rate=0.001,0.01`: one of the rates takes several values.
private struct Sweep {
    static let keys = Identification.Rate.allCases.map(\.rawValue).joined(separator: ", ")

    private let rate: Identification.Rate
    private let values: [Double]

    init(_ text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let rate = Identification.Rate(rawValue: String(parts[0])) else {
            throw ValidationError(
                "--sweep is one of \(Self.keys) with values: top-rate=0.001,0.01.")
        }
        self.rate = rate
        values = try parts[1].split(separator: ",", omittingEmptySubsequences: false).map {
            guard let value = Double($0), (0...1).contains(value) else {
                throw ValidationError("--sweep \(text): '\($0)' is not a rate between 0 and 1.")
            }
            return value
        }
    }

    /// The sets, each called after its value.
    func sets(
        _ settings: Identification.Settings
    ) throws -> [(SetName, Identification.Settings)] {
        try values.map { value in
            var settings = settings
            settings[keyPath: rate.setting] = value
            return (try SetName("\(rate.rawValue)=\(value)"), settings)
        }
    }
}
