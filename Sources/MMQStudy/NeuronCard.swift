import MMQBase
import MMQModels

/// What a study knows of a neuron.
public struct NeuronCard: Sendable, Codable {
    /// An activation, and where it was.
    public struct Moment: Sendable, Codable, Equatable {
        /// The activation.
        public let value: Float
        /// The sample's place in the bench's order.
        public let sample: Int
        /// The token among those that the module saw of the sample.
        public let token: Int
    }

    /// In one domain.
    public struct InDomain: Sendable, Codable {
        /// The domain.
        public let domain: Domain
        /// Whether the neuron is in the domain's set.
        public let belongs: Bool
        /// Tokens that the module saw.
        public let tokens: Int64
        /// The share of them at which it fired.
        public let probability: Double
        /// The mean of all its activations.
        public let mean: Double
        /// The greatest activation; nil where none was kept.
        public let maximum: Float?
        /// The strongest activations; empty where none were kept.
        public let moments: [Moment]
        /// Tokens by activation, one more than there are `edges`: up to the first, above it up to the
        /// next, …, above the last; nil where none were counted.
        public let histogram: [Int64]?
    }

    /// The module's name.
    public let module: String
    /// The layer.
    public let layer: Int
    /// The neuron's number in the layer.
    public let neuron: Int
    /// -Σ q ln q with q = p / Σ p over the domains; nil with fewer than two, or where it never fired.
    public let entropy: Double?
    /// Its place among the module's neurons by entropy, from 1, as identify ranks them; nil if it was
    /// dropped there, or nothing was identified by entropy.
    public let rank: Int?
    /// The domains that were counted.
    public private(set) var domains: [InDomain]

    /// The same of some domains.
    public func keeping(_ wanted: [Domain]) -> NeuronCard {
        var card = self
        card.domains = domains.filter { wanted.contains($0.domain) }
        return card
    }
}

/// Reads cards of a module's neurons.
public final class NeuronCards {
    /// The module.
    public let module: ModuleShape
    /// What identify found in it under the set's name, if anything.
    public let found: Identification?

    /// The split that was counted.
    public let split: String

    private let study: Study
    private let number: Int
    private let passes: [(state: PassState, counts: ModuleCounts)]
    /// [layers × neurons]: from 0; nil where it was dropped.
    private let ranks: [Int?]
    /// The layer whose moments were read last: cards come layer by layer.
    private var held: (layer: Int, moments: [PassMoments.Layer?])?

    /// - Parameters:
    ///   - set: whose neurons belong to domains.
    ///   - split: the split that was counted; nil for the set's, or train.
    /// - Throws: `InputError`, `.mismatch` if nothing was counted over the split.
    public init(_ study: Study, module name: String, set: SetName, split: String? = nil) throws {
        self.study = study
        let module = try study.module(name)
        self.module = module
        guard let number = try study.modules().firstIndex(of: module) else {
            throw InputError(.mismatch, file: study.path, item: name, "no such module")
        }
        self.number = number
        found = try study.identification(module: name, set: set)
        let split = split ?? found?.split ?? "train"
        self.split = split
        passes = try study.passes().filter { $0.split == split && $0.form == .simple }
            .compactMap { pass in
                try study.counts(domain: pass.domain, split: split)
                    .first { $0.shape == module && $0.tokens > 0 }.map { (pass, $0) }
            }
        guard !passes.isEmpty else {
            throw InputError(
                .mismatch, file: study.path, item: name,
                "the study holds no counts of this module over the \(split) split")
        }
        var ranks = [Int?](repeating: nil, count: module.layers * module.neurons)
        if let found, let entropies = try study.entropies(behind: found) {
            for (place, neuron) in Identification.ranked(entropies).enumerated()
            where entropies[neuron].isFinite {
                ranks[neuron] = place
            }
        }
        self.ranks = ranks
    }

    /// The neurons of the set, of least entropy first; those without a rank come last, in their order.
    ///
    /// - Parameters:
    ///   - layer: of that layer only; nil for all.
    ///   - domains: of these domains' sets; nil for all.
    public func set(layer: Int? = nil, domains: [Domain]? = nil) -> [(layer: Int, neuron: Int)] {
        guard let found else { return [] }
        var places = Set<Int>()
        for (domain, layers) in zip(found.domains, found.neurons)
        where domains?.contains(domain) ?? true {
            for (number, neurons) in layers.enumerated() where layer ?? number == number {
                places.formUnion(neurons.map { number * module.neurons + $0 })
            }
        }
        return places.sorted { (ranks[$0] ?? .max, $0) < (ranks[$1] ?? .max, $1) }
            .map { ($0 / module.neurons, $0 % module.neurons) }
    }

