import CSIMD
import Foundation
import GRDB
import MMQBase
import MMQFormats
import MMQImage
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQStudy

/// The strongest activations and the histograms that a counting pass keeps.
@Suite struct MomentTests {
    private let folder: TemporaryFolder
    private let bench = Golden.folder + "/study/bench"

    init() throws { folder = try TemporaryFolder() }

    private func study(_ name: String) throws -> Study {
        try Study(path: folder(name), access: .writing)
    }

    @discardableResult
    private func count(
        _ study: Study, _ domain: Domain = .med, keepTop: Int? = nil, samples: Int = 1000,
        stopAfter: Int = .max, model: any CountingModel = PixelModel(), bench: String? = nil
    ) throws -> (outcome: RunOutcome, pass: PassState) {
        let plan = try CountingPlan(
            study: study, model: model, bench: bench ?? self.bench, goal: .samples(samples),
            keepTop: keepTop)
        var counted = 0
        let (outcome, pass) = try ResumableRun(
            plan.step(domain), interrupted: { counted >= stopAfter },
            tell: { if case .progress = $0 { counted += 1 } }
        ).run()
        return (outcome, pass)
    }

    /// One activation.
    private struct Moment: Equatable {
        let value: Float
        let sample: Int
        let token: Int

        static func isFirst(_ a: Moment, _ b: Moment) -> Bool {
            a.value != b.value
                ? a.value > b.value : (a.sample, a.token) < (b.sample, b.token)
        }
    }

    private func strongest(_ layer: PassMoments.Layer, _ neuron: Int) -> [Moment] {
        stride(from: neuron, to: layer.keep * layer.neurons, by: layer.neurons)
            .filter { layer.activations[$0] > -.infinity }
            .map {
                Moment(
                    value: layer.activations[$0], sample: Int(layer.samples[$0]),
                    token: Int(layer.places[$0]))
            }
    }

    // MARK: - What they are

