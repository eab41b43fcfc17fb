import Foundation
import MMQModels

/// What a study found in one module: how many neurons, which of them domains share, and how the
/// entropies that they were ranked by are distributed.
public struct ModuleNeurons: Sendable, Codable {
    /// How entropies are distributed.
    public struct Entropies: Sendable, Codable, Equatable {
        /// The greatest entropy there is: ln(domains).
        public let limit: Double
        /// Neurons by entropy, in equal steps from 0 to `limit`; those dropped are not in it.
        public let bins: [Int]
        /// Those of `bins` that were selected.
        public let selected: [Int]
        /// Neurons that fire too rarely in every domain to be ranked.
        public let dropped: Int
        /// The greatest entropy of a selected neuron; nil if none was selected.
        public let threshold: Double?
    }

    /// The module.
    public let module: ModuleShape
    /// The rest is empty if false: nothing was identified in this module.
    public let isIdentified: Bool
    /// The domains that were compared.
    public let domains: [Domain]
    /// The split that was counted.
    public let split: String
    /// The rates.
    public let settings: Identification.Settings
    /// The p that corresponds to the filter rate.
    public let filterThreshold: Double
    /// The p that corresponds to the activation bar.
    public let activationThreshold: Double
    /// Neurons selected, those that belong to no domain included.
    public let selected: Int
    /// Neurons that belong to one domain at least.
    public let belonging: Int
    /// Neurons of each domain in each layer, [domains][layers].
    public let counts: [[Int]]
    /// Neurons that two domains share, [domains][domains]; on the diagonal the domain's own number.
    public let shared: [[Int]]
    /// How entropies are distributed; nil if the counts that they come from are not in the study.
    public let entropies: Entropies?
}

extension ModuleNeurons {
    /// Steps of the histogram of entropies.
    static let bins = 40

    /// What a study found in a module.
    ///
    /// - Parameter set: the name that the sets were found under.
    /// - Throws: `InputError` as reading a study throws it.
    public init(_ module: ModuleShape, in study: Study, set: SetName = .usual) throws {
        self.module = module
        guard let found = try study.identification(module: module.name, set: set) else {
            isIdentified = false
            domains = []
            split = ""
            settings = .init()
            filterThreshold = 0
            activationThreshold = 0
            selected = 0
            belonging = 0
            counts = []
            shared = []
            entropies = nil
            return
        }
        isIdentified = true
        domains = found.domains
        split = found.split
        settings = found.settings
        filterThreshold = found.filterThreshold
        activationThreshold = found.activationThreshold
        selected = found.selected
        counts = found.neurons.map { $0.map(\.count) }
        let sets = found.neurons.map { layers in
            Set(
                layers.enumerated().flatMap { layer, neurons in
                    neurons.map { layer * module.neurons + $0 }
                })
        }
        belonging = sets.reduce(into: Set<Int>()) { $0.formUnion($1) }.count
        shared = sets.map { one in sets.map { one.intersection($0).count } }
        entropies = try study.entropies(behind: found).map {
            Entropies($0, selected: found.selected, domains: found.domains.count)
        }
    }

    /// Neurons that two domains share as a part of those in either, by their places in `domains`;
    /// nil where both are empty.
    public func jaccard(_ one: Int, _ other: Int) -> Double? {
        Self.jaccard(shared[one][one], shared[other][other], common: shared[one][other])
    }

    /// The Jaccard index of two sets of these sizes: common / either; nil where both are empty.
    static func jaccard(_ first: Int, _ second: Int, common: Int) -> Double? {
        let either = first + second - common
        return either > 0 ? Double(common) / Double(either) : nil
    }
}

extension ModuleNeurons.Entropies {
    /// How the entropies of a module's neurons are distributed.
    ///
    /// - Parameters:
    ///   - values: infinite for those dropped.
    ///   - selected: how many were selected, those of least entropy.
    ///   - domains: how many domains they are over.
    init(_ values: [Double], selected wanted: Int, domains: Int) {
        let limit = log(Double(domains))
        let ranked = Identification.ranked(values).filter { values[$0].isFinite }
        var bins = [Int](repeating: 0, count: ModuleNeurons.bins)
        var selected = bins
        for (place, neuron) in ranked.enumerated() {
            let bin = min(bins.count - 1, Int(values[neuron] / limit * Double(bins.count)))
            bins[bin] += 1
            if place < wanted { selected[bin] += 1 }
        }
        self.limit = limit
        self.bins = bins
        self.selected = selected
        dropped = values.count - ranked.count
        threshold = ranked.prefix(wanted).last.map { values[$0] }
    }
}

extension Study {
    /// The entropies that neurons were ranked by, from the counts that the study holds: they are
    /// not stored.
    ///
    /// - Returns: [layers × neurons], infinite for those dropped; nil if neurons were ranked by
    ///   something else, or if the counts of a domain are
    ///   not in the study.
    func entropies(behind found: Identification) throws -> [Double]? {
        // Other rules rank by something else.
        guard found.settings.rule == .dape else { return nil }
        let counts = try found.domains.compactMap { domain -> ModuleCounts? in
            guard try pass(domain: domain, split: found.split) != nil else { return nil }
            return try self.counts(
                domain: domain, split: found.split, positions: found.settings.positions
            ).first { $0.shape == found.module }
        }
        guard counts.count == found.domains.count, counts.count >= 2,
            counts.allSatisfy({ $0.tokens > 0 })
        else { return nil }
        return Identification.ranks(
            Identification.values(counts, by: .dape), domains: counts.count,
            above: found.filterThreshold, by: .dape)
    }
}
