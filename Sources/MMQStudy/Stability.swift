import Dispatch
import Foundation
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
        /// it too; empty where nothing was resampled.
        public let kept: [[Double]]
    }

    /// How much is drawn. What both draw is the same to the last bit.
    public enum Extent: Sendable {
        /// Halves, resamplings, and the curve from one block to all by ones.
        case whole
        /// For a look: no resamplings, and the curve at 1, 2, 4, ... blocks and at all.
        case overview
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
    /// Random halves, and as many resamplings if any.
    public let draws: Int
    /// The seed of all draws.
    public let seed: UInt64
    /// Each domain.
    public let domains: [Entry]
    /// From few blocks to all.
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
            let counts = zip(domains, chosen).map { entry, places in
                (domain: entry.domain, counts: Self.total(places.map { entry.blocks[$0].counts }))
            }
            let found = try Identification(counts: counts, split: split, settings: settings)
            return found.neurons.map { layers in
                Set(
                    layers.enumerated().flatMap { layer, neurons in
                        neurons.map { layer * found.module.neurons + $0 }
                    })
            }
        }

        private static func total(_ blocks: [ModuleCounts]) -> ModuleCounts {
            var total = blocks[0]
            for block in blocks.dropFirst() {
                total.tokens += block.tokens
                // A block has seen less than 2³² tokens, and there are 256 at the most.
                total.counts.withUnsafeMutableBufferPointer { total in
                    block.counts.withUnsafeBufferPointer { block in
                        for i in total.indices { total[i] &+= block[i] }
                    }
                }
            }
            return total
        }

        /// Choices whose sets are found at a time. Each takes memory: some 100 MB where a module has
        /// 350,000 neurons.
        private static let lanes = max(1, min(4, ProcessInfo.processInfo.activeProcessorCount))

        /// Finds the sets of many choices, several at a time.
        ///
        /// - Parameters:
        ///   - choice: called in the order of the numbers; draws.
        ///   - body: takes the sets, in the same order: no result depends on the machine.
        func forEach(
            _ count: Int, choice: (Int) -> [[Int]], body: (Int, [Set<Int>]) -> Void
        ) throws {
            for start in stride(from: 0, to: count, by: Self.lanes) {
                let choices = (start..<min(count, start + Self.lanes)).map(choice)
                var found = [Result<[Set<Int>], any Error>?](
                    repeating: nil, count: choices.count)
                found.withUnsafeMutableBufferPointer { found in
                    // Each writes a place of its own.
                    nonisolated(unsafe) let found = found
                    DispatchQueue.concurrentPerform(iterations: choices.count) { lane in
                        found[lane] = Result { try sets(choices[lane]) }
                    }
                }
                for (lane, result) in found.enumerated() {
                    if let sets = try result?.get() { body(start + lane, sets) }
                }
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
        extent: Extent = .whole, progress: (Double) -> Void
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
        let resamplings = extent == .whole ? wanted : 0
        let steps = Double(
            wanted + resamplings + curveDraws * Self.places(below: least, extent).count)
        var done = 0.0
        func step() {
            done += 1
            progress(done / steps)
        }

        var halves = blocks.map { _ in [Double]() }
        var sizes = blocks.map { _ in (0.0, 0.0) }
        var random = SplitMix64(seed: seedHash(seed, module.name, "halves"))
        var order: [[Int]] = []
        var first: [Set<Int>] = []
        try draws.forEach(2 * wanted) { number in
            guard number % 2 == 0 else { return order.map { Array($0.dropFirst($0.count / 2)) } }
            order = draws.shuffled(&random)
            return order.map { Array($0.prefix($0.count / 2)) }
        } body: { number, second in
            guard number % 2 == 1 else {
                first = second
                return
            }
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
        try draws.forEach(resamplings) { _ in
            draws.resampled(&random)
        } body: { _, sets in
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
            // Drawn for a place that is left out too, so that the next one's draws are the same.
            let chosen = (0..<curveDraws).map { _ in
                draws.shuffled(&random).map { Array($0.prefix(count)) }
            }
            guard Self.places(below: least, extent).contains(count) else { continue }
            var (samples, jaccard, found, sets) = (0.0, 0.0, 0.0, 0)
            try draws.forEach(curveDraws) {
                chosen[$0]
            } body: { draw, drawn in
                samples += draws.samples(chosen[draw]) / Double(curveDraws)
                for (set, whole) in zip(drawn, all) where !whole.isEmpty {
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
                kept: resamplings == 0
                    ? []
                    : (0..<module.layers).map { layer in
                        all[place].filter { $0 / module.neurons == layer }.sorted().map {
                            Double(kept[place][$0] ?? 0) / Double(wanted)
                        }
                    })
        }
    }

    /// Where the curve has points before its end.
    private static func places(below least: Int, _ extent: Extent) -> [Int] {
        switch extent {
        case .whole: Array(stride(from: 1, to: least, by: 1))
        case .overview: (0..<8).map { 1 << $0 }.filter { $0 < least }
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
        extent: Stability.Extent = .whole, progress: (Double) -> Void = { _ in }
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
                extent: extent, progress: progress)
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
        guard let module = try read({ try ordinal(of: shape.name, $0) }) else { return [] }
        let held = try passCounts(pass, blocksOf: module)
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
