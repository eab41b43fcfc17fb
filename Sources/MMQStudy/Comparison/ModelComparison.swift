import MMQBase
import MMQImage
import MMQModels

/// Two models over the same samples at the same time: which (neuron, token) pairs fire alike, and
/// how far the lenses of their layers are apart.
///
/// Needs both models at once; the studies of two runs do not keep single tokens.
public struct ModelComparison: Sendable, Codable {
    /// One layer of a module.
    public struct Firing: Sendable, Equatable, Codable {
        /// The module.
        public let module: String
        /// The layer.
        public let layer: Int
        /// Pairs of a neuron and a token.
        public internal(set) var pairs: UInt64 = 0
        /// Pairs that fire in both models or in neither.
        public internal(set) var alike: UInt64 = 0
        /// alike / pairs; nil where the layer saw no token.
        public var share: Double? { pairs > 0 ? Double(alike) / Double(pairs) : nil }
    }

    /// The lens at one layer, over the positions of one kind.
    public struct Lens: Sendable, Equatable, Codable {
        /// Positions.
        public internal(set) var positions = 0
        /// Positions with the same most probable token.
        public internal(set) var agreeing = 0
        /// Sum of KL(first model ‖ second model), natural logarithm.
        public internal(set) var divergence = 0.0
        /// agreeing / positions; nil where there are no positions.
        public var agreement: Double? {
            positions > 0 ? Double(agreeing) / Double(positions) : nil
        }
        /// Mean KL; nil where there are no positions.
        public var meanDivergence: Double? {
            positions > 0 ? divergence / Double(positions) : nil
        }
    }

    /// One layer of the decoder.
    public struct LensLayer: Sendable, Equatable, Codable {
        /// Over image positions.
        public internal(set) var image = Lens()
        /// Over all others.
        public internal(set) var text = Lens()
    }

    /// Samples compared.
    public private(set) var samples = 0
    /// Every module and layer.
    public private(set) var firing: [Firing]
    /// Every layer of the decoder; the last one's are the models' own distributions.
    public private(set) var lens: [LensLayer] = []

    /// Nothing compared yet.
    ///
    /// - Throws: `InputError`, `.mismatch` if the models are not of one shape.
    public init(_ first: any VisionLanguageModel, _ second: any VisionLanguageModel) throws {
        guard first.modules == second.modules else {
            throw InputError(
                .mismatch, file: "compare", "the two models have different modules")
        }
        firing = first.modules.flatMap { module in
            (0..<module.layers).map { Firing(module: module.name, layer: $0) }
        }
    }

    /// Runs both models over a picture and a prompt.
    ///
    /// - Throws: `InputError`, `.mismatch` if the models see other tokens.
    public mutating func add(
        _ first: any VisionLanguageModel, _ second: any VisionLanguageModel, image: RGBImage,
        prompt: String, options: LensOptions = LensOptions()
    ) throws {
        let input = try first.prepare(image: image, prompt: prompt)
        let other = try second.prepare(image: image, prompt: prompt)
        guard input.hasTokens(of: other) else {
            throw InputError(
                .mismatch, file: "compare",
                "the two models turn this picture and prompt into different tokens")
        }
        // Counting, too: only then do the layers run whose output is not used.
        let mine = Observation(modules: first.modules, counting: true, recording: true)
        let theirs = Observation(modules: second.modules, counting: true, recording: true)
        let states = try first.hiddenStates(
            input, features: input.imageFeatures(observation: mine), observation: mine)
        let isImage = first.imagePositions(input)
        var layers = lens
        if layers.isEmpty { layers = Array(repeating: LensLayer(), count: states.layers) }
        try second.compareLens(
            with: states, of: first, other,
            features: other.imageFeatures(observation: theirs), observation: theirs,
            options: options
        ) { layer, difference in
            for (position, image) in isImage.enumerated() {
                var sum = image ? layers[layer].image : layers[layer].text
                sum.positions += 1
                if difference.agrees[position] { sum.agreeing += 1 }
                sum.divergence += Double(difference.divergences[position])
                if image { layers[layer].image = sum } else { layers[layer].text = sum }
            }
        }
        guard let a = mine.firing, let b = theirs.firing else { return }
        var counted = firing
        var next = 0
        for (number, module) in first.modules.enumerated() {
            for layer in 0..<module.layers {
                let pairs = UInt64(a.tokens(module: number, layer: layer) * module.neurons)
                counted[next].pairs += pairs
                counted[next].alike +=
                    pairs - (try a.differences(b, module: number, layer: layer))
                next += 1
            }
        }
        // All or nothing: an error above leaves the sums as they were.
        firing = counted
        lens = layers
        samples += 1
    }
}
