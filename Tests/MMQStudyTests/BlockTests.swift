import Foundation
import GRDB
import MMQBase
import MMQImage
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQStudy

/// Counts in blocks of samples, picture and text apart, and what is done with them.
@Suite struct BlockTests {
    private func count(
        _ path: String, _ model: any CountingModel, blocks: Int? = nil, apart: Bool? = nil,
        samples: Int = 6, domains: [Domain] = [.rs, .com]
    ) throws {
        let plan = try CountingPlan(
            study: Study(path: path, access: .writing), model: model, bench: LensFixture.bench,
            goal: .samples(samples), blocks: blocks, apart: apart)
        for domain in domains { _ = try ResumableRun(plan.step(domain)).run() }
    }

    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func blocksAndPositionsAddUpToTheOfficialCounts(golden: GoldenModel) throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(golden.name, in: folder)
        let (apart, whole) = (folder("apart.sqlite"), folder("whole.sqlite"))
        try count(apart, model, blocks: 3)
        try count(whole, model, blocks: 2, apart: false)
        let one = try Study(path: apart, access: .reading)
        let other = try Study(path: whole, access: .reading)
        let text = model.architecture.modules.filter { $0.role == .textBranch }.map(\.name)
        for domain in [Domain.rs, .com] {
            let counts = try one.counts(domain: domain, split: "train")
            #expect(counts.map(\.shape) == model.modules)
            // Sums too, to the last bit: they are exact.
            #expect(try counts == other.counts(domain: domain, split: "train"))
            let parts = try [Positions.image, .text].map {
                try one.counts(domain: domain, split: "train", positions: $0)
            }
            for (shape, total) in zip(model.modules, counts) {
                let kinds = parts.compactMap { $0.first { $0.shape == shape } }
                let names = kinds.map(\.positions)
                #expect(
                    names
                        == (shape.name == model.decoderModule.name
                            ? [.image, .text]
                            : text.contains(shape.name) ? [.text] : [.image]))
                #expect(kinds.reduce(0) { $0 + $1.tokens } == total.tokens)
                for i in total.counts.indices {
                    #expect(kinds.reduce(0) { $0 + $1.counts[i] } == total.counts[i])
                    #expect(kinds.map { $0.maxima[i] }.max() == total.maxima[i])
                    #expect(
                        total.squares[i] * Double(total.tokens) * 1.000001 >= total.sums[i]
                            * total.sums[i])
                }
                let blocks = try one.blockCounts(
                    domain: domain, split: "train", shape, positions: .all)
                #expect(blocks.count == 3 && blocks.map(\.samples).reduce(0, +) == 6)
                #expect(blocks.reduce(0) { $0 + $1.counts.tokens } == total.tokens)
                for i in total.counts.indices {
                    #expect(blocks.reduce(0) { $0 + $1.counts.counts[i] } == total.counts[i])
                }
            }
        }
        let error = #expect(throws: InputError.self) {
            try other.counts(domain: .rs, split: "train", positions: .text)
        }
        #expect(error?.problem.contains("--positions") == true)
    }

    @Test func aPassKeepsItsBlocks() throws {
        let folder = try TemporaryFolder()
        let path = folder("s.sqlite")
        let model = PixelModel()
        for blocks in [0, 1, 257, -3] {
            let error = #expect(throws: InputError.self) { try count(path, model, blocks: blocks) }
            #expect(error?.code == .badInput, "\(blocks)")
        }
        try count(path, model, blocks: 4, samples: 2)
        #expect(throws: InputError.self) { try count(path, model, blocks: 5, samples: 3) }
        #expect(throws: InputError.self) { try count(path, model, apart: false, samples: 3) }
        try count(path, model, samples: 3)
        let pass = try #require(try Study(path: path, access: .reading).passes().first)
        #expect(pass.blocks == 4 && pass.apart && pass.samples == 3)
    }

    /// Every sample lies in the block of its position: shares of a bench, counted one by one and
    /// added up, are the whole.
    @Test func blocksAreByPosition() throws {
        let folder = try TemporaryFolder()
        try count(folder("s.sqlite"), PixelModel(), blocks: 4, samples: 6, domains: [.rs])
        let study = try Study(path: folder("s.sqlite"), access: .reading)
        let walk = try BenchSplit(
            bench: LensFixture.bench, domain: .rs, split: "train", form: .simple)
        var wanted: [Int: Int] = [:]
        while wanted.values.reduce(0, +) < 6, case .sample(let sample)? = try walk.next() {
            wanted[sample.position % 4, default: 0] += 1
        }
        let held = try study.passCounts(try #require(try study.passes().first))
        #expect(held.samples == wanted)
    }

    @Test func aFileOfManyBlocksIsNotTooLarge() throws {
        // A hundred thousand neurons: pages and indices do not count.
        struct Wide: CountingModel {
            let fingerprint = "wide"
            let visionModule = "lang"
            let modules = [ModuleShape(name: "lang", layers: 10, neurons: 10_000)]
            func visionTokens(size: @autoclosure () throws -> PixelSize, prompt: String) -> Int {
                40_000
            }
            func count(
                image: RGBImage, prompt: String, moments: MomentRequest?
            ) -> SampleCounts {
                let counts = [Positions.image, .text].map { positions in
                    var counts = ModuleCounts(shape: modules[0], positions: positions)
                    counts.tokens = 20_000
                    for i in counts.counts.indices { counts.counts[i] = Int64(i % 20_000) }
                    return counts
                }
                return SampleCounts(counts: counts)
            }
        }
        let folder = try TemporaryFolder()
        func size(_ name: String, blocks: Int?, apart: Bool?) throws -> Int {
            let path = folder(name)
            let study = try Study(path: path, access: .writing)
            let counts = PassCounts()
            for block in 0..<(blocks ?? 1) {
                try counts.add(
                    Wide().count(
                        image: RGBImage(width: 1, height: 1, pixels: [0, 0, 0]), prompt: "",
                        moments: nil
                    ).counts,
                    block: block, ordinals: ["lang": 0], apart: apart ?? true)
            }
            try study.bind(modules: Wide().modules, fingerprint: "wide")
            try study.commit(
                PassState(domain: .rs, split: "train", form: .simple, bench: "b"), counts)
            return try study.read { db in
                try Int.fetchOne(
                    db,
                    sql: """
                        SELECT (SELECT total(length(counts)) FROM block_count)
                            + (SELECT total(length(sums) + length(squares) + length(maxima))
                               FROM activation_sum)
                        """) ?? 0
            }
        }
        // One block, as an mmq without blocks and positions kept it: a count and a sum.
        let one = 100_000 * 16
        #expect(try size("many.sqlite", blocks: 16, apart: true) <= 24 * one)
        #expect(
            try size("many.sqlite.2", blocks: 16, apart: true) <= 24
                * size("one.sqlite", blocks: 1, apart: false))
    }

    @Test func interventionsTakeTheirValuesFromTheCounts() throws {
        let folder = try TemporaryFolder()
        let path = folder("s.sqlite")
        let model = PixelModel()
        try count(path, model)
        let study = try Study(path: path, access: .updating)
        let shape = model.modules[1]
        let counts = try [Domain.rs, .com].map { domain in
            try #require(
                try study.counts(domain: domain, split: "train").first { $0.shape == shape })
        }
        let neurons = [[1, 3], [], [0]]
        func values(_ word: String) throws -> [LayerMask] {
            try study.masks(neurons, in: shape, Intervention(word))
        }
        let tokens = Double(counts[0].tokens + counts[1].tokens)
        func mean(_ i: Int) -> Double { (counts[0].sums[i] + counts[1].sums[i]) / tokens }
        func deviation(_ i: Int) -> Double {
            ((counts[0].squares[i] + counts[1].squares[i]) / tokens - mean(i) * mean(i))
                .squareRoot()
        }
        func near(_ a: Float, _ b: Double) -> Bool { abs(Double(a) - b) < 1e-6 }
        #expect(try values("zero") == neurons.map { LayerMask(off: $0) })
        let means = try values("mean")
        #expect(means.map(\.neurons) == neurons && means[0].scales == [0, 0])
        #expect(
            near(means[0].shifts[0], mean(1)) && near(means[2].shifts[0], mean(2 * shape.neurons)))
        let own = try values("mean@com")
        #expect(near(own[0].shifts[1], counts[1].sums[3] / Double(counts[1].tokens)))
        let added = try values("add=-2")
        #expect(added[0].scales == [1, 1] && near(added[0].shifts[1], -2 * deviation(3)))
        #expect(
            try values("scale=0.5")[0]
                == LayerMask([1, 3], scales: [0.5, 0.5], shifts: [-0.0, -0.0]))
        for (word, code) in [("mean@ad", InputError.Code.mismatch), ("mean@sky", .badInput)] {
            let error = #expect(throws: InputError.self) { try values(word) }
            #expect(error?.code == code, "\(word)")
        }
        // A mask file may leave the values to the study.
        let file = try NeuronMask(
            json: Data(
                #"{"vision": [{"neurons": [1, 3], "kind": "mean"}, [], [{"neuron": 0, "kind": "mean"}]]}"#
                    .utf8),
            modules: model.modules, file: "m", resolve: study.resolver())
        #expect(file.layers == ["vision": means])
        // Old counts have sums, but no squares.
        let old = folder("old.sqlite")
        try FileManager.default.copyItem(atPath: Golden.folder + "/study/whole.sqlite", toPath: old)
        let before = try Study(path: old, access: .updating)
        let lang = try before.module("lang")
        let some = (0..<lang.layers).map { [$0] }
        #expect(try before.masks(some, in: lang, Intervention("mean"))[0].scales == [0])
        let error = #expect(throws: InputError.self) {
            try before.masks(some, in: lang, Intervention("add=1"))
        }
        #expect(error?.problem.contains("squares") == true)
    }

    @Test func matchedControlsFireAlike() throws {
        let counts: [Int64] = (0..<200).map { Int64($0 * $0 % 977) }
        let real = [3, 50, 120, 199]
        var seen: Set<[Int]> = []
        var near: [Int: Set<Int>] = [:]
        /// How many fire more like `one` than a neuron does.
        func nearer(_ neuron: Int, to one: Int, but real: [Int]) -> Int {
            func distance(_ other: Int) -> UInt64 { (counts[other] - counts[one]).magnitude }
            return counts.indices.count {
                !real.contains($0) && distance($0) < distance(neuron)
            }
        }
        for seed in 0..<80 as Range<UInt64> {
            let drawn = MaskSetting.drawAlike(real, among: counts, seed: seed)
            #expect(drawn.count == 4 && Set(drawn).count == 4 && Set(drawn).isDisjoint(with: real))
            #expect(drawn == drawn.sorted())
            #expect(MaskSetting.drawAlike(real, among: counts, seed: seed) == drawn)
            // Each among the ten nearest of one of the real ones, or of what those before it left.
            for neuron in drawn {
                #expect(
                    real.enumerated().contains { place, one in
                        nearer(neuron, to: one, but: real) < 10 + place
                    })
            }
            seen.insert(drawn)
            for one in real {
                let alone = MaskSetting.drawAlike([one], among: counts, seed: seed)
                #expect(alone.count == 1 && nearer(alone[0], to: one, but: [one]) < 10)
                near[one, default: []].formUnion(alone)
            }
        }
        #expect(seen.count > 40)
        // No neighbour is left out.
        #expect(near.values.allSatisfy { $0.count == 10 })
        #expect(MaskSetting.drawAlike([0, 1], among: [1, 1, 1], seed: 1) == [2])
        #expect(MaskSetting.drawAlike([], among: [1, 2], seed: 1).isEmpty)
    }

    @Test func setsLieSideBySide() throws {
        let folder = try TemporaryFolder()
        let path = folder("s.sqlite")
        try count(path, PixelModel())
        let wide = try SetName("wide")
        let rates = [SetName.usual: 0.2, wide: 0.6]
        for (name, rate) in rates {
            let study = try Study(path: path, access: .updating)
            for module in ["lang", "vision"] {
                try study.save(
                    study.identify(
                        module: module,
                        settings: .init(topRate: rate, filterRate: 0.2, activationBar: 0.3)),
                    set: name)
            }
        }
        let study = try Study(path: path, access: .reading)
        #expect(try study.setNames() == [.usual, wide])
        for (name, rate) in rates {
            #expect(try study.identification(module: "lang", set: name)?.settings.topRate == rate)
        }
        #expect(try study.identification(module: "lang", set: SetName("other")) == nil)
        // New counts take all sets of the domain with them.
        try count(path, PixelModel(), samples: 7, domains: [.rs])
        #expect(try Study(path: path, access: .reading).setNames().isEmpty)
    }

    @Test(arguments: Identification.Rule.allCases)
    func rulesRankByWhatTheySay(rule: Identification.Rule) throws {
        let folder = try TemporaryFolder()
        let path = folder("s.sqlite")
        try count(path, PixelModel())
        let study = try Study(path: path, access: .reading)
        let shape = try study.module("vision")
        let counts = try [Domain.rs, .com].map { domain in
            try #require(
                try study.counts(domain: domain, split: "train").first { $0.shape == shape })
        }
        let size = shape.layers * shape.neurons
        let found = try study.identify(
            module: "vision",
            settings: .init(topRate: 0.25, filterRate: 0.1, activationBar: 0.5, rule: rule))
        func value(_ d: Int, _ i: Int) -> Double {
            switch rule {
            case .dape, .difference: Double(counts[d].counts[i]) / Double(counts[d].tokens)
            case .mean: counts[d].sums[i] / Double(counts[d].tokens)
            case .max: Double(counts[d].maxima[i])
            }
        }
        func rank(_ i: Int) -> Double {
            let (a, b) = (value(0, i), value(1, i))
            guard rule == .dape else { return -abs(a - b) }
            return -[a, b].filter { $0 > 0 }.reduce(0) { $0 + $1 / (a + b) * log($1 / (a + b)) }
        }
        let all = (0..<size).flatMap { [value(0, $0), value(1, $0)] }.sorted()
        let filter = all[Int((Double(all.count) * 0.1).rounded(.toNearestOrEven)) - 1]
        let bar = all[Int((Double(all.count) * 0.5).rounded(.toNearestOrEven)) - 1]
        let order = (0..<size).filter { value(0, $0) > filter || value(1, $0) > filter }
            .sorted { (rank($0), $0) < (rank($1), $1) }
        let selected = order.prefix(found.selected)
        #expect(found.selected == 3)
        for (d, domain) in [Domain.rs, .com].enumerated() {
            let mine = try #require(found.neurons(of: domain)).enumerated().flatMap { layer, list in
                list.map { layer * shape.neurons + $0 }
            }
            #expect(mine == selected.filter { value(d, $0) > bar }.sorted(), "\(rule) \(domain)")
        }
    }

    @Test func stabilityIsThatOfItsBlocks() throws {
        let folder = try TemporaryFolder()
        let path = folder("s.sqlite")
        try count(path, PixelModel(), blocks: 5, samples: 12)
        let study = try Study(path: path, access: .reading)
        let settings = Identification.Settings(topRate: 0.4, filterRate: 0.2, activationBar: 0.3)
        func stability(_ seed: UInt64 = 1) throws -> Stability {
            try study.stability(module: "vision", settings: settings, draws: 40, seed: seed)
        }
        let found = try stability()
        #expect(try stability() == found && stability(2) != found)
        let whole = try study.identify(module: "vision", settings: settings)
        for (entry, domain) in zip(found.domains, [Domain.rs, .com]) {
            #expect(entry.domain == domain && entry.samples == 12 && entry.blocks == 5)
            let sizes = try #require(whole.neurons(of: domain)).map(\.count)
            #expect(entry.kept.map(\.count) == sizes && entry.neurons == sizes.reduce(0, +))
            #expect(entry.kept.allSatisfy { $0.allSatisfy { (0...1).contains($0) } })
        }
        #expect(found.curve.map(\.blocks) == [1, 2, 3, 4, 5])
        // A look takes fewer of the same draws.
        let look = try study.stability(
            module: "vision", settings: settings, draws: 40, extent: .overview)
        #expect(look.domains.map(\.halves) == found.domains.map(\.halves))
        #expect(look.domains.allSatisfy { $0.kept.isEmpty })
        #expect(look.curve == [0, 1, 3, 4].map { found.curve[$0] })
        #expect(found.curve.last?.jaccard == 1 && found.curve.last?.found == 1)
        #expect(found.curve.last?.samples == 12)
        for (a, b) in zip(found.curve, found.curve.dropFirst()) { #expect(a.samples < b.samples) }
        // Blocks that are all alike find the same neurons every time.
        let shape = ModuleShape(name: "m", layers: 1, neurons: 30)
        let alike = [Domain.rs, .com].enumerated().map { number, domain in
            (
                domain: domain,
                blocks: (0..<4).map { _ in
                    var counts = ModuleCounts(shape: shape)
                    counts.tokens = 100
                    for i in 0..<30 { counts.counts[i] = Int64((i * 7 + number * 13) % 50) }
                    return BlockCounts(samples: 3, counts: counts)
                }
            )
        }
        let sure = try Stability(
            alike, split: "train",
            settings: .init(topRate: 0.3, filterRate: 0.2, activationBar: 0.3),
            draws: 10, seed: 1, progress: { _ in })
        for entry in sure.domains {
            #expect(entry.neurons > 0 && entry.halves?.mean == 1)
            #expect(entry.kept.joined().allSatisfy { $0 == 1 })
        }
        #expect(sure.curve.allSatisfy { $0.jaccard == 1 })
        for rule in [Identification.Rule.mean, .max] {
            #expect(throws: InputError.self) {
                try study.stability(module: "vision", settings: .init(rule: rule), draws: 3)
            }
        }
        let old = folder("old.sqlite")
        try FileManager.default.copyItem(atPath: Golden.folder + "/study/whole.sqlite", toPath: old)
        let error = #expect(throws: InputError.self) {
            try Study(path: old, access: .updating).stability(module: "lang", draws: 3)
        }
        #expect(error?.code == .mismatch)
    }
}
