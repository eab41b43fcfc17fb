import Foundation
import MMQBase
import MMQModels

/// The domain-specific neurons of one module, by one of several rules.
///
/// All in 64-bit floats. p(neuron, domain) = count / tokens. Every rule gives each neuron a rank; of
/// all neurons the top rate × their number (rounded half to even) of best rank are selected, ties by
/// the lower flat index. A selected neuron belongs to every domain in which its value, of the kind
/// that the rule looks at, is above the activation bar: the k-th smallest of all values, k = bar ×
/// their number, rounded half to even. Neurons none of whose values is above the filter threshold,
/// found like the bar from the filter rate, come last.
public struct Identification: Sendable, Equatable {
    /// Rule and rates.
    public struct Settings: Sendable, Hashable, Codable {
        /// The part of all neurons that is selected.
        public var topRate: Double
        /// The quantile of p that a neuron must exceed in some domain.
        public var filterRate: Double
        /// The quantile of p that a selected neuron must exceed to belong to a domain.
        public var activationBar: Double
        /// What makes a neuron a domain's.
        public var rule: Rule
        /// Which tokens' activations count.
        public var positions: Positions

        /// The official rates, rule and positions, or others.
        public init(
            topRate: Double = 0.01, filterRate: Double = 0.95, activationBar: Double = 0.95,
            rule: Rule = .dape, positions: Positions = .all
        ) {
            self.topRate = topRate
            self.filterRate = filterRate
            self.activationBar = activationBar
            self.rule = rule
            self.positions = positions
        }
    }

    /// A rate of the settings, by its name in the command line.
    public enum Rate: String, Sendable, Codable, CaseIterable {
        case topRate = "top-rate"
        case filterRate = "filter-rate"
        case activationBar = "activation-bar"

        /// Where the settings have it.
        public var setting: WritableKeyPath<Settings, Double> {
            switch self {
            case .topRate: \.topRate
            case .filterRate: \.filterRate
            case .activationBar: \.activationBar
            }
        }
    }

    /// What makes a neuron a domain's.
    public enum Rule: String, Sendable, Codable, CaseIterable {
        /// Least entropy of p over the domains, -Σ q ln q with q = p / Σ p and 0 ln 0 = 0: domain
        /// activation probability entropy (Huo et al., MMNeuron, EMNLP 2024; after Tang et al.,
        /// Language-Specific Neurons, ACL 2024).
        case dape
        /// Greatest difference of p: that of the domain where it is greatest less the mean of the
        /// others' (the contrast of a concept with the rest, as Suau et al., Self-conditioning
        /// pre-trained language models, ICML 2022, rank by one domain against the others).
        case difference
        /// The same difference of mean activations, the sum of all activations / tokens: MINER's
        /// criterion "mean" (Huang et al., MINER, 2410.04819), domains in place of modalities.
        case mean
        /// The same difference of greatest activations: MINER's criterion "max".
        case max

        /// Whether it looks at the values themselves, which only counts of this mmq keep in full.
        public var needsMaxima: Bool { self == .max }

        /// What it looks at in one domain, [layers × neurons].
        func values(_ counts: ModuleCounts) -> [Double] {
            let tokens = Double(counts.tokens)
            return switch self {
            case .dape, .difference: counts.counts.map { Double($0) / tokens }
            case .mean: counts.sums.map { $0 / tokens }
            case .max: counts.maxima.map { Double($0) }
            }
        }

        /// The rank of a neuron by its values in all domains: less is better.
        func rank(_ values: ArraySlice<Double>) -> Double {
            if self == .dape { return Identification.entropy(values) }
            // NaN has no place in an order.
            guard let greatest = values.max(), values.allSatisfy(\.isFinite) else {
                return .infinity
            }
            let others = values.reduce(0, +) - greatest
            return others / Double(values.count - 1) - greatest
        }
    }

    /// The module.
    public let module: ModuleShape
    /// The domains that were compared, in the official order.
    public let domains: [Domain]
    /// The split that was counted.
    public let split: String
    /// The rates.
    public let settings: Settings
    /// The p that corresponds to the filter rate.
    public let filterThreshold: Double
    /// The p that corresponds to the activation bar.
    public let activationThreshold: Double
    /// How many neurons were selected, those that belong to no domain included.
    public let selected: Int
    /// For each domain (as in `domains`) and layer the neurons, ascending.
    public let neurons: [[[Int]]]

    /// The neurons of one domain, one ascending list per layer.
    public func neurons(of domain: Domain) -> [[Int]]? {
        domains.firstIndex(of: domain).map { neurons[$0] }
    }

    /// Neurons that were found earlier, or elsewhere; what they are is documented at the properties.
    public init(
        module: ModuleShape, domains: [Domain], split: String, settings: Settings,
        filterThreshold: Double, activationThreshold: Double, selected: Int, neurons: [[[Int]]]
    ) {
        self.module = module
        self.domains = domains
        self.split = split
        self.settings = settings
        self.filterThreshold = filterThreshold
        self.activationThreshold = activationThreshold
        self.selected = selected
        self.neurons = neurons
    }

