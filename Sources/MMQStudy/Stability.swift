import MMQBase
import MMQModels

/// Whether other pictures would find the same neurons: sets from random halves of the blocks in which
/// samples were counted, from blocks drawn with replacement, and from few blocks.
public struct Stability: Sendable, Codable, Equatable {
    /// How alike two sets are.
    public struct Likeness: Sendable, Codable, Equatable {
        /// The mean Jaccard index over the draws.
        public let mean: Double
        /// From the 2.5 % to the 97.5 % quantile of the draws.
        public let interval: Interval
        /// What sets of these sizes, drawn independently, would have in common: the index of the
        /// expected numbers.
        public let chance: Double
    }

    /// One domain's neurons.
    public struct Entry: Sendable, Codable, Equatable {
        /// The domain.
        public let domain: Domain
        /// Samples counted.
        public let samples: Int
        /// Blocks that hold any.
        public let blocks: Int
        /// Neurons that all samples find.
        public let neurons: Int
        /// Sets of random halves, next to each other; nil if both were empty in every draw.
        public let halves: Likeness?
        /// For each layer and neuron that all samples find, in order, the part of resamplings that find
        /// it too.
        public let kept: [[Double]]
    }

    /// Sets from some blocks, next to those of all.
    public struct Point: Sendable, Codable, Equatable {
        /// Blocks of each domain.
        public let blocks: Int
        /// Samples of each domain, the mean over domains and draws.
        public let samples: Double
        /// The mean Jaccard index with the sets of all blocks, over domains and draws.
        public let jaccard: Double
        /// The mean part of those sets' neurons that these find.
        public let found: Double
    }

    /// The module.
    public let module: ModuleShape
    /// Rule and rates.
    public let settings: Identification.Settings
    /// Random halves, and resamplings.
    public let draws: Int
    /// The seed of all draws.
    public let seed: UInt64
    /// Each domain.
    public let domains: [Entry]
    /// From one block to all.
    public let curve: [Point]
}

/// How often a module's neurons fired in one block of a domain's samples.
struct BlockCounts {
    /// Samples of the block.
    let samples: Int
    /// [layers × neurons], with the tokens that were seen; no sums.
    var counts: ModuleCounts
}

extension Stability {
    /// Blocks that are drawn from, domain by domain.
    private struct Draws {
        let domains: [(domain: Domain, blocks: [BlockCounts])]
        let settings: Identification.Settings
        let split: String

        /// The neurons that some blocks of each domain find: sets of flat indices.
        func sets(_ chosen: [[Int]]) throws -> [Set<Int>] {
            let counts = zip(domains, chosen).map { entry, places -> (Domain, ModuleCounts) in
                var total = entry.blocks[places[0]].counts
                for place in places.dropFirst() { total.add(entry.blocks[place].counts) }
                return (entry.domain, total)
            }
            let found = try Identification(
                counts: counts.map { (domain: $0.0, counts: $0.1) }, split: split,
                settings: settings)
            return found.neurons.map { layers in
                Set(
                    layers.enumerated().flatMap { layer, neurons in
                        neurons.map { layer * found.module.neurons + $0 }
                    })
            }
        }

        func samples(_ chosen: [[Int]]) -> Double {
            let all = zip(domains, chosen).map { entry, places in
                places.reduce(0) { $0 + entry.blocks[$1].samples }
            }
            return Double(all.reduce(0, +)) / Double(all.count)
        }

        /// For each domain its blocks in random order.
        func shuffled(_ random: inout SplitMix64) -> [[Int]] {
            domains.map { entry in
                var order = Array(entry.blocks.indices)
                for last in stride(from: order.count - 1, to: 0, by: -1) {
                    order.swapAt(last, random.number(below: last + 1))
                }
                return order
            }
        }

        /// For each domain as many blocks as it has, drawn with replacement.
        func resampled(_ random: inout SplitMix64) -> [[Int]] {
            domains.map { entry in
                entry.blocks.map { _ in random.number(below: entry.blocks.count) }
            }
        }
    }

