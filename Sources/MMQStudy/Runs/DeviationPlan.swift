import MMQBase
import MMQModels

/// How far each domain's mask moves the decoder's hidden states, over a bench: passes with no mask
/// and with each domain's.
public struct DeviationPlan {
    private let plan: MeasuringStep.Plan
    private let model: any VisionLanguageModel

    /// The deviations of a model over the bench in a folder, up to `samples` samples a domain.
    ///
    /// - Parameters:
    ///   - again: drop what an earlier run measured.
    ///   - allowsOutside: whether pictures may lie outside the bench's folder.
    ///   - shard: which samples are measured; nil for all.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's.
    public init(
        study: Study, model: any VisionLanguageModel, bench: String, split: String = "train",
        samples: Int, again: Bool = false,
        allowsOutside: Bool = false, shard: Shard? = nil
    ) throws {
        plan = MeasuringStep.Plan(
            study: study, bench: bench, split: split, samples: samples, again: again,
            allowsOutside: allowsOutside, shard: shard, model: model)
        self.model = model
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
    }

    /// The deviations over a domain's samples, from where the study stands.
    ///
    /// - Parameter masked: which modules' neurons the masks change, and how; those of every domain
    ///   unless it names one.
    /// - Throws: `InputError`, `.mismatch` where no neurons were identified.
    public func step(_ domain: Domain, _ masked: MaskSetting) throws -> some RunStep<LensPass> {
        let study = plan.study
        guard let first = masked.modules.first else {
            throw InputError(
                .mismatch, file: study.path, item: masked.name, "a deviation needs a mask")
        }
        guard let domains = try study.identification(module: first, set: masked.set)?.domains else {
            throw InputError(
                .mismatch, file: study.path, item: first,
                "no neurons were identified in this module")
        }
        let wanted = masked.domain.map { [$0] } ?? domains
        let masks = try wanted.map { domain in
            let neurons = try masked.neurons(
                of: domain, in: study, seed: MeasuringStep.controlSeed)
            return (domain, try NeuronMask(layers: neurons, modules: model.modules))
        }
        let options = masks.map { "\($0.rawValue) \($1.fingerprint)" }
        // Towers run again only where a mask touches them.
        let inTowers = masked.modules.contains { $0 != model.decoderModule.name }
        return try MeasuringStep(
            plan, .deviation, domain: domain, setting: masked.name,
            options: "masks " + options.joined(separator: ", ")
        ) { [model] sample in
            let input = try model.prepare(image: sample.picture(), prompt: sample.prompt)
            let features = try input.imageFeatures(observation: nil)
            let states = try model.hiddenStates(input, features: features)
            let isImage = model.imagePositions(input)
            let measured = try masks.map { mask in
                let observation = Observation(
                    modules: model.modules, counting: false, mask: mask.1)
                let layers = try model.deviations(
                    from: states, input,
                    features: inTowers
                        ? input.imageFeatures(observation: observation) : features,
                    observation: observation)
                return DeviationSample(
                    layers, isImage: isImage, place: sample.position, mask: mask.0)
            }
            return .deviations(measured)
        }
    }
}

extension DeviationSample {
    init(_ layers: [[RowDeviation]], isImage: [Bool], place: Int, mask: Domain) {
        var sums = [Double](repeating: 0, count: layers.count * 4)
        for (layer, rows) in layers.enumerated() {
            for (row, image) in zip(rows, isImage) {
                let at = layer * 4 + (image ? 0 : 2)
                sums[at] += row.cosine
                sums[at + 1] += row.relativeDistance
            }
        }
        let image = isImage.count { $0 }
        self.init(
            place: place, mask: mask, imageTokens: image, textTokens: isImage.count - image,
            sums: sums)
    }
}

extension NeuronMask {
    /// A mask in a short text that changes with it.
    var fingerprint: String {
        var hash = StableHash()
        for (name, layers) in layers.sorted(by: { $0.key < $1.key }) {
            hash.add(name.utf8)
            for layer in layers {
                for neuron in [layer.count] + layer.neurons {
                    hash.add(littleEndian: UInt64(neuron))
                }
                for value in layer.scales + layer.shifts {
                    hash.add(littleEndian: UInt64(value.bitPattern))
                }
            }
        }
        return String(hash.value, radix: 16)
    }
}
