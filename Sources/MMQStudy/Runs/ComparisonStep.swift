import MMQModels

/// Compares two models over the samples of a domain; nothing is stored.
final class ComparisonStep: RunStep {
    let samples: BenchSplit
    let start = RunCursor()

    private let first: any VisionLanguageModel
    private let second: any VisionLanguageModel
    private let wanted: Int
    private let options: LensOptions
    private var comparison: ModelComparison

    init(
        _ first: any VisionLanguageModel, _ second: any VisionLanguageModel, bench: String,
        domain: Domain, split: String, samples wanted: Int, options: LensOptions,
        allowsOutside: Bool
    ) throws {
        self.first = first
        self.second = second
        self.wanted = wanted
        self.options = options
        comparison = try ModelComparison(first, second)
        samples = try BenchSplit(
            bench: bench, domain: domain, split: split, form: .simple,
            allowsOutside: allowsOutside)
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= wanted }

    func fraction(_ cursor: RunCursor) -> Double {
        fraction(Double(cursor.samples), of: Double(wanted), cursor)
    }

    func begin(_ sample: BenchSample) throws -> Bool {
        try comparison.add(
            first, second, image: sample.picture(), prompt: sample.prompt, options: options)
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) {}

    /// What was compared.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> ModelComparison { comparison }
}

extension ModelComparison {
    /// A comparison over so many samples of a domain of the bench in a folder.
    ///
    /// - Parameter allowsOutside: whether pictures may lie outside the bench's folder.
    /// - Throws: `InputError`, `.mismatch` if the models are not of one shape.
    public static func step(
        _ first: any VisionLanguageModel, _ second: any VisionLanguageModel, bench: String,
        domain: Domain, split: String = "train", samples: Int,
        options: LensOptions = LensOptions(), allowsOutside: Bool = false
    ) throws -> some RunStep<ModelComparison> {
        try ComparisonStep(
            first, second, bench: bench, domain: domain, split: split, samples: samples,
            options: options, allowsOutside: allowsOutside)
    }
}
