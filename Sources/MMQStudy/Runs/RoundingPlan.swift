import MMQBase
import MMQModels

/// Second-order rounding of a model's weights over the prompts of a bench.
public final class RoundingPlan {
    /// What came of a domain's samples.
    public struct Samples: Sendable, Encodable, Equatable {
        /// The domain.
        public let domain: Domain
        /// How many were taken, and how many were passed over.
        public var samples = 0, skipped = 0
    }

    /// The rounding, once it has its prompts.
    public let rounding: WeightRounding
    private let model: any VisionLanguageModel
    private let bench: String
    private let splits: [BenchSplit]
    private let wanted: Int
    private let leavingOut: Int

    /// Rounding a model into the folder `output` by `samples` samples of each domain.
    ///
    /// - Parameters:
    ///   - samples: of each domain.
    ///   - leavingOut: so many of each domain's first samples are another's, a study's say.
    /// - Throws: `InputError`, as `WeightRounding` does, or if the bench has no such domain.
    public init(
        model: any VisionLanguageModel, bench: String, domains: [Domain], split: String,
        form: PromptForm, samples: Int, leavingOut: Int, output: String,
        options: WeightRounding.Options, allowsOutside: Bool
    ) throws {
        self.model = model
        self.bench = bench
        wanted = samples
        self.leavingOut = leavingOut
        splits = try domains.map {
            try BenchSplit(
                bench: bench, domain: $0, split: split, form: form, allowsOutside: allowsOutside)
        }
        let source = splits.map { "\($0.domain.rawValue) \($0.fingerprint)" }
        rounding = try WeightRounding(
            model, to: output,
            prompts: "\(form.rawValue) \(split) \(samples) after \(leavingOut) "
                + source.joined(separator: " "),
            options: options)
    }

    private func canTake(_ sample: BenchSample) throws -> Bool {
        do {
            _ = try model.prepare(image: sample.picture(), prompt: sample.prompt)
            return true
        } catch let error as InputError where error.reasonOfSample != nil {
            return false
        }
    }

    /// Takes the samples in; samples without their picture, or that the model cannot take, are passed
    /// over.
    ///
    /// - Parameters:
    ///   - interrupted: asked before every sample; true ends it with `CancellationError`.
    ///   - tell: told what is passed over.
    /// - Throws: `InputError` if there is none at all.
    public func collect(
        interrupted: () -> Bool = { false }, tell: (Domain, RunEvent) -> Void = { _, _ in }
    ) throws -> [Samples] {
        let taken = try splits.map { split in
            var taken = Samples(domain: split.domain)
            var passed = 0
            while passed < leavingOut, let item = try split.next() {
                if interrupted() { throw CancellationError() }
                // One that the model cannot take is none of a study's samples either.
                if case .sample(let sample) = item, try canTake(sample) { passed += 1 }
            }
            while taken.samples < wanted, let item = try split.next() {
                if interrupted() { throw CancellationError() }
                switch item {
                case .missing(_, let files):
                    tell(split.domain, .missing(files: files))
                    taken.skipped += 1
                case .sample(let sample):
                    do {
                        try rounding.add(image: sample.picture(), prompt: sample.prompt)
                        taken.samples += 1
                    } catch let error as InputError {
                        guard let reason = error.reasonOfSample else { throw error }
                        tell(split.domain, .refused(position: sample.position, reason: reason))
                        taken.skipped += 1
                    }
                }
            }
            return taken
        }
        guard taken.contains(where: { $0.samples > 0 }) else {
            throw InputError(
                .badInput, file: bench,
                expected: "samples to round weights by"
                    + (leavingOut > 0 ? ", behind the first \(leavingOut)" : ""), found: "none")
        }
        return taken
    }
}
