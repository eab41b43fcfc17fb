import MMQBase
import MMQModels

/// How far each domain's mask moves the decoder's hidden states, over a bench: one transaction per
/// sample, resumable.
public struct DeviationRun {
    private let walk: LensWalk
    private let model: any VisionLanguageModel

    /// A run of a model over the bench in a folder, up to `samples` samples a domain.
    ///
    /// - Parameter again: drop what an earlier run measured.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's.
    public init(
        study: Study, model: any VisionLanguageModel, bench: String, split: String = "train",
        samples: Int, again: Bool = false
    ) throws {
        walk = LensWalk(study: study, bench: bench, split: split, samples: samples, again: again)
        self.model = model
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
    }

    /// Runs a domain's samples with no mask and with each domain's, going on from where the study
    /// stands.
    ///
    /// - Parameters:
    ///   - setting: a `MaskSetting`'s name: which modules' neurons the masks switch off.
    ///   - interrupted: asked before every sample.
    ///   - missing: called with the files of each picture that is not there.
    ///   - unusable: called with the place of each sample that the model cannot take, and why.
    ///   - progress: called after every sample.
    /// - Throws: `InputError`, `.mismatch` where no neurons were identified.
    public func run(
        _ domain: Domain, setting: String, interrupted: () -> Bool = { false },
        missing: ([String]) -> Void = { _ in }, unusable: (Int, String) -> Void = { _, _ in },
        progress: (LensRun.Progress) -> Void = { _ in }
    ) throws -> (outcome: ActivationRun.Outcome, pass: LensPass) {
        let study = walk.study
        let masked = try MaskSetting(name: setting, of: model.architecture)
        guard let first = masked.modules.first else {
            throw InputError(
                .mismatch, file: study.path, item: setting, "a deviation needs a mask")
        }
        guard let domains = try study.identification(module: first)?.domains else {
            throw InputError(
                .mismatch, file: study.path, item: first,
                "no neurons were identified in this module")
        }
        let masks = try domains.map { domain in
            let neurons = try masked.neurons(
                of: domain, in: study, seed: LensWalk.controlSeed)
            return (domain, try NeuronMask(layers: neurons, modules: model.modules))
        }
        let options = masks.map { "\($0.rawValue) \(LensWalk.fingerprint($1))" }
        // Towers run again only where a mask touches them.
        let inTowers = masked.modules.contains { $0 != model.decoderModule.name }
        return try walk.run(
            .deviation, domain: domain, setting: setting,
            options: "masks " + options.joined(separator: ", "), interrupted: interrupted,
            missing: missing, unusable: unusable, progress: progress
        ) { sample, pass in
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
            try study.commit(pass, deviations: measured)
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

/// How far one domain's mask moves the hidden states of a domain's samples.
public struct DeviationSummary: Sendable, Equatable, Codable {
    /// One layer; nil where there are no such positions.
    public struct Layer: Sendable, Equatable, Codable {
        /// Mean cosine between a row with and without the mask, image positions.
        public let imageCosine: Double?
        /// Mean |difference| / |row without the mask|, image positions.
        public let imageDistance: Double?
        /// The same over all other positions.
        public let textCosine: Double?
        /// See `imageDistance`.
        public let textDistance: Double?
    }

    /// The domain whose samples were run.
    public let domain: Domain
    /// The domain whose neurons were off.
    public let mask: Domain
    /// Samples.
    public let samples: Int
    /// The layers.
    public let layers: [Layer]
}

extension Study {
    /// Means of a pass of the deviation over all its samples, one entry per mask.
    public func deviationSummaries(_ pass: LensPass) throws -> [DeviationSummary] {
        let samples = try deviationSamples(pass)
        return try Domain.allCases.compactMap { mask in
            let some = samples.filter { $0.mask == mask }
            guard let first = some.first else { return nil }
            var sums = [Double](repeating: 0, count: first.sums.count)
            for sample in some {
                guard sample.sums.count == sums.count, sums.count % 4 == 0 else {
                    throw InputError(
                        .badInput, file: path, item: mask.rawValue,
                        "samples of the deviation with different numbers of layers")
                }
                for i in sums.indices { sums[i] += sample.sums[i] }
            }
            let image = some.reduce(0) { $0 + $1.imageTokens }
            let text = some.reduce(0) { $0 + $1.textTokens }
            func mean(_ sum: Double, _ count: Int) -> Double? {
                count > 0 ? sum / Double(count) : nil
            }
            return DeviationSummary(
                domain: pass.domain, mask: mask, samples: some.count,
                layers: stride(from: 0, to: sums.count, by: 4).map {
                    .init(
                        imageCosine: mean(sums[$0], image),
                        imageDistance: mean(sums[$0 + 1], image),
                        textCosine: mean(sums[$0 + 2], text),
                        textDistance: mean(sums[$0 + 3], text))
                })
        }
    }
}