    /// Those of the values that hooks in transformers saw, three cases a pass; every module.
    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func areThoseOfHooks(_ golden: GoldenModel) throws {
        let model = try LensFixture.model(golden.name, in: folder)
        let moments = PassMoments(modules: model.modules, keep: 8)
        let cases = try #require(try Golden.json(golden.name + "/cases.json")["cases"]?.array)
        for (sample, item) in cases.enumerated() {
            let picture = try Golden.path(golden.name + "/" + #require(item["image"]?.text))
            let found = try model.count(
                image: RGBImage.decode(path: picture), prompt: #require(item["prompt"]?.text),
                moments: moments.request)
            moments.add(found.moments, sample: sample)
        }
        let expected = try Golden.tensors("activations/\(golden.architecture).moments.safetensors")
        #expect(expected.tensors.count == 5 * model.modules.count)
        var exact = 0
        for (module, layers) in zip(model.modules, moments.layers) {
            let top = try expected.floats(module.name + "_top")
            let samples = try expected.integers(module.name + "_sample")
            let tokens = try expected.integers(module.name + "_token")
            assertClose(
                layers.flatMap { $0.byNeuron($0.activations) }, top, tolerance: 1e-4,
                "\(golden) \(module.name)")
            for (layer, held) in layers.enumerated() {
                for neuron in 0..<module.neurons {
                    let first = (layer * module.neurons + neuron) * 8
                    let values = Array(top[first..<first + 8])
                    for (rank, moment) in strongest(held, neuron).enumerated() {
                        // Where others are within the bar, the last bits decide which comes first.
                        // What comes behind the last is not known.
                        let value = values[rank]
                        let near = values.count { abs($0 - value) <= 2e-4 }
                        guard near == 1, rank < 7 else { continue }
                        exact += 1
                        #expect(
                            moment.sample == Int(samples[first + rank])
                                && moment.token == Int(tokens[first + rank]),
                            "\(golden) \(module.name).\(layer) neuron \(neuron) rank \(rank)")
                    }
                }
            }
            let above = try expected.integers(module.name + "_above")
            let near = try expected.integers(module.name + "_near")
            let found = layers.flatMap(\.above)
            #expect(found.count == above.count)
            for i in found.indices {
                #expect(
                    abs(Int64(found[i]) - above[i]) <= near[i],
                    "\(golden) \(module.name) histogram at \(i)")
            }
        }
        let all = model.modules.reduce(0) { $0 + $1.layers * $1.neurons } * 8
        #expect(exact > all / 2, "\(exact) of \(all) have their place by themselves")
    }

    /// Of all samples together, by sorting them; ties and a small number of tokens included.
    @Test(arguments: [Domain.ad, .med, .rs, .com], [1, 3, 64])
    func areTheStrongestOfAllSamples(_ domain: Domain, keep: Int) throws {
        let study = try study("s")
        let (_, pass) = try count(study, domain, keepTop: keep)
        let model = PixelModel()
        var all = model.modules.map { Array(repeating: [Moment](), count: $0.layers * $0.neurons) }
        var above = model.modules.map {
            Array(
                repeating: UInt32(0), count: $0.layers * $0.neurons * MomentHistogram.edges.count)
        }
        let walk = try BenchSplit(bench: bench, domain: domain, split: "train", form: .simple)
        while let item = try walk.next() {
            guard case .sample(let sample) = item else { continue }
            let found = try model.count(
                image: sample.picture(), prompt: sample.prompt,
                moments: MomentRequest(keep: 64, of: model.modules))
            for (module, moments) in found.moments.enumerated() {
                for i in above[module].indices { above[module][i] += moments.above[i] }
                let neurons = moments.shape.neurons
                for i in moments.values.indices where moments.values[i] > -.infinity {
                    all[module][i / (64 * neurons) * neurons + i % neurons].append(
                        Moment(
                            value: moments.values[i], sample: sample.position,
                            token: Int(moments.places[i])))
                }
            }
        }
        let held = try study.passMoments(pass)
        #expect(pass.keepTop == keep && held.keep == keep)
        for (module, shape) in model.modules.enumerated() {
            for layer in 0..<shape.layers {
                for neuron in 0..<shape.neurons {
                    let expected = all[module][layer * shape.neurons + neuron]
                        .sorted(by: Moment.isFirst).prefix(keep)
                    #expect(strongest(held.layers[module][layer], neuron) == Array(expected))
                }
            }
            #expect(held.layers[module].flatMap(\.above) == above[module])
        }
        // The greatest is the maximum that the counts hold.
        for (module, counts) in try study.counts(domain: domain, split: "train").enumerated() {
            let layers = held.layers[module]
            #expect(layers.allSatisfy { $0.tokens == counts.tokens })
            let greatest = layers.flatMap { $0.activations.prefix($0.neurons) }
            #expect(greatest == counts.maxima)
            let zero = try #require(MomentHistogram.edges.firstIndex(of: 0))
            let fired = layers.flatMap { layer in
                layer.above[zero * layer.neurons..<(zero + 1) * layer.neurons].map(Int64.init)
            }
            #expect(fired == counts.counts)
        }
    }

    /// In whatever order passes are added.
    @Test func addUpInAnyOrder() throws {
        let modules = [ModuleShape(name: "m", layers: 1, neurons: 2)]
        var numbers = SeededRandom(seed: 5)
        func part(_ sample: Int) -> PassMoments {
            let pass = PassMoments(modules: modules, keep: 3)
            var moments = ModuleMoments(shape: modules[0], keep: 3)
            moments.tokens = 9
            for neuron in 0..<2 {
                // Few different values: most are ties.
                let values = (0..<Int(numbers.next() % 4)).map { _ in Float(numbers.next() % 3) }
                for (rank, value) in values.sorted(by: >).enumerated() {
                    moments.values[rank * 2 + neuron] = value
                    moments.places[rank * 2 + neuron] = UInt32(rank)
                }
            }
            pass.add([moments], sample: sample)
            return pass
        }
        for _ in 0..<200 {
            let parts = (0..<4).map(part)
            func sum(_ order: [Int]) throws -> [[PassMoments.Layer]] {
                let sum = PassMoments(modules: modules, keep: 3)
                for number in order { try sum.add(parts[number]) }
                return sum.layers
            }
            let expected = try sum([0, 1, 2, 3])
            for order in [[3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
                #expect(try sum(order) == expected)
            }
        }
    }

    /// A picture that was missing is counted when others have been: what is as strong still counts.
    @Test func anEarlierSampleThatIsCountedLaterComesFirst() throws {
        let modules = [ModuleShape(name: "m", layers: 1, neurons: 1)]
        let pass = PassMoments(modules: modules, keep: 1)
        var moments = ModuleMoments(shape: modules[0], keep: 1)
        (moments.tokens, moments.values, moments.places) = (2, [1.5], [1])
        pass.add([moments], sample: 5)
        let floor = try #require(pass.request?.floors[0][0])
        #expect(floor < 1.5 && floor.nextUp == 1.5)
        pass.add([moments], sample: 3)
        #expect(pass.layers[0][0].samples == [3])
        pass.add([moments], sample: 4)
        #expect(pass.layers[0][0].samples == [3] && pass.layers[0][0].tokens == 6)
    }

    // MARK: - In the study

    @Test func stoppingAnywhereChangesNothing() throws {
        for domain in [Domain.ad, .rs] {
            let whole = try study("whole-\(domain)")
            let (_, expected) = try count(whole, domain)
            for step in 1...3 {
                let name = "\(domain)-\(step)"
                var outcome = RunOutcome.interrupted
                for _ in 0..<100 where outcome == .interrupted {
                    // Opened anew each time, as after a kill.
                    outcome = try count(study(name), domain, stopAfter: step).outcome
                }
                let found = try study(name)
                #expect(try found.pass(domain: domain, split: "train") == expected)
                #expect(
                    try found.digest(of: StudyItem(expected))
                        == whole.digest(of: StudyItem(expected)))
            }
        }
    }

    /// With the kernels of one machine, whatever the number of threads.
    @Test func doNotDependOnThreads() throws {
        kernelSettings.lock()
        let threads = csimd_threads()
        defer {
            csimd_set_threads(threads)
            kernelSettings.unlock()
        }
        let model = try LensFixture.model(in: folder)
        var digests: Set<String> = []
        for threads in [1, 2, 5] {
            csimd_set_threads(Int32(threads))
            let study = try study("\(threads)")
            let (_, pass) = try count(
                study, .rs, samples: 3, model: model, bench: LensFixture.bench)
            digests.insert(try study.digest(of: StudyItem(pass)))
            let counts = try study.counts(domain: .rs, split: "train")
            for (layers, counts) in try zip(study.passMoments(pass).layers, counts) {
                #expect(
                    layers.flatMap { $0.activations.prefix($0.neurons) } == counts.maxima)
            }
        }
        #expect(digests.count == 1)
    }

    @Test func howManyAreKeptStaysAsItIs() throws {
        let study = try study("s")
        try count(study, keepTop: 2, samples: 2)
        for other in [0, 3, 8] {
            let error = #expect(throws: InputError.self) { try count(study, keepTop: other) }
            #expect(error?.code == .mismatch && error?.problem.contains("keeping 2") == true)
        }
        #expect(try count(study, samples: 3).pass.keepTop == 2)
        #expect(try count(study, keepTop: 2).pass.samples == 5)
        #expect(throws: InputError.self) { try count(study, .rs, keepTop: 65) }
        // None at all, which merging and exporting take as it is.
        let none = try self.study("none")
        try count(none, keepTop: 0)
        #expect(try none.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM moment") } == 0)
        let files = try StudyExport.write(none, to: folder("none-out"), model: "m")
        #expect(!files.contains { $0.contains("/moments/") })
    }

    /// A pass of an mmq that kept none goes on, and keeps none.
    @Test func olderPassesGoOnWithoutThem() throws {
        let path = folder("old")
        try count(Study(path: path, access: .writing), keepTop: 4, samples: 2)
        // As the migration leaves it.
        let database = try DatabaseQueue(path: path)
        try database.write {
            try $0.execute(sql: "DELETE FROM moment; UPDATE pass SET keep_top = 0")
        }
        try database.close()
        let study = try Study(path: path, access: .writing)
        #expect(try count(study).pass.keepTop == 0)
        #expect(throws: InputError.self) { try count(study, keepTop: 8) }
        #expect(try count(study, .rs).pass.keepTop == CountingPlan.usualKeepTop)
    }

    @Test func areExported() throws {
        let study = try study("s")
        let (_, pass) = try count(study, keepTop: 4)
        let files = try StudyExport.write(study, to: folder("out"), model: "m")
        let path = folder("out/m/moments/med.safetensors")
        #expect(files.contains(path))
        let file = try SafetensorsFile(path: path)
        let held = try study.passMoments(pass)
        #expect(try file.floats("edges") == MomentHistogram.edges)
        for (shape, layers) in zip(PixelModel().modules, held.layers) {
            let kept = [shape.layers, shape.neurons, 4]
            #expect(try file.tensor(shape.name + "_top").shape == kept)
            #expect(
                try file.floats(shape.name + "_top")
                    == layers.flatMap { $0.byNeuron($0.activations) })
            #expect(
                try file.integers(shape.name + "_token")
                    == layers.flatMap { layer in
                        layer.byNeuron(
                            layer.places.indices.map {
                                layer.activations[$0] > -.infinity ? Int64(layer.places[$0]) : -1
                            })
                    })
            #expect(
                try file.integers(shape.name + "_above")
                    == layers.flatMap { $0.above.map(Int64.init) })
        }
        let without = try StudyExport.write(
            study, to: folder("without"), model: "m", moments: false)
        #expect(without.count == files.count - 1)
    }

    /// Where shards have seen more than can be counted: an error, nothing written.
    @Test func moreTokensThanCanBeCounted() throws {
        for part in 1...2 {
            let path = folder("\(part)")
            let plan = try CountingPlan(
                study: Study(path: path, access: .writing), model: PixelModel(), bench: bench,
                goal: .samples(4), shard: Shard(part, of: 2))
            _ = try ResumableRun(plan.step(.med)).run()
            let database = try DatabaseQueue(path: path)
            try database.write {
                try $0.execute(sql: "UPDATE moment SET tokens = \(Int64(UInt32.max) - 1)")
            }
            try database.close()
        }
        let error = #expect(throws: InputError.self) {
            try StudyMerge([folder("1"), folder("2")], output: folder("merged")).run()
        }
        #expect(error?.problem.contains("histogram") == true)
        #expect(!exists(folder("merged")))
    }
}
