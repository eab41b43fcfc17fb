import Foundation
import MMQFormats
import MMQImage
import Support
import Testing

@testable import MMQModels

/// Tests/Golden/lens, made by tools/goldens/lens.py.
struct LensCase: Sendable, CustomTestStringConvertible {
    let variant: GoldenModel
    let name: String
    let words: Int
    let rows: Int
    let expected: String

    var testDescription: String { "\(variant.testDescription) \(name)" }

    static let all: [LensCase] = {
        let list = (try? Golden.json("lens/cases.json"))?["cases"]?.array ?? []
        return list.compactMap { entry in
            guard let architecture = entry["architecture"]?.text,
                let variant = entry["variant"]?.text, let name = entry["case"]?.text,
                let words = entry["words"]?.integer, let rows = entry["rows"]?.integer,
                let expected = entry["expected"]?.text
            else { return nil }
            return LensCase(
                variant: GoldenModel(architecture, variant), name: name,
                words: words, rows: rows, expected: "lens/" + expected)
        }
    }()

    func input() throws -> GoldenModel.Case {
        try #require(try variant.cases().first { $0.name == name })
    }
}

@Suite struct LensTests {
    @Test func casesAreThere() { #expect(LensCase.all.count == 4) }

    /// The bar: ids and entropies of transformers, ties aside.
    @Test(arguments: LensCase.all)
    func lensIsTransformers(_ item: LensCase) throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try item.variant.open(in: folder)
        let input = try item.input()
        let expected = try Golden.tensors(item.expected)
        for (rows, options) in [
            ("all", LensOptions(hidesFiller: false)), ("words", LensOptions()),
            ("attention", LensOptions(hidesFiller: false, part: .attention)),
            ("mlp", LensOptions(hidesFiller: false, part: .mlp)),
        ] {
            #expect(model.lensVocabulary(options) == (options.hidesFiller ? item.words : item.rows))
            let reading = try model.lens(
                image: input.image, prompt: input.prompt, options: options)
            let what = "\(item.testDescription) \(rows)"
            let ids = try expected.integers(rows + ".top_ids").map { Int32($0) }
            let gaps = try expected.doubles(rows + ".gaps")
            try #require(reading.topIDs.count == ids.count, "\(what)")
            var compared = 0
            for start in stride(from: 0, to: ids.count, by: 10) {
                for place in 0..<10 {
                    // An id counts where those beside it are clearly less and more probable.
                    let clear =
                        gaps[start + place] > 1e-3 && (place == 0 || gaps[start + place - 1] > 1e-3)
                    guard clear else { continue }
                    compared += 1
                    #expect(
                        reading.topIDs[start + place] == ids[start + place],
                        "\(what) row \(start / 10), place \(place)")
                }
            }
            #expect(compared > ids.count * 9 / 10, "\(what): only \(compared) of \(ids.count)")
            assertClose(
                reading.topProbabilities, try expected.doubles(rows + ".top_probabilities"),
                tolerance: 1e-4, "\(what) probabilities")
            assertClose(
                reading.entropies, try expected.doubles(rows + ".entropies"), tolerance: 2e-3,
                "\(what) entropies")
            assertClose(
                reading.divergences, try expected.doubles(rows + ".divergences"), tolerance: 2e-3,
                "\(what) divergences")
        }
    }

    @Test(arguments: LensCase.all)
    func theLastLayerIsTheModelsOwn(_ item: LensCase) throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try item.variant.open(in: folder)
        let input = try item.input()
        let reading = try model.lens(
            image: input.image, prompt: input.prompt,
            options: LensOptions(top: 3, hidesFiller: false))
        let prepared = try model.prepare(image: input.image, prompt: input.prompt)
        let state = try model.run(
            prepared, features: prepared.imageFeatures(observation: nil), observation: nil,
            keepsCache: nil, after: { _, _ in })
        let imagePositions = reading.isImage.count { $0 }
        #expect(imagePositions == prepared.imageTokens)
        let logits = try state.lastHidden.withUnsafeBufferPointer {
            try model.logits(of: $0, rows: state.lastRows)
        }
        for row in 0..<state.lastRows {
            let values = Array(
                logits[row * model.vocabularySize..<(row + 1) * model.vocabularySize])
            let order = values.indices.sorted { (-values[$0], $0) < (-values[$1], $1) }
            let position = reading.positions - state.lastRows + row
            let at = (reading.layers - 1) * reading.positions + position
            #expect(
                Array(reading.topIDs[at * 3..<at * 3 + 3]) == order.prefix(3).map { Int32($0) })
            let sum = values.reduce(0) { $0 + exp(Double($1)) }
            assertClose(
                Array(reading.topProbabilities[at * 3..<at * 3 + 3]),
                order.prefix(3).map { exp(Double(values[$0])) / sum }, tolerance: 1e-6)
            #expect(reading.divergences[at] == 0)
        }
    }

    /// A mask is seen, and rows do not depend on how many are looked at together.
    @Test func masksAreSeen() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let item = try #require(LensCase.all.first)
        let folder = try TemporaryFolder()
        let model = try item.variant.open(in: folder)
        let input = try item.input()
        let plain = try model.lens(image: input.image, prompt: input.prompt)
        let held = try model.lens(
            image: input.image, prompt: input.prompt, mask: item.variant.mask(for: model))
        #expect(plain.entropies != held.entropies)
        let nothing = try NeuronMask(layers: [String: [LayerMask]](), modules: model.modules)
        let same = try model.lens(image: input.image, prompt: input.prompt, mask: nothing)
        #expect(plain.entropies == same.entropies)
        #expect(plain.topIDs == same.topIDs)
    }

    @Test(arguments: LensCase.all)
    func deviationsAreTransformers(_ item: LensCase) throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try item.variant.open(in: folder)
        let input = try item.input()
        let expected = try Golden.tensors(item.expected)
        let prepared = try model.prepare(image: input.image, prompt: input.prompt)
        let states = try model.hiddenStates(
            prepared, features: prepared.imageFeatures(observation: nil))
        func deviations(_ mask: NeuronMask?) throws -> [[RowDeviation]] {
            let observation = Observation(modules: model.modules, counting: false, mask: mask)
            return try model.deviations(
                from: states, prepared,
                features: prepared.imageFeatures(observation: observation),
                observation: observation)
        }
        let held = try deviations(item.variant.mask(for: model)).flatMap { $0 }
        assertClose(
            held.map(\.cosine), try expected.doubles("masked.cosine"), tolerance: 1e-4,
            "\(item.testDescription) cosine")
        assertClose(
            held.map(\.relativeDistance), try expected.doubles("masked.distance"),
            tolerance: 2e-3, "\(item.testDescription) distance")
        for row in try deviations(nil).flatMap({ $0 }) {
            #expect(row.relativeDistance == 0 && abs(row.cosine - 1) < 1e-12)
        }
    }

    /// A bit for every neuron and token: their sums are the counts, whatever the module.
    @Test(arguments: LensCase.all)
    func firingIsWhatIsCounted(_ item: LensCase) throws {
        let folder = try TemporaryFolder()
        let model = try item.variant.open(in: folder)
        let input = try item.input()
        let mask = try item.variant.mask(for: model)
        func observe(_ model: any VisionLanguageModel, _ mask: NeuronMask?) throws -> Observation {
            let observation = Observation(
                modules: model.modules, counting: true, mask: mask, recording: true)
            let prepared = try model.prepare(image: input.image, prompt: input.prompt)
            _ = try model.run(
                prepared, features: prepared.imageFeatures(observation: observation),
                observation: observation, keepsCache: nil, after: { _, _ in })
            return observation
        }
        let free = try observe(model, nil)
        let held = try observe(model, mask)
        let firing = try #require(free.firing)
        let heldFiring = try #require(held.firing)
        for (pattern, observation) in [(firing, free), (heldFiring, held)] {
            for (number, counts) in observation.counts().enumerated() {
                let shape = counts.shape
                for layer in 0..<shape.layers {
                    #expect(pattern.tokens(module: number, layer: layer) == Int(counts.tokens))
                    let sums = (0..<shape.neurons).map { neuron in
                        Int64(
                            (0..<Int(counts.tokens)).count {
                                pattern.fired(
                                    module: number, layer: layer, token: $0, neuron: neuron)
                            })
                    }
                    #expect(
                        sums
                            == Array(
                                counts.counts[layer * shape.neurons..<(layer + 1) * shape.neurons]),
                        "\(item.testDescription) \(shape.name) \(layer)")
                }
            }
        }
        for (number, shape) in model.modules.enumerated() {
            for layer in 0..<shape.layers {
                #expect(try firing.differences(firing, module: number, layer: layer) == 0)
                var differing: UInt64 = 0
                for token in 0..<firing.tokens(module: number, layer: layer) {
                    for neuron in 0..<shape.neurons {
                        let a = firing.fired(
                            module: number, layer: layer, token: token, neuron: neuron)
                        let b = heldFiring.fired(
                            module: number, layer: layer, token: token, neuron: neuron)
                        if a != b { differing += 1 }
                    }
                }
                #expect(
                    try firing.differences(heldFiring, module: number, layer: layer) == differing)
                #expect(differing > 0, "\(shape.name) \(layer): the mask changed nothing")
            }
        }
    }

    /// KL between two models' lenses, against plain arithmetic on their logits.
    @Test func lensesOfTwoModelsAreCompared() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let item = try #require(LensCase.all.first)
        let folder = try TemporaryFolder()
        let first = try item.variant.open(in: folder)
        let second = try item.variant.open(.q4_0, in: folder)
        let input = try item.input()
        func states(_ model: any VisionLanguageModel) throws -> (
            PreparedInput, [Float], HiddenStates
        ) {
            let prepared = try model.prepare(image: input.image, prompt: input.prompt)
            let features = try prepared.imageFeatures(observation: nil)
            return (prepared, features, try model.hiddenStates(prepared, features: features))
        }
        let (own, ownFeatures, mine) = try states(first)
        let (prepared, features, theirs) = try states(second)
        func logs(_ model: any VisionLanguageModel, _ x: UnsafeBufferPointer<Float>) throws
            -> [[Double]]
        {
            let all = try model.logits(of: x, rows: mine.positions)
            return (0..<mine.positions).map { row in
                let start = row * model.vocabularySize
                let values = all[start..<start + item.words].map(Double.init)
                let sum = log(values.reduce(0) { $0 + exp($1) })
                return values.map { $0 - sum }
            }
        }
        var layers = 0
        try second.compareLens(
            with: mine, of: first, prepared, features: features, observation: nil
        ) { layer, difference in
            #expect(layer == layers)
            layers += 1
            let p = try logs(first, mine[layer])
            let q = try logs(second, theirs[layer])
            assertClose(
                difference.divergences,
                zip(p, q).map { zip($0, $1).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) } },
                tolerance: 1e-5, "layer \(layer)")
            #expect(
                difference.agrees
                    == zip(p, q).map {
                        $0.firstIndex(of: $0.max()!) == $1.firstIndex(of: $1.max()!)
                    })
            #expect(difference.divergences.contains { $0 > 1e-4 })
        }
        #expect(layers == mine.layers)
        try first.compareLens(
            with: mine, of: first, own, features: ownFeatures, observation: nil
        ) { _, difference in
            #expect(difference.agrees.allSatisfy { $0 })
            #expect(difference.divergences.allSatisfy { $0 == 0 })
        }
    }
}
