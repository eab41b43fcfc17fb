import MMQBase
import MMQImage
import MMQModels

/// Two models over the same samples at the same time: which (neuron, token) pairs fire alike, and
/// how far the lenses of their layers are apart.
///
/// Needs both models at once; the studies of two runs do not keep single tokens.
public struct ModelComparison: Sendable, Codable {
    /// Pairs of a neuron and a token.
    public struct Pairs: Sendable, Equatable, Codable {
        /// How many there are.
        public internal(set) var pairs: UInt64 = 0
        /// Those that fire in both models or in neither.
        public internal(set) var alike: UInt64 = 0
        /// alike / pairs; nil where there are none.
        public var share: Double? { pairs > 0 ? Double(alike) / Double(pairs) : nil }

        /// None.
        public init() {}

        /// Adds others.
        public mutating func add(_ other: Pairs) {
            pairs += other.pairs
            alike += other.alike
        }

        mutating func add(_ pairs: Int, differing: UInt64) {
            self.pairs += UInt64(pairs)
            alike += UInt64(pairs) - differing
        }
    }

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
        /// The pairs at image positions; nil but in the decoder.
        public internal(set) var image: Pairs?
        /// The pairs at all other positions; nil but in the decoder.
        public internal(set) var text: Pairs?
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
        /// None.
        public init() {}

        /// Adds others.
        public mutating func add(_ other: Lens) {
            positions += other.positions
            agreeing += other.agreeing
            divergence += other.divergence
        }

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
            func words(_ model: any VisionLanguageModel) -> String {
                model.modules.map { "\($0.name) \($0.layers) x \($0.neurons)" }
                    .joined(separator: ", ")
            }
            throw InputError(
                .mismatch, file: second.files.language.path,
                expected: "a model with the modules of \(first.files.language.path), "
                    + words(first),
                found: words(second))
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
        _ = try add(
            ObservedPass(first, image: image, prompt: prompt), second, image: image,
            prompt: prompt, options: options)
    }

    /// Runs the second model over what the first was run over.
    ///
    /// - Returns: what the second counted.
    /// - Throws: `InputError`, `.mismatch` if the models see other tokens.
    mutating func add(
        _ first: ObservedPass, _ second: any VisionLanguageModel, image: RGBImage, prompt: String,
        options: LensOptions
    ) throws -> [ModuleCounts] {
        let other = try second.prepare(image: image, prompt: prompt)
        guard first.input.hasTokens(of: other) else {
            throw InputError(
                .mismatch, file: second.files.language.path,
                "turns this picture and prompt into other tokens than "
                    + first.model.files.language.path)
        }
        let theirs = ObservedPass.observation(of: second)
        let isImage = first.model.imagePositions(first.input)
        var layers = lens
        if layers.isEmpty {
            layers = Array(repeating: LensLayer(), count: first.states.layers)
        }
        try second.compareLens(
            with: first.states, of: first.model, other,
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
        var counted = firing
        if let a = first.observation.firing, let b = theirs.firing {
            var next = 0
            for (number, module) in first.model.modules.enumerated() {
                for layer in 0..<module.layers {
                    let positions = module == first.model.decoderModule ? isImage : nil
                    try counted[next].add(a, b, module: number, layer: layer, isImage: positions)
                    next += 1
                }
            }
        }
        // All or nothing: an error above leaves the sums as they were.
        firing = counted
        lens = layers
        samples += 1
        return theirs.counts()
    }
}

extension ModelComparison.Firing {
    /// Adds what two patterns say of a layer; `isImage` of every position, in the decoder.
    fileprivate mutating func add(
        _ a: FiringPattern, _ b: FiringPattern, module: Int, layer: Int, isImage: [Bool]?
    ) throws {
        let neurons = a.modules[module].neurons
        var all = ModelComparison.Pairs()
        (all.pairs, all.alike) = (pairs, alike)
        let differing = try a.differences(b, module: module, layer: layer)
        all.add(a.tokens(module: module, layer: layer) * neurons, differing: differing)
        (pairs, alike) = (all.pairs, all.alike)
        guard let isImage else { return }
        let atImage = try a.differences(b, module: module, layer: layer, tokens: isImage)
        let tokens = isImage.count { $0 }
        var (image, text) = (image ?? .init(), text ?? .init())
        image.add(tokens * neurons, differing: atImage)
        text.add((isImage.count - tokens) * neurons, differing: differing - atImage)
        (self.image, self.text) = (image, text)
    }
}

/// A pass of a model over a picture and a prompt with all that comparisons need of it.
struct ObservedPass {
    let model: any VisionLanguageModel
    let input: PreparedInput
    let observation: Observation
    let states: HiddenStates

    init(_ model: any VisionLanguageModel, image: RGBImage, prompt: String) throws {
        self.model = model
        input = try model.prepare(image: image, prompt: prompt)
        observation = Self.observation(of: model)
        states = try model.hiddenStates(
            input, features: input.imageFeatures(observation: observation),
            observation: observation)
    }

    /// Counting, too: only then do the layers run whose output is not used.
    static func observation(of model: any VisionLanguageModel) -> Observation {
        Observation(modules: model.modules, counting: true, recording: true)
    }
}