    /// Draws blocks and finds neurons.
    ///
    /// - Parameters:
    ///   - blocks: what each domain counted in a module, in two or more blocks each.
    ///   - draws: random halves, and as many resamplings.
    ///   - progress: told the part that is done.
    init(
        _ blocks: [(domain: Domain, blocks: [BlockCounts])], split: String,
        settings: Identification.Settings, draws wanted: Int, seed: UInt64,
        progress: (Double) -> Void
    ) throws {
        let draws = Draws(domains: blocks, settings: settings, split: split)
        guard let module = blocks.first?.blocks.first?.counts.shape else {
            throw InputError(.mismatch, file: "stability", "nothing was counted")
        }
        let size = module.layers * module.neurons
        let all = try draws.sets(blocks.map { Array($0.blocks.indices) })
        let least = blocks.map(\.blocks.count).min() ?? 0
        // Fewer draws for each number of blocks: their mean is over all of them and over domains.
        let curveDraws = max(1, wanted / 5)
        let steps = Double(2 * wanted + curveDraws * max(0, least - 1))
        var done = 0.0
        func step() {
            done += 1
            progress(done / steps)
        }

        var halves = blocks.map { _ in [Double]() }
        var sizes = blocks.map { _ in (0.0, 0.0) }
        var random = SplitMix64(seed: seedHash(seed, module.name, "halves"))
        for _ in 0..<wanted {
            let order = draws.shuffled(&random)
            let first = try draws.sets(order.map { Array($0.prefix($0.count / 2)) })
            let second = try draws.sets(order.map { Array($0.dropFirst($0.count / 2)) })
            for domain in blocks.indices {
                sizes[domain].0 += Double(first[domain].count) / Double(wanted)
                sizes[domain].1 += Double(second[domain].count) / Double(wanted)
                if let index = Self.jaccard(first[domain], second[domain]) {
                    halves[domain].append(index)
                }
            }
            step()
        }

        var kept = all.map { set in Dictionary(uniqueKeysWithValues: set.map { ($0, 0) }) }
        random = SplitMix64(seed: seedHash(seed, module.name, "resampling"))
        for _ in 0..<wanted {
            let sets = try draws.sets(draws.resampled(&random))
            for (domain, set) in sets.enumerated() {
                for neuron in all[domain] where set.contains(neuron) {
                    kept[domain][neuron, default: 0] += 1
                }
            }
            step()
        }

        var curve: [Point] = []
        random = SplitMix64(seed: seedHash(seed, module.name, "curve"))
        for count in stride(from: 1, to: least, by: 1) {
            var (samples, jaccard, found, sets) = (0.0, 0.0, 0.0, 0)
            for _ in 0..<curveDraws {
                let chosen = draws.shuffled(&random).map { Array($0.prefix(count)) }
                samples += draws.samples(chosen) / Double(curveDraws)
                for (set, whole) in zip(try draws.sets(chosen), all) where !whole.isEmpty {
                    sets += 1
                    jaccard += Self.jaccard(set, whole) ?? 0
                    found += Double(set.intersection(whole).count) / Double(whole.count)
                }
                step()
            }
            guard sets > 0 else { continue }
            curve.append(
                Point(
                    blocks: count, samples: samples, jaccard: jaccard / Double(sets),
                    found: found / Double(sets)))
        }
        let whole = blocks.map { Array($0.blocks.indices) }
        curve.append(
            Point(blocks: least, samples: draws.samples(whole), jaccard: 1, found: 1))

        self.module = module
        self.settings = settings
        self.draws = wanted
        self.seed = seed
        self.curve = curve
        domains = blocks.enumerated().map { place, entry in
            let common = sizes[place].0 * sizes[place].1 / Double(size)
            let either = sizes[place].0 + sizes[place].1 - common
            let indices = halves[place]
            return Entry(
                domain: entry.domain, samples: entry.blocks.reduce(0) { $0 + $1.samples },
                blocks: entry.blocks.count, neurons: all[place].count,
                halves: indices.isEmpty
                    ? nil
                    : Likeness(
                        mean: indices.reduce(0, +) / Double(indices.count),
                        interval: Resampling.interval(ofDraws: indices),
                        chance: either > 0 ? common / either : 0),
                kept: (0..<module.layers).map { layer in
                    all[place].filter { $0 / module.neurons == layer }.sorted().map {
                        Double(kept[place][$0] ?? 0) / Double(wanted)
                    }
                })
        }
    }

    private static func jaccard(_ one: Set<Int>, _ other: Set<Int>) -> Double? {
        ModuleNeurons.jaccard(
            one.count, other.count, common: one.intersection(other).count)
    }
}

extension Study {
    /// Whether other pictures would find the same neurons of a module.
    ///
    /// - Parameters:
    ///   - domains: the domains to compare, two or more; nil for all that were counted.
    ///   - settings: rule and rates; the rule looks at how often neurons fire.
    ///   - draws: random halves, and as many resamplings of the blocks.
    ///   - progress: told the part that is done.
    /// - Throws: `InputError`, `.mismatch` where counts were not kept in blocks.
    public func stability(
        module name: String, domains: [Domain]? = nil, split: String = "train",
        settings: Identification.Settings = .init(), draws: Int = 100, seed: UInt64 = 1,
        progress: (Double) -> Void = { _ in }
    ) throws -> Stability {
        let shape = try module(name)
        guard [.dape, .difference].contains(settings.rule) else {
            throw InputError(
                .mismatch, file: path, item: "rule \(settings.rule.rawValue)",
                "blocks keep how often neurons fired, not how strongly: stability is for the rules "
                    + "dape and difference")
        }
        let held = try passes().filter { $0.split == split && $0.form == .simple }.map(\.domain)
        let blocks = try (domains ?? held).map { domain in
            (
                domain: domain,
                blocks: try blockCounts(
                    domain: domain, split: split, shape, positions: settings.positions)
            )
        }.sorted { $0.domain.place < $1.domain.place }
        return try InputError.about(file: path) {
            try Stability(
                blocks, split: split, settings: settings, draws: draws, seed: seed,
                progress: progress)
        }
    }

    /// How often a module's neurons fired in each block of a domain's samples.
    func blockCounts(
        domain: Domain, split: String, _ shape: ModuleShape, positions: Positions
    ) throws -> [BlockCounts] {
        guard let pass = try pass(domain: domain, split: split) else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "the study holds no counts of this domain's \(split) split")
        }
        let held = try passCounts(pass)
        guard held.samples.values.reduce(0, +) == pass.samples, held.samples.count > 1 else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "not counted in blocks, by an older mmq or elsewhere, or a single sample; count "
                    + "with \(CommandHint.again)")
        }
        guard positions == .all || pass.apart else {
            throw InputError(
                .mismatch, file: path, item: domain.rawValue,
                "counted without telling the picture's positions from the text's; count with "
                    + "\(CommandHint.positions)")
        }
        guard let module = try read({ try ordinal(of: shape.name, $0) }) else { return [] }
        let found = held.samples.sorted { $0.key < $1.key }.compactMap { block, samples in
            held.fired(in: block, of: module, shape, positions).map {
                BlockCounts(samples: samples, counts: $0)
            }
        }
        guard found.count > 1 else {
            throw InputError(
                .mismatch, file: path, item: shape.name,
                "this module sees no \(positions.rawValue) positions of \(domain.rawValue)")
        }
        return found
    }
}
