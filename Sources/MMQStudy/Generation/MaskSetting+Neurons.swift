import MMQBase
import MMQModels

extension MaskSetting {
    /// What happens to neurons when a domain is asked about: for each module one mask per layer.
    ///
    /// - Parameters:
    ///   - asked: the domain that the questions are of.
    ///   - study: holds the neuron sets, and the counts that means and deviations come from.
    ///   - seed: for a control without a number; the same seed draws the same neurons.
    /// - Throws: `InputError`, `.mismatch` naming the module that nothing was identified in, or the
    ///   counts that are not there.
    public func neurons(
        of asked: Domain, in study: Study, seed: UInt64
    ) throws -> [String: [LayerMask]] {
        let domain = domain ?? asked
        var masks: [String: [LayerMask]] = [:]
        for name in modules {
            guard let found = try study.identification(module: name, set: set) else {
                throw InputError(
                    .mismatch, file: study.path, item: name,
                    "the mask setting '\(self.name)' needs this module's neurons: "
                        + "run \(CommandHint.identify(name, set: set)) first")
            }
            guard let layers = found.neurons(of: domain) else {
                throw InputError(
                    .mismatch, file: study.path, item: name,
                    "the mask setting '\(self.name)' needs this module's neurons of "
                        + "\(domain.rawValue), which \(CommandHint.identify(name, set: set)) did "
                        + "not compare")
            }
            let neurons = try drawn(layers, of: found, domain, study, seed: seed)
            masks[name] = try study.masks(
                neurons, in: found.module, intervention, split: found.split)
        }
        return masks
    }

    /// The neurons that stand in for the identified ones; these themselves if this is no control.
    private func drawn(
        _ layers: [[Int]], of found: Identification, _ domain: Domain, _ study: Study, seed: UInt64
    ) throws -> [[Int]] {
        guard let control else { return layers }
        let module = found.module
        // The name without number: the draw with number N is what the run's seed N draws.
        let name = core.prefix { $0 != "#" }
        func layerSeed(_ layer: Int) -> UInt64 {
            seedHash(
                draw.map { UInt64($0) } ?? seed, domain.rawValue, String(name), module.name,
                String(layer))
        }
        if control == .random {
            return layers.enumerated().map { layer, real in
                Self.draw(real.count, of: module.neurons, seed: layerSeed(layer))
            }
        }
        let counts = try study.counts(domain: domain, split: found.split)
        guard let own = counts.first(where: { $0.shape == module }), own.tokens > 0 else {
            throw InputError(
                .mismatch, file: study.path, item: module.name,
                "the mask setting '\(self.name)' needs the counts of \(domain.rawValue)")
        }
        return layers.enumerated().map { layer, real in
            let first = layer * module.neurons
            return Self.drawAlike(
                real, among: Array(own.counts[first..<first + module.neurons]),
                seed: layerSeed(layer))
        }
    }

    /// `count` different numbers below `range`, each choice equally likely, ascending: Floyd's
    /// method (Bentley and Floyd, A sample of brilliance, 1987).
    static func draw(_ count: Int, of range: Int, seed: UInt64) -> [Int] {
        var generator = SplitMix64(seed: seed)
        var drawn: Set<Int> = []
        for last in max(0, range - count)..<range {
            let candidate = generator.number(below: last + 1)
            drawn.insert(drawn.contains(candidate) ? last : candidate)
        }
        return drawn.sorted()
    }

    /// Neighbours that a matched control chooses from.
    static let neighbours = 10

    /// For each of the neurons `real`, ascending, one that is neither among them nor drawn yet and
    /// fires about as often: one of the ten nearest, each equally likely; of equally near ones those
    /// with lower indices. Fewer where there are none left. Ascending.
    ///
    /// - Parameter counts: how often each neuron of the layer fired.
    static func drawAlike(_ real: [Int], among counts: [Int64], seed: UInt64) -> [Int] {
        var generator = SplitMix64(seed: seed)
        let set = Set(real)
        // By how often they fired, then by index; nearest ones lie side by side.
        var free = counts.indices.filter { !set.contains($0) }
            .sorted { (counts[$0], $0) < (counts[$1], $1) }
        var drawn: [Int] = []
        for neuron in real where !free.isEmpty {
            let wanted = counts[neuron]
            // The ten nearest lie among the ten below and the ten above the place of `neuron`, and
            // those that fired as often as the last of them.
            var low = 0
            var high = free.count
            while low < high {
                let middle = (low + high) / 2
                if counts[free[middle]] < wanted { low = middle + 1 } else { high = middle }
            }
            var first = max(0, low - neighbours)
            while first > 0, counts[free[first - 1]] == counts[free[first]] { first -= 1 }
            let end = min(free.count, low + neighbours)
            let near = (first..<end).sorted {
                ((counts[free[$0]] - wanted).magnitude, free[$0])
                    < ((counts[free[$1]] - wanted).magnitude, free[$1])
            }.prefix(neighbours)
            let place = near[generator.number(below: near.count)]
            drawn.append(free.remove(at: place))
        }
        return drawn.sorted()
    }
}

/// A seed of its own for each place that draws: FNV-1a over the run's seed and the names of the
/// place, mixed once more so that neighbours share no bits.
func seedHash(_ seed: UInt64, _ parts: String...) -> UInt64 {
    var hash = StableHash()
    // 0 ends a part: no name holds it, so ("a", "bc") and ("ab", "c") differ.
    for part in [String(seed)] + parts {
        hash.add(part.utf8)
        hash.add(UInt8(0))
    }
    var generator = SplitMix64(seed: hash.value)
    return generator.next()
}
