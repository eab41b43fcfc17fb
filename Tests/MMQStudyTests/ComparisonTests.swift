import Foundation
import MMQBase
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQStudy

@Suite struct ComparisonTests {
    /// Counts, neurons and the lens of one model over two samples of two domains.
    private func study(
        _ path: String, _ model: any VisionLanguageModel, samples: Int = 2
    ) throws -> Study {
        do {
            let study = try Study(path: path, access: .writing)
            for domain in [Domain.rs, .com] {
                let counting = try CountingPlan(
                    study: study, model: model, bench: LensFixture.bench, goal: .samples(samples))
                _ = try ResumableRun(counting.step(domain)).run()
                let lens = try LensPlan(
                    study: study, model: model, bench: LensFixture.bench, samples: samples)
                _ = try ResumableRun(lens.step(domain)).run()
            }
            let settings = Identification.Settings(topRate: 0.2, filterRate: 0.5)
            for module in model.modules {
                try study.save(study.identify(module: module.name, settings: settings))
            }
        }
        return try Study(path: path, access: .reading)
    }

    @Test func aStudyEqualsItself() throws {
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let one = try study(folder.path + "/a.sqlite", model)
        let found = try StudyComparison(one, one)
        #expect(found.notes.isEmpty)
        #expect(found.activation.count == 2 * model.modules.reduce(0) { $0 + $1.layers })
        #expect(found.activation.allSatisfy { $0.meanChange == 0 && $0.greatestChange == 0 })
        #expect(found.neurons.count == 2 * model.modules.count)
        #expect(found.neurons.contains { $0.first > 0 })
        #expect(found.neurons.allSatisfy { $0.first == $0.common && ($0.jaccard ?? 1) == 1 })
        #expect(!found.lens.isEmpty)
        for entry in found.lens {
            #expect(entry.samples == 2)
            #expect(entry.imageAgreement == 1 && entry.textAgreement == 1)
            #expect(entry.entropyChange == 0 && entry.divergenceChange == 0)
        }
    }