    /// Finds the neurons.
    ///
    /// - Parameters:
    ///   - counts: what each domain counted in one module; two or more domains.
    ///   - split: the split that was counted.
    ///   - settings: the rates, each in 0...1.
    /// - Throws: `InputError`, `.mismatch` if that is not what was given.
    public init(
        counts: [(domain: Domain, counts: ModuleCounts)], split: String = "train",
        settings: Settings = Settings()
    ) throws {
        let counts = counts.sorted { $0.domain.place < $1.domain.place }
        guard let module = counts.first?.counts.shape, counts.count >= 2 else {
            throw InputError(
                .mismatch, file: "identify", "two or more domains are needed, not \(counts.count)")
        }
        for entry in counts {
            guard entry.counts.shape == module else {
                throw InputError(
                    .mismatch, file: "identify", item: entry.domain.rawValue, "another module")
            }
            guard entry.counts.tokens > 0 else {
                throw InputError(
                    .mismatch, file: "identify", item: entry.domain.rawValue,
                    "module \(module.name) has seen no tokens")
            }
        }
        let width = counts.count
        let total = module.layers * module.neurons
        guard !settings.rule.needsMaxima || counts.allSatisfy({ !$0.counts.maxima.isEmpty }) else {
            throw InputError(
                .mismatch, file: "identify", item: module.name,
                "the rule max needs the greatest activations, which imported counts and those of an "
                    + "older mmq lack; count with \(CommandHint.again)")
        }
        let values = Self.values(counts.map(\.counts), by: settings.rule)
        if let broken = values.firstIndex(where: { $0.isNaN }) {
            throw InputError(
                .badInput, file: "identify", item: counts[broken % width].domain.rawValue,
                "neuron \(broken / width % module.neurons) of layer "
                    + "\(broken / width / module.neurons) of module \(module.name) has no value: its "
                    + "counts or sums are damaged")
        }
        let places = try [
            Self.place(settings.filterRate, of: values.count, "filter rate"),
            Self.place(settings.activationBar, of: values.count, "activation bar"),
        ]
        let filter = Selection.value(at: places[0], of: values)
        let bar =
            places[1] == places[0] ? filter : Selection.value(at: places[1], of: values)

        let ranks = Self.ranks(values, domains: width, above: filter, by: settings.rule)
        guard (0...1).contains(settings.topRate) else {
            throw InputError(
                .mismatch, file: "identify", "top rate \(settings.topRate) is not within 0...1")
        }
        let wanted = Int((Double(total) * settings.topRate).rounded(.toNearestOrEven))
        var neurons = Array(
            repeating: [[Int]](repeating: [], count: module.layers), count: width)
        // Ascending flat indices leave every layer's list ascending.
        for neuron in Selection.least(wanted, of: ranks) {
            for column in 0..<width where values[neuron * width + column] > bar {
                neurons[column][neuron / module.neurons].append(neuron % module.neurons)
            }
        }
        self.init(
            module: module, domains: counts.map(\.domain), split: split, settings: settings,
            filterThreshold: filter, activationThreshold: bar, selected: wanted, neurons: neurons)
    }

    /// The place of the k-th smallest of `count` values, from 0; k = rate × their number, from 1,
    /// rounded half to even.
    private static func place(_ rate: Double, of count: Int, _ name: String) throws -> Int {
        guard (0...1).contains(rate) else {
            throw InputError(.mismatch, file: "identify", "\(name) \(rate) is not within 0...1")
        }
        let place = Int((Double(count) * rate).rounded(.toNearestOrEven))
        guard place >= 1 else {
            throw InputError(
                .mismatch, file: "identify",
                "\(name) \(rate) of \(count) values is less than one value")
        }
        return place - 1
    }

    /// What a rule looks at in one module, [layers × neurons, domains].
    ///
    /// - Parameter counts: one entry per domain, each with tokens.
    static func values(_ counts: [ModuleCounts], by rule: Rule) -> [Double] {
        let width = counts.count
        let total = counts.first.map { $0.shape.layers * $0.shape.neurons } ?? 0
        var values = [Double](repeating: 0, count: total * width)
        for (column, entry) in counts.enumerated() {
            let own = rule.values(entry)
            values.withUnsafeMutableBufferPointer { values in
                for neuron in own.indices { values[neuron &* width &+ column] = own[neuron] }
            }
        }
        return values
    }

    /// The rank of each neuron, [layers × neurons]; infinite for one with no value above the
    /// threshold of the filter.
    static func ranks(
        _ values: [Double], domains: Int, above filter: Double, by rule: Rule
    ) -> [Double] {
        stride(from: 0, to: values.count, by: domains).map {
            let some = values[$0..<$0 + domains]
            return some.contains { $0 > filter } ? rule.rank(some) : .infinity
        }
    }

    /// All neurons by their ranks, the least first, ties by the lower flat index.
    static func ranked(_ ranks: [Double]) -> [Int] {
        ranks.indices.sorted { (ranks[$0], $0) < (ranks[$1], $1) }
    }

    /// The entropy over domains.
    static func entropy(_ p: ArraySlice<Double>) -> Double {
        let sum = p.reduce(0, +)
        var entropy = 0.0
        for value in p where value > 0 {
            let q = value / sum
            entropy += q * log(q)
        }
        return -entropy
    }
}

extension Domain {
    /// The place in the official order.
    public var place: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}
