import MMQBase
import MMQModels

/// The logit lens over a bench: one pass per sample, one transaction per sample, resumable.
public struct LensRun {
    /// Where a pass stands, the part of it that is done, and the part when this run began.
    public typealias Progress = (pass: LensPass, fraction: Double, startFraction: Double)

    private let walk: LensWalk
    private let model: any VisionLanguageModel
    private let options: LensOptions

    /// A run of a model over the bench in a folder, up to `samples` samples a domain.
    ///
    /// - Parameter again: drop what an earlier run measured.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's.
    public init(
        study: Study, model: any VisionLanguageModel, bench: String, split: String = "train",
        samples: Int, options: LensOptions = LensOptions(), again: Bool = false
    ) throws {
        walk = LensWalk(study: study, bench: bench, split: split, samples: samples, again: again)
        self.model = model
        self.options = LensOptions(top: 1, hidesFiller: options.hidesFiller)
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
    }

    /// Looks at a domain's samples, going on from where the study stands.
    ///
    /// - Parameters:
    ///   - setting: a `MaskSetting`'s name: which modules' neurons of this domain are off.
    ///   - interrupted: asked before every sample.
    ///   - missing: called with the files of each picture that is not there.
    ///   - unusable: called with the place of each sample that the model cannot take, and why.
    ///   - progress: called after every sample.
    public func run(
        _ domain: Domain, setting: String = "none", interrupted: () -> Bool = { false },
        missing: ([String]) -> Void = { _ in }, unusable: (Int, String) -> Void = { _, _ in },
        progress: (Progress) -> Void = { _ in }
    ) throws -> (outcome: ActivationRun.Outcome, pass: LensPass) {
        let masked = try MaskSetting(name: setting, of: model.architecture)
        let mask =
            try masked.modules.isEmpty
            ? nil
            : NeuronMask(
                layers: masked.neurons(of: domain, in: walk.study, seed: LensWalk.controlSeed),
                modules: model.modules, file: walk.study.path)
        var description = "\(model.lensVocabulary(options)) words"
        if let mask { description += ", mask \(LensWalk.fingerprint(mask))" }
        return try walk.run(
            .lens, domain: domain, setting: setting, options: description,
            interrupted: interrupted, missing: missing, unusable: unusable, progress: progress
        ) { sample, pass in
            let reading = try model.lens(
                image: sample.picture(), prompt: sample.prompt, mask: mask, options: options)
            try walk.study.commit(pass, lens: LensSample(reading, place: sample.position))
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

/// Means over some positions of one layer; nil where there are no such positions.
public struct LensMeans: Sendable, Equatable, Codable {
    /// Entropy, natural logarithm.
    public let entropy: Double
    /// Probability of the most probable token.
    public let topProbability: Double
    /// The share of positions whose most probable token is the last layer's.
    public let agreement: Double
    /// KL(last layer ‖ layer), natural logarithm.
    public let divergence: Double

    init?(_ sums: LensSums, positions: Int) {
        guard positions > 0 else { return nil }
        let count = Double(positions)
        entropy = sums.entropy / count
        topProbability = sums.probability / count
        agreement = sums.agreeing / count
        divergence = sums.divergence / count
    }
}

/// What the lens sees in a domain, layer by layer.
public struct LensSummary: Sendable, Equatable, Codable {
    /// One layer.
    public struct Layer: Sendable, Equatable, Codable {
        /// Over image positions.
        public let image: LensMeans?
        /// Over all others.
        public let text: LensMeans?
    }

    /// The pass.
    public let pass: LensPass
    /// Image positions of all samples.
    public let imagePositions: Int
    /// All other positions.
    public let textPositions: Int
    /// The layers.
    public let layers: [Layer]
}

extension Study {
    /// Means of a pass of the lens over all its samples.
    public func lensSummary(_ pass: LensPass) throws -> LensSummary {
        var sums: [LensSums] = []
        var positions = [0, 0]
        for place in try lensPlaces(pass) {
            guard let sample = try lensSample(pass, place: place) else { continue }
            if sums.isEmpty { sums = Array(repeating: LensSums(), count: sample.sums.count) }
            guard sums.count == sample.sums.count else {
                throw InputError(
                    .badInput, file: path, item: pass.domain.rawValue,
                    "samples of the lens with different numbers of layers")
            }
            for i in sums.indices { sums[i].add(sample.sums[i]) }
            let image = sample.isImage.count { $0 }
            positions[0] += image
            positions[1] += sample.isImage.count - image
        }
        return LensSummary(
            pass: pass, imagePositions: positions[0], textPositions: positions[1],
            layers: stride(from: 0, to: sums.count, by: 2).map {
                .init(
                    image: LensMeans(sums[$0], positions: positions[0]),
                    text: LensMeans(sums[$0 + 1], positions: positions[1]))
            })
    }
}
