import Foundation
import MMQBase
import MMQFormats
import MMQModels
import MMQStudy

/// Everything that a report shows, before it is a page: numbers of a study, of its comparison with
/// others, and lenses over single pictures.
public struct ReportDocument: Sendable, Codable {
    /// The layout of this document.
    public let version: Int
    /// The headline.
    public let title: String
    /// When the report was made, ISO 8601 in UTC.
    public let made: String
    /// What the study was made of.
    public let facts: ReportFacts
    /// The name of the neuron sets that `modules` shows.
    public let set: String
    /// Each module in the model's order.
    public let modules: [ModuleNeurons]
    /// Neurons one by one; nil where none were identified, or none were wanted.
    public let gallery: ReportGallery?
    /// Whether other pictures would find the same neurons.
    public let stability: [ReportStability]
    /// Scores of the stored answers.
    public let scores: ReportScores
    /// Neuron sets side by side that differ in one rate.
    public let sweeps: [SetSweep]
    /// The lens over benches, by domain and mask setting.
    public let lens: [LensSummary]
    /// How far masks move hidden states.
    public let deviations: [ReportDeviation]
    /// Other studies next to this one.
    public let comparisons: [ReportComparison]
    /// Number formats next to a reference.
    public let formats: [FormatFidelity]
    /// Pairs of models over the same tokens.
    public let models: [ModelFidelity]
    /// The lens over single pictures.
    public let pictures: [PictureLens]
}

/// What a study was made of, and how far it has come.
public struct ReportFacts: Sendable, Codable {
    /// A set of answers.
    public struct Answers: Sendable, Codable, Equatable {
        /// The domain.
        public let domain: Domain
        /// The split.
        public let split: String
        /// The mask setting.
        public let setting: String
        /// Fingerprint of the model that answered.
        public let model: String
        /// Identifies the annotations.
        public let bench: String
        /// `AnswerOptions` as JSON.
        public let options: String
        /// Samples that were answered.
        public let answered: Int
        /// Samples that have no answer.
        public let unanswered: Int
        /// Neurons that were off.
        public let neuronsOff: Int
    }

    /// How neurons of a module were found, under a set's name.
    public struct Found: Sendable, Codable, Equatable {
        /// The set's name.
        public let set: String
        /// The module.
        public let module: String
        /// The domains that were compared.
        public let domains: [Domain]
        /// The split that was counted.
        public let split: String
        /// Rule and rates.
        public let settings: Identification.Settings
    }

    /// A model given with the report.
    public struct Model: Sendable, Codable, Equatable {
        /// One element type of one file.
        public struct Weights: Sendable, Codable, Equatable {
            /// `language` or `vision`.
            public let file: String
            /// `Q4_0`, `F16`, ...
            public let type: String
            /// Tensors.
            public let tensors: Int
            /// Their bytes.
            public let bytes: Int
        }

        /// The architecture's type.
        public let architecture: String
        /// Identifies the weights.
        public let fingerprint: String
        /// Its element types.
        public let weights: [Weights]

        /// The facts of an opened model.
        public init(_ model: any VisionLanguageModel) {
            architecture = model.architecture.modelType
            fingerprint = model.fingerprint
            weights = [
                (ModelFileRole.language, model.files.language), (.vision, model.files.vision),
            ]
            .flatMap { role, file in
                Dictionary(grouping: file.tensors) { $0.type.name }.map { type, tensors in
                    Weights(
                        file: role.rawValue, type: type, tensors: tensors.count,
                        bytes: tensors.reduce(0) { $0 + $1.byteCount })
                }.sorted { ($0.bytes, $0.type) > ($1.bytes, $1.type) }
            }
        }
    }

    /// The study file's name, without its folder.
    public let file: String
    /// The size of the study file in bytes.
    public let bytes: Int
    /// When the study file changed last, ISO 8601 in UTC; nil where unknown.
    public let changed: String?
    /// Fingerprint of the model; nil in an empty study.
    public let fingerprint: String?
    /// The model given with the report, if one was.
    public let model: Model?
    /// The modules.
    public let modules: [ModuleShape]
    /// The counting passes.
    public let passes: [PassState]
    /// The neuron sets of all names, the usual one first.
    public let found: [Found]
    /// The sets of answers.
    public let answers: [Answers]
    /// Passes of the lens and of the deviation.
    public let lensPasses: [LensPass]
}

/// Whether other pictures would find the same neurons of a module.
public struct ReportStability: Sendable, Codable {
    /// The module.
    public let module: String
    /// Over which positions; the picture's and the text's apart, too, where they were counted so.
    public let positions: Positions
    /// As `mmq stability` gives it with as many draws, without the resamplings and with fewer points
    /// of the curve; nil where `missing` says why.
    public let found: Stability?
    /// What it lacks.
    public let missing: String?
}

/// Scores of the stored answers.
public struct ReportScores: Sendable, Codable {
    /// The split of the answers.
    public let split: String
    /// The setting that others are compared with.
    public let baseline: String
    /// Bootstrap samples and random sign flips.
    public let draws: Int
    /// The seed of both.
    public let seed: UInt64
    /// Whether a judge was there to score driving answers.
    public let isJudged: Bool
    /// Samples without an answer, left out.
    public let unanswered: Int
    /// As `Evaluator` gives them; numbered controls stand in `controls`.
    public let scores: [Score]
    /// Every set on every bench.
    public let matrices: [SetMatrix]
    /// Effects among those of controls.
    public let controls: [ControlTest]
    /// Domains that could not be scored, and why.
    public let problems: [String]
}

/// A pass of the deviation.
public struct ReportDeviation: Sendable, Codable {
    /// The pass.
    public let pass: LensPass
    /// One entry for each domain whose neurons were off.
    public let masks: [DeviationSummary]
}

/// Another study next to this one.
public struct ReportComparison: Sendable, Codable {
    /// The other study's file name.
    public let file: String
    /// Its model's fingerprint.
    public let fingerprint: String?
    /// What differs: this study first, the other second.
    public let comparison: StudyComparison
}
