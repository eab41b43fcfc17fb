import MMQBase
import MMQImage
import MMQModels

/// Finds the samples again that a study's strongest activations are of, and what their tokens are.
public final class MomentPlaces {
    /// A sample, and what its tokens are.
    public struct Sample {
        /// The sample.
        public let sample: BenchSample
        /// Its tokens; nil without a model.
        public let tokens: TokenPlaces?
    }

    private let study: Study
    private let model: (any VisionLanguageModel)?
    private let bench: String
    private let split: String
    private let allowsOutside: Bool
    private var samples: [Domain: [Int: Sample?]] = [:]
    /// Walks at their beginning, over the annotations that were counted.
    private var walks: [Domain: BenchSplit] = [:]

    /// - Parameters:
    ///   - model: says what tokens are.
    ///   - bench: the folder that was counted.
    ///   - split: the split that was counted.
    ///   - allowsOutside: whether pictures may lie outside the folder.
    public init(
        _ study: Study, model: (any VisionLanguageModel)?, bench: String, split: String,
        allowsOutside: Bool
    ) {
        self.study = study
        self.model = model
        self.bench = bench
        self.split = split
        self.allowsOutside = allowsOutside
    }

    /// A sample of a domain; nil if its picture is not there any more. What was found once is
    /// remembered, without the picture.
    ///
    /// - Parameter position: its place in the bench's order.
    /// - Throws: `InputError`, `.mismatch` if the bench is another than the one that was counted.
    public func sample(_ domain: Domain, position: Int) throws -> Sample? {
        if let known = samples[domain]?[position] { return known }
        let found = try find(domain, position: position)
        samples[domain, default: [:]][position] = .some(found)
        return found
    }

    private func find(_ domain: Domain, position: Int) throws -> Sample? {
        let walk = BenchSplit(again: try begin(domain))
        try walk.skip(to: position)
        guard case .sample(let sample)? = try walk.next(), sample.position == position else {
            return nil
        }
        let tokens = try model.map { model in
            let picture = try sample.picture()
            return TokenPlaces(
                try model.prepare(image: picture, prompt: sample.prompt), of: model,
                width: picture.width, height: picture.height)
        }
        return Sample(sample: sample, tokens: tokens)
    }

    private func begin(_ domain: Domain) throws -> BenchSplit {
        if let walk = walks[domain] { return walk }
        let walk = try BenchSplit(
            bench: bench, domain: domain, split: split, form: .simple,
            allowsOutside: allowsOutside)
        guard try study.pass(domain: domain, split: split)?.bench == walk.fingerprint else {
            throw InputError(
                .mismatch, file: study.path, item: domain.rawValue,
                "counted from other annotations than those in \(bench)")
        }
        walks[domain] = walk
        return walk
    }
}
