import Foundation
import MMQBase
import MMQModels
import MMQStudy

/// Neurons of every domain one by one: what makes each fire, and what it writes.
public struct ReportGallery: Sendable, Codable {
    /// The greatest size of the gallery in a page, in bytes.
    public static let defaultLimit = 3 << 20
    /// Neurons that are shown of a domain in one module.
    static let neuronsEach = 3
    /// Pictures that are shown of a neuron.
    static let picturesEach = 3
    /// Samples of a neuron's activations that are looked up.
    static let samplesEach = 4
    /// Words that are named of those that a neuron raises, and lowers.
    static let wordsEach = 8

    /// A small picture, stored once however many neurons show it.
    public struct Picture: Sendable, Codable, Equatable {
        /// Columns.
        public let width: Int
        /// Rows.
        public let height: Int
        /// A JPEG file.
        public let data: Data
    }

    /// A patch cut out of its picture, with some of what lies around it.
    public struct Cut: Sendable, Codable, Equatable {
        /// Which of the gallery's pictures.
        public let picture: Int
        /// Where the patch lies in it.
        public let patch: PictureBox
    }

    /// One of a neuron's strongest activations, and what it was at.
    public struct Moment: Sendable, Codable, Equatable {
        /// Value, sample and token.
        public let moment: NeuronCard.Moment
        /// What the token is; nil where a model, the bench or the picture was not to be had.
        public internal(set) var place: TokenPlace?
        /// Where the token lies in the picture; nil for what has no place in it.
        public internal(set) var patch: PictureBox?
        /// The sample's question.
        public internal(set) var question: String?
        /// Which of the gallery's pictures is the sample's; nil where it is not shown.
        public internal(set) var picture: Int?
        /// The patch, cut out; nil where its picture is not shown, or it is framed on that of a
        /// stronger activation.
        public internal(set) var cut: Cut?
        /// The words before the token, if it is one.
        public internal(set) var before: [String] = []
        /// The words after it.
        public internal(set) var after: [String] = []
    }

    /// The same neuron in another study.
    public struct Other: Sendable, Codable {
        /// Its card there.
        public let card: NeuronCard
        /// How many of the strongest activations in the domain are of the same sample and token.
        public let shared: Int
    }

    /// A neuron.
    public struct Neuron: Sendable, Codable {
        /// The domain that it is shown under.
        public let domain: Domain
        /// What the study knows of it.
        public let card: NeuronCard
        /// The split that was counted.
        public let split: String
        /// Its strongest activations in that domain, the strongest first.
        public internal(set) var moments: [Moment]
        /// The same neuron in each of the other studies; nil where it was not counted.
        public let others: [Other?]
        /// The words that it raises; nil for what is no neuron of the decoder, or without a model.
        public internal(set) var raised: [WrittenWord]?
        /// The words that it lowers; likewise.
        public internal(set) var lowered: [WrittenWord]?
    }

    /// The greatest size in bytes.
    public let limit: Int
    /// The name of this study's file and of the others'.
    public let studies: [String]
    /// Fingerprint of the model that says what tokens are and which words are written; nil without.
    public let model: String?
    /// Whether a bench was given.
    public let hasBench: Bool
    /// The neurons, those of a domain and module by ascending entropy.
    public internal(set) var neurons: [Neuron]
    /// How many more were left out to stay within the limit.
    public internal(set) var leftOut = 0
    /// Pictures that neurons refer to.
    public internal(set) var pictures: [Picture] = []
    /// What could not be shown, and why.
    public internal(set) var problems: [String] = []

    /// Whether strongest activations of any neuron are there.
    public var hasMoments: Bool { neurons.contains { !$0.moments.isEmpty } }
}

/// What a gallery is made with, beside the study.
public struct GallerySources {
    /// Says what tokens are, and which words are written.
    public var model: (any VisionLanguageModel)?
    /// The bench that was counted: its pictures and questions.
    public var bench: String?
    /// Whether pictures may lie outside the bench.
    public var allowsOutside: Bool
    /// The greatest size in bytes; 0 for no gallery.
    public var limit: Int

    /// Nothing but the study, or these.
    public init(
        model: (any VisionLanguageModel)? = nil, bench: String? = nil, allowsOutside: Bool = false,
        limit: Int = ReportGallery.defaultLimit
    ) {
        self.model = model
        self.bench = bench
        self.allowsOutside = allowsOutside
        self.limit = limit
    }
}
