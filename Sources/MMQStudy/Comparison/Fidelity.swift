import MMQBase
import MMQModels

/// What number formats do to a model: any number of models next to a reference, over the same
/// samples, with what another draw of samples would do to the reference beside it.
public struct Fidelity: Sendable, Codable {
    /// How far activation probabilities moved in one layer of a module, over the samples of a
    /// domain: |p(model) - p(reference)| of its neurons.
    public struct Shift: Sendable, Codable, Equatable {
        /// The module.
        public let module: String
        /// The layer.
        public let layer: Int
        /// The mean over the layer's neurons.
        public let mean: Double
        /// The greatest.
        public let greatest: Double
    }

    /// How many samples of a domain there were.
    public struct Samples: Sendable, Codable, Equatable {
        /// The domain.
        public let domain: Domain
        /// Those that all models were run over.
        public var compared = 0
        /// Those that all models answered.
        public var answered = 0
    }

    /// One model over one domain.
    public struct Entry: Sendable, Codable {
        /// The domain.
        public let domain: Domain
        /// Gate signs and lens, next to the reference.
        public let comparison: ModelComparison
        /// Activation probabilities.
        public let shifts: [Shift]
    }

    /// The domain-specific neurons of a module that a model and the reference agree about.
    public struct Neurons: Sendable, Codable, Equatable {
        /// The module.
        public let module: String
        /// The domain.
        public let domain: Domain
        /// Common neurons as a part of those in either set; nil where both are empty.
        public let jaccard: Double?
        /// The same of two halves of the reference's own samples: what another draw of pictures
        /// changes. nil where both are empty, or a domain has a single sample.
        public let halves: Double?
    }

    /// How fast a model answered, one question at a time: its decoder, without the vision part.
    public struct Speed: Sendable, Codable, Equatable {
        /// Positions of prompts, image positions among them.
        public internal(set) var promptTokens = 0
        /// The time that they took, with each answer's first token.
        public internal(set) var promptSeconds = 0.0
        /// Tokens of answers behind the first.
        public internal(set) var answerTokens = 0
        /// The time that they took.
        public internal(set) var answerSeconds = 0.0

        /// Prompt positions a second; nil where there were none.
        public var prompt: Double? { Self.rate(promptTokens, promptSeconds) }
        /// Answer tokens a second; nil where every answer had one token.
        public var answer: Double? { Self.rate(answerTokens, answerSeconds) }

        private static func rate(_ count: Int, _ seconds: Double) -> Double? {
            count > 0 && seconds > 0 ? Double(count) / seconds : nil
        }
    }

    /// What a model is, and what it costs.
    public struct Cost: Sendable, Codable, Equatable {
        /// The model's fingerprint.
        public let fingerprint: String
        /// What its products round activations to.
        public let activations: String
        /// Bits a weight of the decoder's layers, norms left out.
        public let bits: Double
        /// Bytes of both files.
        public let bytes: Int
        /// nil where no answers were asked for.
        public let speed: Speed?
    }

    /// One model.
    public struct Model: Sendable, Codable {
        /// The model's folder, as it was named.
        public let name: String
        /// What it is, and what it costs.
        public let cost: Cost
        /// Over each domain.
        public let entries: [Entry]
        /// Sets of neurons; none with fewer than two domains.
        public let neurons: [Neurons]
        /// How many of its greedy answers are the reference's, by domain.
        public let answers: [StudyComparison.Answers]
        /// How they score next to the reference's, by domain and rule.
        public let scores: [StudyComparison.ScoreChange]
    }

    /// The reference's folder.
    public let reference: String
    /// Of every domain that was asked for, as far as the run came.
    public let samples: [Samples]
    /// What the reference is, and what it costs.
    public let cost: Cost
    /// Every model.
    public let models: [Model]
    /// What was not scored, and why.
    public let notes: [String]
}

extension Fidelity.Model {
    /// What was found at positions of one kind.
    public struct Kind: Sendable, Equatable {
        /// Mean divergence of the next token's probabilities, in nats; nil where there was none.
        public let divergence: Double?
        /// The share of positions with the same most probable token.
        public let agreement: Double?
        /// The share of pairs of a neuron and a position whose gate has another sign.
        public let flipped: Double?

        fileprivate init(_ lens: ModelComparison.Lens, _ pairs: ModelComparison.Pairs) {
            divergence = lens.meanDivergence
            agreement = lens.agreement
            flipped = pairs.share.map { 1 - $0 }
        }
    }

    /// A model in a row of numbers, over all domains.
    public struct Summary: Sendable, Equatable {
        /// At image positions.
        public let image: Kind
        /// At all others.
        public let text: Kind
        /// How far activation probabilities moved, mean over layers, and the farthest.
        public let meanShift: Double?, greatestShift: Double?
        /// Means over domains and modules: of sets in common with the reference, of its halves.
        public let jaccard: Double?, halves: Double?
    }

    /// The decoder's last lens is the model's own distribution; gates are those of all its layers.
    public var summary: Summary {
        var lens = (image: ModelComparison.Lens(), text: ModelComparison.Lens())
        var pairs = (image: ModelComparison.Pairs(), text: ModelComparison.Pairs())
        for comparison in entries.map(\.comparison) {
            if let last = comparison.lens.last {
                lens.image.add(last.image)
                lens.text.add(last.text)
            }
            for layer in comparison.firing {
                if let image = layer.image { pairs.image.add(image) }
                if let text = layer.text { pairs.text.add(text) }
            }
        }
        let shifts = entries.flatMap(\.shifts)
        return Summary(
            image: Kind(lens.image, pairs.image), text: Kind(lens.text, pairs.text),
            meanShift: shifts.map(\.mean).mean, greatestShift: shifts.map(\.greatest).max(),
            jaccard: neurons.compactMap(\.jaccard).mean,
            halves: neurons.compactMap(\.halves).mean)
    }
}
