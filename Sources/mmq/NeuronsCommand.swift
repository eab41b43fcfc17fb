import ArgumentParser
import MMQBase
import MMQFormats
import MMQImage
import MMQModels
import MMQStudy

/// `mmq neurons`: what makes neurons fire, and what they write.
struct NeuronsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "neurons",
        abstract: "Neurons one by one: what makes each fire, and what it writes.",
        discussion: """
            Without --neuron the neurons of a set, of least entropy first. With --module, --layer \
            and --neuron a card: p and mean by domain, entropy and rank, the strongest activations \
            with sample and token, and the histogram of all (as activation --keep-top kept them).

            With --model also the words that a decoder's neuron writes: those whose logits its \
            column of down raises and lowers most through the final norm's gains and the head \
            (Geva et al. 2021, 2022), on the weights as they are. With --bench as well, what the \
            tokens of a card are: words, or patches of the picture.
            """)

    @OptionGroup var study: StudyOptions

    @Option(help: "A model folder, as convert makes it.")
    var model: String?

    @OptionGroup var threading: ThreadOptions
    @OptionGroup var sets: SetOptions
    @OptionGroup var domains: DomainOptions

    @Option(
        name: [.customShort("d"), .long],
        help: "The module: \(words: Architectures.moduleNames, "or") (default: all identified).")
    var module: String?

    @Option(help: "The layer, from 0 (default: all).")
    var layer: Int?

    @Option(help: "The neuron of that layer, from 0: its card.")
    var neuron: Int?

    @Option(help: "How many neurons of a module are listed; 0 for all.")
    var limit = 20

    @Option(help: "How many words a neuron writes are named.")
    var top = 10

    @Option(help: "The bench folder that was counted.")
    var bench: String?

    @OptionGroup var outside: OutsideOptions

    @Option(help: "The split that was counted (default: the set's, or train).")
    var split: String?

    @Option(
        help: """
            A file of trace --sites mlp:MODULE.LAYER: what this neuron does at each of its tokens.
            """)
    var activations: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        guard neuron == nil || layer != nil, layer == nil || module != nil else {
            throw ValidationError("A neuron is named by --module, --layer and --neuron.")
        }
        if neuron == nil, bench != nil || activations != nil {
            throw ValidationError("--bench and --activations go with --neuron.")
        }
        if bench != nil, model == nil {
            throw ValidationError("--bench goes with --model, which says where tokens lie.")
        }
        if limit < 0 { throw ValidationError("--limit must be 0 or more.") }
        if !(1...1000).contains(top) { throw ValidationError("--top must be from 1 to 1000.") }
    }

    func run() throws {
        let file = try study.open(.reading)
        let set = try sets.chosen()
        try file.checkSet(set)
        let opened = try model.map { try open($0, for: file) }
        if let module, let layer, let neuron {
            let cards = try NeuronCards(file, module: module, set: set, split: split)
            try showCard(cards, layer, neuron, file, opened)
        } else {
            try showLists(file, set, opened)
        }
    }

    /// Opens a model of the study's shapes. It takes pictures and prompts as the one that was counted
    /// did, so that tokens are where they were then.
    private func open(_ folder: String, for file: Study) throws -> any VisionLanguageModel {
        try threading.apply()
        let begun = try file.model().map(Compatibility.init(fingerprint:)) ?? .current
        let model = try ModelFiles(folder: folder, compatibility: begun).open()
        try file.checkModules(model.modules)
        return model
    }

    // MARK: - Lists

    private func showLists(
        _ file: Study, _ set: SetName, _ opened: (any VisionLanguageModel)?
    ) throws {
        let names = try module.map { [$0] } ?? file.modules().map(\.name)
        let lists = try file.rememberingCounts {
            try names.compactMap { name -> NeuronList? in
                guard try file.identification(module: name, set: set) != nil else { return nil }
                let cards = try NeuronCards(file, module: name, set: set, split: split)
                if let layer, !(0..<cards.module.layers).contains(layer) {
                    throw ValidationError(
                        "\(name) has \(cards.module.layers) layers; \(layer) is not one of them.")
                }
                let all = try cards.set(layer: layer, domains: domains.chosen())
                let shown = limit == 0 ? all : Array(all.prefix(limit))
                return NeuronList(
                    module: name, neurons: all.count,
                    cards: try NeuronDocument.all(cards.cards(shown), opened, top: top))
            }
        }
        guard !lists.isEmpty else {
            throw InputError(
                .mismatch, file: study.study, item: set.name,
                "no neurons were identified under this name")
        }
        if json {
            try Diagnostics.printJSON(lists)
        } else {
            print(lists.map(\.text).joined(separator: "\n\n"))
        }
    }

    // MARK: - A card

    private func showCard(
        _ cards: NeuronCards, _ layer: Int, _ neuron: Int, _ file: Study,
        _ opened: (any VisionLanguageModel)?
    ) throws {
        var document = try NeuronDocument.all(
            [cards.card(layer: layer, neuron: neuron)], opened, top: top)[0]
        if let chosen = try domains.chosen() { document.keep(chosen) }
        if let activations {
            document.activations = try column(
                neuron, of: "mlp:\(cards.module.name).\(layer)", cards.module, in: activations)
        }
        if let bench, let opened {
            try document.place(
                MomentPlaces(
                    file, model: opened, bench: bench, split: cards.split,
                    allowsOutside: outside.allowOutside))
        }
        if json {
            try Diagnostics.printJSON(document)
        } else {
            print(document.text)
        }
    }

    /// One neuron's activations [tokens] out of a layer's [tokens, neurons].
    private func column(
        _ neuron: Int, of name: String, _ module: ModuleShape, in path: String
    ) throws -> [Float?] {
        let file = try SafetensorsFile(path: path)
        let shape = try file.tensor(name).shape
        guard shape.count == 2, shape[1] == module.neurons else {
            throw InputError(
                .badShape, file: path, item: tensorItem(name),
                expected: "[tokens, \(module.neurons)]", found: "\(shape)")
        }
        let values = try file.floats(name)
        // JSON has no infinity, which a half float may be.
        return stride(from: neuron, to: values.count, by: module.neurons).map {
            values[$0].isFinite ? values[$0] : nil
        }
    }
}