    @Test func changesAreThoseOfTheNumbers() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let first = try LensFixture.model(in: folder)
        let second = try LensFixture.model("llava-next/hub-f16", .q4_0, in: folder)
        let a = try study(folder.path + "/a.sqlite", first)
        let b = try study(folder.path + "/b.sqlite", second)
        let found = try StudyComparison(a, b)
        var changed = 0
        for entry in found.activation {
            func counts(_ study: Study) throws -> ModuleCounts {
                try #require(
                    try study.counts(domain: entry.domain, split: "train")
                        .first { $0.shape.name == entry.module })
            }
            let (x, y) = (try counts(a), try counts(b))
            let neurons = x.shape.neurons
            let changes = (0..<neurons).map { neuron -> Double in
                let i = entry.layer * neurons + neuron
                let before = Double(x.counts[i]) / Double(x.tokens)
                return abs(before - Double(y.counts[i]) / Double(y.tokens))
            }
            #expect(abs(entry.meanChange - changes.reduce(0, +) / Double(neurons)) < 1e-12)
            #expect(abs(entry.greatestChange - (changes.max() ?? 0)) < 1e-12)
            if entry.greatestChange > 0 { changed += 1 }
        }
        #expect(changed > 0)
        for entry in found.neurons {
            func flat(_ study: Study) throws -> Set<[Int]> {
                let lists = try #require(
                    try study.identification(module: entry.module)?.neurons(of: entry.domain))
                return Set(
                    lists.enumerated().flatMap { layer, list in list.map { [layer, $0] } })
            }
            let (x, y) = (try flat(a), try flat(b))
            #expect(entry.first == x.count && entry.second == y.count)
            let either = x.union(y).count
            #expect(
                entry.jaccard
                    == (either > 0 ? Double(x.intersection(y).count) / Double(either) : nil))
        }
        #expect(found.lens.contains { ($0.imageAgreement ?? 1) < 1 })
        for domain in [Domain.rs, .com] {
            let pass = try #require(
                try a.lensPass(.lens, domain: domain, split: "train", setting: "none"))
            let other = try #require(
                try b.lensPass(.lens, domain: domain, split: "train", setting: "none"))
            let (x, y) = (try a.lensSummary(pass), try b.lensSummary(other))
            for entry in found.lens where entry.domain == domain {
                let layers = (x.layers[entry.layer], y.layers[entry.layer])
                func total(_ layer: LensSummary.Layer) throws -> Double {
                    try #require(layer.image).entropy * Double(x.imagePositions)
                        + #require(layer.text).entropy * Double(x.textPositions)
                }
                let change =
                    (try total(layers.1) - total(layers.0))
                    / Double(x.imagePositions + x.textPositions)
                #expect(abs(entry.entropyChange - change) < 1e-9)
            }
        }
    }

    @Test func differentSamplesAreNotCompared() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let a = try study(folder.path + "/a.sqlite", model)
        let b = try study(folder.path + "/b.sqlite", model, samples: 1)
        let found = try StudyComparison(a, b)
        #expect(found.activation.isEmpty)
        #expect(found.notes.contains { $0.contains("different samples") })
        // The lens keeps its samples apart: the one that both hold is compared.
        #expect(found.lens.allSatisfy { $0.samples == 1 && $0.imageAgreement == 1 })
        let other = try study(
            folder.path + "/c.sqlite", LensFixture.model("instructblip/new-f16", in: folder))
        let error = #expect(throws: InputError.self) { try StudyComparison(a, other) }
        #expect(error?.code == .mismatch)
    }

    @Test(arguments: ["llava-next/hub-f16", "instructblip/new-f16"])
    func modelsAreComparedTokenByToken(_ name: String) throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let first = try LensFixture.model(name, in: folder)
        let second = try LensFixture.model(name, .q4_0, in: folder)
        let walk = try BenchSplit(
            bench: LensFixture.bench, domain: .rs, split: "train", form: .simple)
        var same = try ModelComparison(first, first)
        var found = try ModelComparison(first, second)
        var counts: [[ModuleCounts]] = []
        while found.samples < 2, let item = try walk.next() {
            guard case .sample(let sample) = item else { continue }
            let picture = try sample.picture()
            try same.add(first, first, image: picture, prompt: sample.prompt)
            try found.add(first, second, image: picture, prompt: sample.prompt)
            for model in [first, second] {
                // Picture and text come apart.
                let parts = try model.count(image: picture, prompt: sample.prompt)
                counts.append(
                    model.modules.map { module in
                        parts.filter { $0.shape == module }
                            .reduce(into: ModuleCounts(shape: module)) { $0.add($1) }
                    })
            }
        }
        #expect(same.firing.allSatisfy { $0.alike == $0.pairs && $0.pairs > 0 })
        #expect(same.lens.allSatisfy { $0.image.agreement == 1 && $0.text.divergence == 0 })
        #expect(found.firing.contains { $0.alike < $0.pairs })
        #expect(found.firing.allSatisfy { ($0.share ?? 0) > 0.5 })
        #expect(found.lens.allSatisfy { ($0.image.meanDivergence ?? 0) > 0 })
        var next = 0
        for (number, module) in first.modules.enumerated() {
            for layer in 0..<module.layers {
                let entry = found.firing[next]
                next += 1
                let samples = [
                    (counts[0][number], counts[1][number]), (counts[2][number], counts[3][number]),
                ]
                #expect(
                    entry.pairs
                        == samples.reduce(0) { $0 + UInt64($1.0.tokens) * UInt64(module.neurons) })
                // Image and text positions are all there are, in the decoder alone.
                if let image = entry.image, let text = entry.text {
                    #expect(module == first.decoderModule && image.pairs > 0 && text.pairs > 0)
                    #expect(image.pairs + text.pairs == entry.pairs)
                    #expect(image.alike + text.alike == entry.alike)
                } else {
                    #expect(module != first.decoderModule && entry.image == nil)
                }
                // Counts that differ by n take n pairs at least that differ, by an even number more.
                let apart = samples.reduce(0) { sum, pair in
                    (layer * module.neurons..<(layer + 1) * module.neurons).reduce(sum) {
                        $0 + abs(Int(pair.0.counts[$1] - pair.1.counts[$1]))
                    }
                }
                let differing = Int(entry.pairs - entry.alike)
                #expect(differing >= apart && (differing - apart) % 2 == 0)
            }
        }
        #expect(throws: InputError.self) {
            try ModelComparison(first, LensFixture.model("llava-next/plain-f32", in: folder))
        }
    }

    @Test func answersAndScoresAreComparedSampleBySample() throws {
        let folder = try TemporaryFolder()
        func study(
            _ name: String, _ answers: [(Int, String?)], domain: Domain = .doc
        ) throws -> Study {
            let path = folder.path + "/" + name
            let study = try Study(path: path, access: .writing)
            try study.bind(
                modules: [ModuleShape(name: "lang", layers: 1, neurons: 1)], fingerprint: name)
            let set = AnswerSet(
                domain: domain, split: "val", setting: "none", model: name, bench: "b",
                options: "{}", mask: [:])
            try study.replace(
                set,
                answers: answers.enumerated().map { position, answer in
                    let (index, text) = answer
                    return StoredAnswer(
                        position: position, index: index,
                        groundTruth: domain == .doc
                            ? .array([.string("word \(index)")]) : .string("no"),
                        text: text,
                        problem: text == nil ? "no picture" : nil)
                })
            return study
        }
        let a = try study(
            "a", [(1, "word 1"), (2, "word 2"), (3, "other"), (4, "word 4"), (5, "word 5")])
        let b = try study(
            "b", [(1, "word 1"), (2, "zzzzzz"), (3, "other"), (5, nil), (6, "word 6")])
        let found = try StudyComparison(a, b)
        let answers = try #require(found.answers.first)
        #expect(answers.samples == 3 && answers.equal == 2)
        #expect(answers.agreement == 2.0 / 3)
        #expect(abs(answers.interval.low - 0.2076597) < 1e-6)
        #expect(abs(answers.interval.high - 0.9385081) < 1e-6)
        let official = try #require(found.scores.first { $0.form == .official })
        #expect(official.first > official.second)
        #expect(official.change.pairs == 3)
        #expect(abs(official.change.difference - (official.second - official.first)) < 1e-12)
        #expect(abs(official.change.difference + 1.0 / 3) < 1e-12)
        #expect(official.change.interval.low <= official.change.difference)
        // The same index twice: first with first, second with second.
        let twice = try study("twice", [(7, "word 7"), (7, "zzzzzz"), (8, "word 8")])
        let itself = try StudyComparison(twice, twice)
        #expect(itself.answers.map(\.equal) == [3] && itself.answers.map(\.samples) == [3])
        #expect(itself.scores.allSatisfy { $0.first == $0.second && $0.first < 1 })
        // Equal to Swift, but not to the letter.
        let composed = try study("composed", [(1, "\u{e9}")])
        let decomposed = try study("decomposed", [(1, "e\u{301}")])
        #expect(try StudyComparison(composed, decomposed).answers.map(\.equal) == [0])
        // VQAv2 is scored with annotators' records, which this is not.
        let unscored = try study("c", [(1, "yes")], domain: .com)
        let same = try StudyComparison(unscored, unscored)
        #expect(same.answers.map(\.equal) == [1])
        #expect(same.scores.isEmpty)
        #expect(same.notes.contains { $0.contains("not scored") })
    }
}
