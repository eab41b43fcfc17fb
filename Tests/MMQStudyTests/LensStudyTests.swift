import Foundation
import MMQBase
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQStudy

@Suite struct LensStudyTests {
    private func run(
        _ path: String, _ model: any VisionLanguageModel, samples: Int, setting: String = "none",
        options: LensOptions = LensOptions(), again: Bool = false, stopAfter: Int = .max
    ) throws -> (outcome: RunOutcome, pass: LensPass) {
        let plan = try LensPlan(
            study: Study(path: path, access: .writing), model: model, bench: LensFixture.bench,
            samples: samples, options: options, again: again)
        var done = 0
        let (outcome, pass) = try ResumableRun(
            plan.step(.rs, MaskSetting(name: setting, of: model.architecture)),
            interrupted: { done >= stopAfter },
            tell: { if case .progress = $0 { done += 1 } }
        ).run()
        return (outcome, pass)
    }

    @Test func meansAreThoseOfTheSamples() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let path = folder.path + "/s.sqlite"
        let (outcome, pass) = try run(path, model, samples: 3)
        #expect(outcome == .reached)
        #expect(pass.samples == 3)
        let study = try Study(path: path, access: .reading)
        let summary = try study.lensSummary(pass)

        var entropies: [[[Double]]] = []
        var agreeing: [[[Double]]] = []
        let walk = try BenchSplit(
            bench: LensFixture.bench, domain: .rs, split: "train", form: .simple)
        var seen = 0
        while seen < 3, let item = try walk.next() {
            guard case .sample(let sample) = item else { continue }
            seen += 1
            let reading = try model.lens(image: sample.picture(), prompt: sample.prompt)
            if entropies.isEmpty {
                entropies = Array(repeating: [[], []], count: reading.layers)
                agreeing = entropies
            }
            for layer in 0..<reading.layers {
                for position in 0..<reading.positions {
                    let kind = reading.isImage[position] ? 0 : 1
                    entropies[layer][kind].append(
                        Double(reading.entropies[layer * reading.positions + position]))
                    let same =
                        reading.best(layer: layer, position: position)
                        == reading.best(layer: reading.layers - 1, position: position)
                    agreeing[layer][kind].append(same ? 1 : 0)
                }
            }
            let stored = try #require(try study.lensSample(pass, place: sample.position))
            #expect(stored.isImage == reading.isImage)
            #expect(
                stored.best
                    == (0..<reading.layers * reading.positions).map {
                        reading.topIDs[$0 * reading.top]
                    })
        }
        #expect(summary.layers.count == entropies.count)
        #expect(summary.imagePositions == entropies[0][0].count)
        #expect(summary.textPositions == entropies[0][1].count)
        for (layer, means) in summary.layers.enumerated() {
            for (kind, found) in [means.image, means.text].enumerated() {
                let found = try #require(found)
                let values = entropies[layer][kind]
                let count = Double(values.count)
                #expect(abs(found.entropy - values.reduce(0, +) / count) < 1e-9)
                #expect(found.agreement == agreeing[layer][kind].reduce(0, +) / count)
                #expect(found.topProbability > 0 && found.topProbability < 1)
            }
        }
        let last = try #require(summary.layers.last?.image)
        #expect(last.agreement == 1)
        #expect(last.divergence == 0)
        #expect(try #require(summary.layers.first?.image).divergence > 0)
    }

    @Test func stoppingAnywhereChangesNothing() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let whole = folder.path + "/whole.sqlite"
        let pass = try run(whole, model, samples: 4).pass
        let path = folder.path + "/parts.sqlite"
        var rounds = 0
        while try run(path, model, samples: 4, stopAfter: 1).outcome == .interrupted {
            rounds += 1
            try #require(rounds < 20)
        }
        #expect(rounds == 3)
        let a = try Study(path: whole, access: .reading)
        let b = try Study(path: path, access: .reading)
        #expect(try a.lensPasses(.lens) == b.lensPasses(.lens))
        #expect(try a.lensSummary(pass) == b.lensSummary(pass))
        #expect(try a.lensPlaces(pass) == b.lensPlaces(pass))
        for place in try a.lensPlaces(pass) {
            #expect(try a.lensSample(pass, place: place) == b.lensSample(pass, place: place))
        }
        // Nothing left to do, and then further.
        #expect(try run(path, model, samples: 4).pass == pass)
        #expect(try run(path, model, samples: 5).pass.samples == 5)
    }

    @Test func otherSettingsAreRefused() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let path = folder.path + "/s.sqlite"
        let words = try run(path, model, samples: 1).pass
        let before = try Study(path: path, access: .reading).lensSummary(words)
        let rows = LensOptions(hidesFiller: false)
        let error = #expect(throws: InputError.self) {
            try run(path, model, samples: 2, options: rows)
        }
        #expect(error?.code == .mismatch)
        let again = try run(path, model, samples: 1, options: rows, again: true).pass
        #expect(try Study(path: path, access: .reading).lensSummary(again).layers != before.layers)
        #expect(throws: InputError.self) { try run(path, model, samples: 1, setting: "sound") }
        // No neurons yet.
        #expect(throws: InputError.self) { try run(path, model, samples: 1, setting: "lang") }
        do {
            let study = try Study(path: path, access: .writing)
            try LensFixture.identify(study, model)
        }
        let masked = try run(path, model, samples: 1, setting: "lang").pass
        let summary = try Study(path: path, access: .reading).lensSummary(masked)
        // The first layer has no neuron off; agreement with the last layer is another matter.
        #expect(summary.layers[0].image?.entropy == before.layers[0].image?.entropy)
        #expect(summary.layers[0].text?.topProbability == before.layers[0].text?.topProbability)
        #expect(summary.layers.last != before.layers.last)
    }

    @Test func deviationsAreStoredAndResumed() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        func run(_ path: String, _ setting: String, stopAfter: Int = .max) throws
            -> (outcome: RunOutcome, pass: LensPass)
        {
            var done = 0
            let plan = try DeviationPlan(
                study: Study(path: path, access: .writing), model: model,
                bench: LensFixture.bench, samples: 2)
            let (outcome, pass) = try ResumableRun(
                plan.step(.com, MaskSetting(name: setting, of: model.architecture)),
                interrupted: { done >= stopAfter },
                tell: { if case .progress = $0 { done += 1 } }
            ).run()
            return (outcome, pass)
        }
        let whole = folder.path + "/whole.sqlite"
        let parts = folder.path + "/parts.sqlite"
        for path in [whole, parts] {
            #expect(throws: InputError.self) { try run(path, "lang") }
            try LensFixture.identify(Study(path: path, access: .writing), model)
        }
        for setting in ["lang", "vision"] {
            let pass = try run(whole, setting).pass
            #expect(try run(parts, setting, stopAfter: 1).outcome == .interrupted)
            #expect(try run(parts, setting).pass == pass)
            let a = try Study(path: whole, access: .reading)
            let b = try Study(path: parts, access: .reading)
            let samples = try a.deviationSamples(pass)
            #expect(try b.deviationSamples(pass) == samples)
            #expect(samples.count == 4)
            let summaries = try a.deviationSummaries(pass)
            #expect(summaries.map(\.mask) == [.rs, .com])
            for summary in summaries {
                #expect(summary.samples == 2)
                let layers = summary.layers
                // The first decoder layer has no neuron off; the towers' are before it.
                let first = try #require(layers[0].imageDistance)
                #expect(setting == "lang" ? first == 0 : first > 0)
                #expect(try #require(layers[0].textDistance) >= 0)
                let last = try #require(layers.last)
                #expect(try #require(last.imageDistance) > 0)
                #expect(try #require(last.textDistance) > 0)
                #expect(try #require(last.textCosine) < 1)
            }
            #expect(summaries[0].layers != summaries[1].layers)
            let total = samples.reduce(0) { $0 + ($1.mask == .rs ? $1.sums[1] : 0) }
            let count = samples.reduce(0) { $0 + ($1.mask == .rs ? $1.imageTokens : 0) }
            #expect(summaries[0].layers[0].imageDistance == total / Double(count))
        }
        #expect(throws: InputError.self) { try run(whole, "none") }
        // Neurons found anew: what is stored is not theirs.
        do {
            let study = try Study(path: whole, access: .writing)
            let module = model.modules[0]
            try study.save(
                Identification(
                    module: module, domains: [.rs, .com], split: "train", settings: .init(),
                    filterThreshold: 0, activationThreshold: 0, selected: 1,
                    neurons: Array(
                        repeating: Array(repeating: [0], count: module.layers), count: 2)))
        }
        let error = #expect(throws: InputError.self) { try run(whole, "lang") }
        #expect(error?.code == .mismatch)
    }

    @Test func theDocumentIsJSON() throws {
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let walk = try BenchSplit(
            bench: LensFixture.bench, domain: .com, split: "train", form: .simple)
        guard case .sample(let sample) = try walk.next() else {
            Issue.record("no sample")
            return
        }
        let reading = try model.lens(
            image: sample.picture(), prompt: sample.prompt, options: LensOptions(top: 3))
        let bytes = LensDocument(reading, tokenizer: model.tokenizer, prompt: "a \"b\"").json
        struct Document: Decodable {
            let prompt: String
            let layers: Int
            let input_ids: [Int32]
            let is_image: [Bool]
            let top_ids: [[[Int32]]]
            let top_probabilities: [[[Float]]]
            let entropies: [[Float]]
            let divergences: [[Float]]
            let words: [String: String]
        }
        let document = try JSONDecoder().decode(Document.self, from: Data(bytes))
        #expect(document.prompt == "a \"b\"")
        #expect(document.layers == reading.layers)
        #expect(document.input_ids == reading.inputIDs)
        #expect(document.is_image == reading.isImage)
        #expect(document.top_ids.flatMap { $0.flatMap { $0 } } == reading.topIDs)
        #expect(
            document.top_probabilities.flatMap { $0.flatMap { $0 } } == reading.topProbabilities)
        #expect(document.entropies.flatMap { $0 } == reading.entropies)
        #expect(document.divergences.flatMap { $0 } == reading.divergences)
        #expect(reading.topIDs.allSatisfy { document.words[String($0)] != nil })
    }
}
