import Foundation
import MMQBase
import MMQModels

/// The domain-specific neurons of one module, found by domain activation probability entropy (DAPE;
/// Huo et al., MMNeuron, EMNLP 2024).
///
/// All in 64-bit floats. p(neuron, domain) = count / tokens; q is p normalised over the domains; the
/// entropy is -Σ q ln q with 0 ln 0 = 0. The filter threshold is the k-th smallest of all p,
/// k = filter rate × their number, rounded half to even; neurons with no p above it come last.
/// Of all neurons the top rate × their number of least entropy are selected, ties by the lower
/// flat index. A selected neuron belongs to every domain whose p is above the activation bar, a
/// threshold found like the first.
public struct Identification: Sendable, Equatable {
    /// The three rates.
    public struct Settings: Sendable, Equatable, Codable {
        /// The part of all neurons that is selected.
        public var topRate: Double
        /// The quantile of p that a neuron must exceed in some domain.
        public var filterRate: Double
        /// The quantile of p that a selected neuron must exceed to belong to a domain.
        public var activationBar: Double

        /// The official rates, or others.
        public init(topRate: Double = 0.01, filterRate: Double = 0.95, activationBar: Double = 0.95)
        {
            self.topRate = topRate
            self.filterRate = filterRate
            self.activationBar = activationBar
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
        let probabilities = Self.probabilities(counts.map(\.counts))
        let sorted = probabilities.sorted()
        let filter = try Self.quantile(sorted, settings.filterRate, "filter rate")
        let bar = try Self.quantile(sorted, settings.activationBar, "activation bar")

        let entropies = Self.entropies(probabilities, domains: width, above: filter)
        guard (0...1).contains(settings.topRate) else {
            throw InputError(
                .mismatch, file: "identify", "top rate \(settings.topRate) is not within 0...1")
        }
        let wanted = Int((Double(total) * settings.topRate).rounded(.toNearestOrEven))
        var neurons = Array(
            repeating: [[Int]](repeating: [], count: module.layers), count: width)
        // Ascending flat indices leave every layer's list ascending.
        for neuron in Self.ranked(entropies).prefix(wanted).sorted() {
            for column in 0..<width where probabilities[neuron * width + column] > bar {
                neurons[column][neuron / module.neurons].append(neuron % module.neurons)
            }
        }
        self.init(
            module: module, domains: counts.map(\.domain), split: split, settings: settings,
            filterThreshold: filter, activationThreshold: bar, selected: wanted, neurons: neurons)
    }

    /// The k-th smallest of ascending values, k = rate × their number, from 1, rounded half to even.
    private static func quantile(
        _ sorted: [Double], _ rate: Double, _ name: String
    ) throws -> Double {
        guard (0...1).contains(rate) else {
            throw InputError(.mismatch, file: "identify", "\(name) \(rate) is not within 0...1")
        }
        let place = Int((Double(sorted.count) * rate).rounded(.toNearestOrEven))
        guard place >= 1 else {
            throw InputError(
                .mismatch, file: "identify",
                "\(name) \(rate) of \(sorted.count) values is less than one value")
        }
        return sorted[place - 1]
    }

    /// The activation probabilities of one module, [layers × neurons, domains].
    ///
    /// - Parameter counts: one entry per domain, each with tokens.
    static func probabilities(_ counts: [ModuleCounts]) -> [Double] {
        let width = counts.count
        let total = counts.first.map { $0.shape.layers * $0.shape.neurons } ?? 0
        var probabilities = [Double](repeating: 0, count: total * width)
        for (column, entry) in counts.enumerated() {
            let tokens = Double(entry.tokens)
            for neuron in 0..<total {
                probabilities[neuron * width + column] = Double(entry.counts[neuron]) / tokens
            }
        }
        return probabilities
    }

    /// The entropy over domains of each neuron, [layers × neurons]; infinite for one with no p
    /// above the threshold of the filter.
    static func entropies(
        _ probabilities: [Double], domains: Int, above filter: Double
    ) -> [Double] {
        stride(from: 0, to: probabilities.count, by: domains).map {
            entropy(probabilities[$0..<$0 + domains], above: filter)
        }
    }

    /// All neurons by their entropies, the least first, ties by the lower flat index.
    static func ranked(_ entropies: [Double]) -> [Int] {
        entropies.indices.sorted { (entropies[$0], $0) < (entropies[$1], $1) }
    }

    /// The entropy over domains; infinite for a neuron with no p above the threshold.
    private static func entropy(_ p: ArraySlice<Double>, above threshold: Double) -> Double {
        guard p.contains(where: { $0 > threshold }) else { return .infinity }
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
