import Foundation
import MMQModels

extension ModuleNeurons {
    /// Steps of the histogram of entropies.
    static let bins = 40

    /// What a study found in a module.
    init(_ module: ModuleShape, in study: Study) throws {
        self.module = module
        guard let found = try study.identification(module: module.name) else {
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
        entropies = try Self.entropies(found, in: study)
    }

    /// The entropies that `identify` ranked, from the same counts. They are not stored.
    private static func entropies(_ found: Identification, in study: Study) throws -> Entropies? {
        let counts = try found.domains.compactMap { domain -> ModuleCounts? in
            guard try study.pass(domain: domain, split: found.split) != nil else { return nil }
            return try study.counts(domain: domain, split: found.split)
                .first { $0.shape == found.module }
        }
        guard counts.count == found.domains.count, counts.count >= 2,
            counts.allSatisfy({ $0.tokens > 0 })
        else { return nil }
        let limit = log(Double(counts.count))
        var ranked: [(entropy: Double, neuron: Int)] = []
        let total = found.module.layers * found.module.neurons
        for neuron in 0..<total {
            let p = counts.map { Double($0.counts[neuron]) / Double($0.tokens) }
            guard p.contains(where: { $0 > found.filterThreshold }) else { continue }
            ranked.append((entropy(p), neuron))
        }
        ranked.sort { ($0.entropy, $0.neuron) < ($1.entropy, $1.neuron) }
        var bins = [Int](repeating: 0, count: Self.bins)
        var selected = bins
        for (place, entry) in ranked.enumerated() {
            let bin = min(Self.bins - 1, Int(entry.entropy / limit * Double(Self.bins)))
            bins[bin] += 1
            if place < found.selected { selected[bin] += 1 }
        }
        return Entropies(
            limit: limit, bins: bins, selected: selected, dropped: total - ranked.count,
            threshold: ranked.prefix(found.selected).last?.entropy)
    }

    /// -Σ q ln q of p normalised over domains (see `Identification`).
    private static func entropy(_ p: [Double]) -> Double {
        let sum = p.reduce(0, +)
        var entropy = 0.0
        for value in p where value > 0 {
            let q = value / sum
            entropy += q * log(q)
        }
        return max(0, -entropy)
    }
}
