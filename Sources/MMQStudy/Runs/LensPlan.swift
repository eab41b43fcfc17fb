import MMQBase
import MMQModels

/// The logit lens over a bench: one forward pass per sample.
public struct LensPlan {
    private let plan: MeasuringStep.Plan
    private let model: any VisionLanguageModel
    private let options: LensOptions

    /// The lens of a model over the bench in a folder, up to `samples` samples a domain.
    ///
    /// - Parameters:
    ///   - again: drop what an earlier run measured.
    ///   - allowsOutside: whether pictures may lie outside the bench's folder.
    ///   - shard: which samples are measured; nil for all.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's.
    public init(
        study: Study, model: any VisionLanguageModel, bench: String, split: String = "train",
        samples: Int, options: LensOptions = LensOptions(), again: Bool = false,
        allowsOutside: Bool = false, shard: Shard? = nil
    ) throws {
        plan = MeasuringStep.Plan(
            study: study, bench: bench, split: split, samples: samples, again: again,
            allowsOutside: allowsOutside, shard: shard, model: model)
        self.model = model
        self.options = LensOptions(top: 1, hidesFiller: options.hidesFiller)
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
    }

    /// The lens over a domain, from where the study stands.
    ///
    /// - Parameter setting: which neurons are masked, and how; nil for none.
    public func step(
        _ domain: Domain, _ setting: MaskSetting? = nil
    ) throws -> some RunStep<LensPass> {
        let masked = try setting?.on(domain) ?? MaskSetting(name: "none", of: model.architecture)
        let mask =
            try masked.modules.isEmpty
            ? nil
            : NeuronMask(
                layers: masked.neurons(
                    of: domain, in: plan.study, seed: MeasuringStep.controlSeed),
                modules: model.modules, file: plan.study.path)
        var description = "\(model.lensVocabulary(options)) words"
        if let mask { description += ", mask \(mask.fingerprint)" }
        return try MeasuringStep(
            plan, .lens, domain: domain, setting: masked.name, options: description
        ) { [model, options] sample in
            let reading = try model.lens(
                image: sample.picture(), prompt: sample.prompt, mask: mask, options: options)
            return .lens(LensSample(reading, place: sample.position))
        }
    }
}

extension LensPass {
    /// The part of the options that entropies depend on, whatever the mask: "1024 words".
    var lensWords: String { options.components(separatedBy: ", mask ")[0] }
}

extension LensSample {
    /// What is stored of a reading.
    init(_ reading: LensReading, place: Int) {
        let positions = reading.positions
        var sums = Array(repeating: LensSums(), count: reading.layers * 2)
        var best: [Int32] = []
        best.reserveCapacity(reading.layers * positions)
        for layer in 0..<reading.layers {
            for position in 0..<positions {
                let id = reading.best(layer: layer, position: position)
                best.append(id)
                let row = layer * positions + position
                let last = reading.best(layer: reading.layers - 1, position: position)
                var one = LensSums()
                one.entropy = Double(reading.entropies[row])
                one.probability = Double(reading.topProbabilities[row * reading.top])
                one.agreeing = id == last ? 1 : 0
                one.divergence = Double(reading.divergences[row])
                sums[layer * 2 + (reading.isImage[position] ? 0 : 1)].add(one)
            }
        }
        self.init(place: place, isImage: reading.isImage, sums: sums, best: best)
    }
}