    /// The neurons of the set as `set()` lists them, each once: those that belong to several domains
    /// under the one in which they fire most often.
    public func byDomain() -> [(domain: Domain, neurons: [(layer: Int, neuron: Int)])] {
        guard let found else { return [] }
        var home: [Int: (domain: Domain, probability: Double)] = [:]
        for pass in passes {
            guard let layers = found.neurons(of: pass.state.domain) else { continue }
            for (layer, neurons) in layers.enumerated() {
                for neuron in neurons {
                    let place = layer * module.neurons + neuron
                    let probability =
                        Double(pass.counts.counts[place]) / Double(pass.counts.tokens)
                    if probability > home[place]?.probability ?? -1 {
                        home[place] = (pass.state.domain, probability)
                    }
                }
            }
        }
        let all = Dictionary(grouping: set()) {
            home[$0.layer * module.neurons + $0.neuron]?.domain
        }
        return found.domains.map { ($0, all[$0] ?? []) }
    }

    /// Cards of neurons, in their order. A layer's moments are read once, in whatever order its
    /// neurons are named.
    ///
    /// - Throws: `InputError`, as `card`.
    public func cards(_ places: [(layer: Int, neuron: Int)]) throws -> [NeuronCard] {
        var cards: [Int: NeuronCard] = [:]
        for place in places.sorted(by: { $0.layer < $1.layer }) {
            cards[place.layer * module.neurons + place.neuron] = try card(
                layer: place.layer, neuron: place.neuron)
        }
        return places.compactMap { cards[$0.layer * module.neurons + $0.neuron] }
    }

    /// A neuron's card.
    ///
    /// - Throws: `InputError`, `.badValue` if the module has no such neuron.
    public func card(layer: Int, neuron: Int) throws -> NeuronCard {
        func check(_ item: String, _ value: Int, _ count: Int) throws {
            guard (0..<count).contains(value) else {
                throw InputError(
                    .badValue, file: study.path, item: "\(item) of \(module.name)",
                    expected: "0 to \(count - 1)", found: String(value))
            }
        }
        try check("layer", layer, module.layers)
        try check("neuron", neuron, module.neurons)
        if held?.layer != layer {
            held = (
                layer,
                try passes.map { try study.moments($0.state, module: number, layer: layer) }
            )
        }
        let place = layer * module.neurons + neuron
        let domains = passes.enumerated().map { index, pass in
            let counts = pass.counts
            let moments = held?.moments[index]
            let maximum = counts.maxima.isEmpty ? -.infinity : counts.maxima[place]
            return NeuronCard.InDomain(
                domain: pass.state.domain,
                belongs: found?.neurons(of: pass.state.domain)?[layer].contains(neuron) ?? false,
                tokens: counts.tokens,
                probability: Double(counts.counts[place]) / Double(counts.tokens),
                mean: counts.sums[place] / Double(counts.tokens),
                maximum: maximum.isFinite ? maximum : nil,
                moments: moments?.moments(of: neuron) ?? [],
                histogram: moments?.histogram(of: neuron))
        }
        let hasEntropy = domains.count > 1 && domains.contains { $0.probability > 0 }
        return NeuronCard(
            module: module.name, layer: layer, neuron: neuron,
            entropy: hasEntropy
                ? Identification.entropy(domains.map(\.probability)[...]) : nil,
            rank: ranks[place].map { $0 + 1 },
            domains: domains)
    }
}

extension PassMoments.Layer {
    /// A neuron's strongest activations, the strongest first.
    fileprivate func moments(of neuron: Int) -> [NeuronCard.Moment] {
        stride(from: neuron, to: neurons * keep, by: neurons).prefix {
            activations[$0] > -.infinity
        }.map {
            .init(value: activations[$0], sample: Int(samples[$0]), token: Int(places[$0]))
        }
    }

    /// Tokens by a neuron's activation.
    fileprivate func histogram(of neuron: Int) -> [Int64] {
        let above = MomentHistogram.edges.indices.map { Int64(self.above[$0 * neurons + neuron]) }
        return zip([tokens] + above, above + [0]).map { $0 - $1 }
    }
}
