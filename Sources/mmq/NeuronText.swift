import MMQBase
import MMQModels
import MMQStudy

/// The neurons of a set in a module, as `mmq neurons` lists them.
struct NeuronList: Encodable {
    let module: String
    /// How many the set has; not all need be listed.
    let neurons: Int
    let cards: [NeuronDocument]

    var text: String {
        guard let first = cards.first else { return "\(module): no neurons of the set" }
        let domains = first.card.domains.map(\.domain.rawValue)
        let hasWords = cards.contains { $0.raised != nil }
        var head = ["layer", "neuron", "rank", "entropy", "of"]
        head += domains.map { "p \($0) %" }
        if hasWords { head.append("writes") }
        var table = TextTable(head)
        for document in cards {
            let card = document.card
            let own = card.domains.filter(\.belongs).map(\.domain.rawValue)
            var row = [String(card.layer), String(card.neuron)]
            row.append(card.rank.map { String($0) } ?? "-")
            row += [TextTable.number(card.entropy), own.joined(separator: "+")]
            row += card.domains.map { TextTable.percent($0.probability) }
            if let raised = document.raised {
                row.append(raised.prefix(3).map(\.word).joined(separator: " "))
            }
            table.add(row)
        }
        let more = cards.count < neurons ? ", the first \(cards.count)" : ""
        let count = neurons == 1 ? "one neuron" : "\(neurons) neurons"
        return "\(module): \(count) in the set\(more)\n\(table.text)"
    }
}

/// A neuron's card, with what a model and a bench add to what the study knows.
struct NeuronDocument: Encodable {
    /// A strong activation with its sample and what its token is.
    struct Placed: Encodable {
        let domain: Domain
        let value: Float
        let sample: Int
        let token: Int
        var question: String?
        var pictures: [String]?
        var place: TokenPlace?
    }

    private(set) var card: NeuronCard
    private(set) var raised: [WrittenWord]?
    private(set) var lowered: [WrittenWord]?
    private(set) var moments: [Placed] = []
    /// The histogram's edges.
    private let edges = MomentHistogram.edges
    /// In a file, token by token; nil for what is no number.
    var activations: [Float?]?

    private init(_ card: NeuronCard) {
        self.card = card
        setMoments()
    }

    /// Documents of cards of one module, with words if a model is at hand.
    static func all(
        _ cards: [NeuronCard], _ model: (any VisionLanguageModel)?, top: Int
    ) throws -> [Self] {
        var documents = cards.map(Self.init)
        guard let model, let module = cards.first?.module, module == model.decoderModule.name
        else { return documents }
        let words = try model.words(
            of: cards.map { DecoderNeuron(layer: $0.layer, neuron: $0.neuron) }, top: top)
        for (index, found) in words.enumerated() {
            documents[index].raised = model.spelled(found.raised)
            documents[index].lowered = model.spelled(found.lowered)
        }
        return documents
    }

    private mutating func setMoments() {
        moments = card.domains.flatMap { entry in
            entry.moments.map {
                Placed(
                    domain: entry.domain, value: $0.value, sample: $0.sample, token: $0.token)
            }
        }
    }

    /// Leaves out other domains.
    mutating func keep(_ domains: [Domain]) {
        card = card.keeping(domains)
        setMoments()
    }

    /// Says what the tokens of the strongest activations are.
    mutating func place(_ places: MomentPlaces) throws {
        for index in moments.indices {
            let moment = moments[index]
            guard let found = try places.sample(moment.domain, position: moment.sample) else {
                continue
            }
            moments[index].question = found.sample.question
            moments[index].pictures = found.sample.pictures
            moments[index].place = found.tokens?.place(
                module: card.module, token: moment.token)
        }
    }

    var text: String {
        var parts = [head, domainTable]
        if !moments.isEmpty { parts.append("strongest\n" + momentTable) }
        if card.domains.contains(where: { $0.histogram != nil }) {
            parts.append("tokens by activation\n" + histogramTable)
        }
        if let raised { parts.append("writes   " + line(raised)) }
        if let lowered { parts.append("lowers   " + line(lowered)) }
        if let activations { parts.append("at each token\n" + tokenTable(activations)) }
        return parts.joined(separator: "\n")
    }

    private var head: String {
        var head = "\(card.module), layer \(card.layer), neuron \(card.neuron)"
        if let rank = card.rank { head += ": rank \(rank)" }
        if let entropy = card.entropy {
            head += (card.rank == nil ? ": " : ", ") + "entropy " + TextTable.number(entropy)
        }
        return head
    }

    private var domainTable: String {
        var table = TextTable(["domain", "in the set", "tokens", "p %", "mean", "greatest"])
        for entry in card.domains {
            table.add([
                entry.domain.rawValue, entry.belongs ? "yes" : "no", String(entry.tokens),
                TextTable.percent(entry.probability), TextTable.number(entry.mean),
                TextTable.number(entry.maximum.map { Double($0) }),
            ])
        }
        return table.text
    }

    private var momentTable: String {
        let isPlaced = moments.contains { $0.place != nil }
        var table = TextTable(
            ["domain", "value", "sample", "token"] + (isPlaced ? ["what"] : []))
        for moment in moments {
            var row = [moment.domain.rawValue, TextTable.number(Double(moment.value))]
            row += [String(moment.sample), String(moment.token)]
            if isPlaced { row.append(moment.place.map(Self.words) ?? "-") }
            table.add(row)
        }
        return table.text
    }

    private static func words(_ place: TokenPlace) -> String {
        if let word = place.word { return word }
        guard let row = place.row, let column = place.column else { return "no patch" }
        let of = place.grid ?? place.tile.map { "tile \($0)" } ?? ""
        return "\(of), row \(row), column \(column)"
    }

    private var histogramTable: String {
        func edge(_ value: Float) -> String {
            value == value.rounded() ? String(Int(value)) : String(value)
        }
        var head = ["domain"]
        head += edges.map { "≤ " + edge($0) }
        head += edges.suffix(1).map { "> " + edge($0) }
        var table = TextTable(head)
        for entry in card.domains {
            guard let histogram = entry.histogram else { continue }
            table.add([entry.domain.rawValue] + histogram.map(String.init))
        }
        return table.text
    }

    private func line(_ words: [WrittenWord]) -> String {
        words.map { "\(shown($0.word, lines: false)) \(TextTable.number(Double($0.weight), 3))" }
            .joined(separator: "  ")
    }

    private func tokenTable(_ values: [Float?]) -> String {
        var table = TextTable(["token", "value"])
        for (token, value) in values.enumerated() {
            table.add([String(token), TextTable.number(value.map { Double($0) })])
        }
        return table.text
    }
}
