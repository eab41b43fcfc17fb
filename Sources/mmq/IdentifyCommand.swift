import ArgumentParser
import MMQBase
import MMQModels
import MMQStudy

/// `mmq identify`: finds the domain-specific neurons from a study's counts.
struct IdentifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "identify",
        abstract: "Find domain-specific neurons from the counts (DAPE).")

    @OptionGroup var study: StudyOptions
    @OptionGroup var model: ModelOptions
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

    @Flag(help: "Print one JSON document, neurons included.")
    var json = false

    func validate() throws {
        for rate in [topRate, filterRate, activationBar] where !(0...1).contains(rate) {
            throw ValidationError("Rates are between 0 and 1.")
        }
    }

    func run() throws {
        let file = try study.open(.updating)
        if model.isGiven {
            // Only to be told if the counts are another model's.
            let model = try model.open()
            try file.bind(modules: model.modules, fingerprint: model.fingerprint)
        }
        let names = try module.isEmpty ? file.modules().map(\.name) : module
        guard !names.isEmpty else {
            throw InputError(
                .mismatch, file: study.study, "nothing was counted into this study yet")
        }
        let settings = Identification.Settings(
            topRate: topRate, filterRate: filterRate, activationBar: activationBar)
        let chosen = try domains.chosen()
        for pass in try file.passes() where pass.split == split && !pass.finished {
            guard chosen?.contains(pass.domain) ?? true else { continue }
            Diagnostics.note(
                "note: the pass over \(pass.domain.rawValue) is not finished "
                    + "(\(pass.samples) samples so far)")
        }
        let found = try names.map {
            try file.identify(module: $0, domains: chosen, split: split, settings: settings)
        }
        for entry in found { try file.save(entry) }
        if json {
            try Diagnostics.printJSON(found.map(Document.init))
        } else {
            print(found.map(Self.table).joined(separator: "\n\n"))
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

        init(_ found: Identification) {
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
