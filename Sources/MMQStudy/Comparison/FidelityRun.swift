import MMQBase
import MMQModels

/// Runs a reference and other models over the samples of one domain after the other.
public final class FidelityRun {
    private let reference: (name: String, model: any VisionLanguageModel)
    private let models: [(name: String, model: any VisionLanguageModel)]
    private let bench: String
    private let split: String
    private let samples: Int
    private let options: LensOptions
    private let allowsOutside: Bool
    /// What each domain counted: the reference's samples of even and of odd number, and each model's.
    fileprivate var halves: [(domain: Domain, halves: [[ModuleCounts]])] = []
    fileprivate var counts: [[(domain: Domain, counts: [ModuleCounts])]]
    fileprivate var comparisons: [[(domain: Domain, comparison: ModelComparison)]]
    /// What the reference and every model answered.
    private let answers: FidelityAnswers
    fileprivate var taken: [Fidelity.Samples] = []

    /// - Throws: `InputError`, `.mismatch` if a model is not of the reference's shape.
    public init(
        reference: (name: String, model: any VisionLanguageModel),
        models: [(name: String, model: any VisionLanguageModel)], bench: String, split: String,
        samples: Int, options: LensOptions = LensOptions(), allowsOutside: Bool = false
    ) throws {
        self.reference = reference
        self.models = models
        self.bench = bench
        self.split = split
        self.samples = samples
        self.options = options
        self.allowsOutside = allowsOutside
        counts = models.map { _ in [] }
        comparisons = models.map { _ in [] }
        answers = FidelityAnswers([reference] + models, bench: bench)
        for (_, model) in models { _ = try ModelComparison(reference.model, model) }
    }

    /// All models over a domain.
    public func step(_ domain: Domain) throws -> some RunStep<Int> {
        try FidelityStep(
            self, reference.model, models.map(\.model),
            samples: BenchSplit(
                bench: bench, domain: domain, split: split, form: .simple,
                allowsOutside: allowsOutside), wanted: samples, options: options)
    }

    /// All models' answers to a domain's questions: how many samples were answered. The samples are the
    /// comparison's, but for those that a model cannot take with the domain's own instruction.
    ///
    /// - Parameter maxTokens: most tokens of an answer.
    public func answers(_ domain: Domain, maxTokens: Int) throws -> some RunStep<Int> {
        try FidelityAnswersStep(
            answers,
            samples: BenchSplit(
                bench: bench, domain: domain, split: split, form: .full,
                allowsOutside: allowsOutside), wanted: samples, maxTokens: maxTokens)
    }

    /// What was found so far.
    ///
    /// - Parameter judge: scores driving answers; without one they have no score.
    /// - Throws: `InputError`, `.mismatch` if a module saw no tokens; what the judge throws.
    public func result(judge: (any AnswerJudge)? = nil) throws -> Fidelity {
        let modules = reference.model.modules
        func sets(_ all: [(domain: Domain, counts: [ModuleCounts])]) throws -> [Identification] {
            guard all.count >= 2 else { return [] }
            return try modules.indices.map { module in
                try Identification(
                    counts: all.map { (domain: $0.domain, counts: $0.counts[module]) },
                    split: split)
            }
        }
        let whole = halves.map { entry in
            (domain: entry.domain, counts: Self.sum(entry.halves))
        }
        let own = try sets(whole)
        let canSplit = halves.allSatisfy {
            $0.halves.allSatisfy { $0.allSatisfy { $0.tokens > 0 } }
        }
        let parts = try (0..<2).map { half in
            canSplit ? try sets(halves.map { (domain: $0.domain, counts: $0.halves[half]) }) : []
        }
        let judge = judge.map(RememberingJudge.init)
        var notes: [String] = []
        return Fidelity(
            reference: reference.name, samples: answers.counted(taken),
            cost: cost(reference.model, 0),
            models: try models.indices.map { index in
                let (name, model) = models[index]
                let theirs = try sets(counts[index])
                let neurons = theirs.indices.flatMap { module in
                    theirs[module].domains.map { domain in
                        Fidelity.Neurons(
                            module: modules[module].name, domain: domain,
                            jaccard: Self.jaccard(own[module], theirs[module], domain),
                            halves: parts[0].isEmpty
                                ? nil : Self.jaccard(parts[0][module], parts[1][module], domain))
                    }
                }
                let entries = comparisons[index].indices.map { place in
                    Fidelity.Entry(
                        domain: comparisons[index][place].domain,
                        comparison: comparisons[index][place].comparison,
                        shifts: Self.shifts(whole[place].counts, counts[index][place].counts))
                }
                let (answers, scores) = try answers.compared(
                    index + 1, split: split, judge: judge, notes: &notes)
                return Fidelity.Model(
                    name: name, cost: cost(model, index + 1), entries: entries, neurons: neurons,
                    answers: answers, scores: scores)
            }, notes: notes)
    }

    private func cost(_ model: any VisionLanguageModel, _ place: Int) -> Fidelity.Cost {
        Fidelity.Cost(
            fingerprint: model.fingerprint, activations: model.files.activations.rawValue,
            bits: model.files.decoderBits,
            bytes: model.files.language.byteCount + model.files.vision.byteCount,
            speed: answers.speed(place))
    }

    private static func sum(_ parts: [[ModuleCounts]]) -> [ModuleCounts] {
        parts.dropFirst().reduce(parts.first ?? []) { sum, part in
            zip(sum, part).map { a, b in
                var all = a
                all.add(b)
                return all
            }
        }
    }

    private static func jaccard(
        _ one: Identification, _ other: Identification, _ domain: Domain
    ) -> Double? {
        guard let a = one.neurons(of: domain), let b = other.neurons(of: domain) else { return nil }
        let common = zip(a, b).reduce(0) { $0 + Set($1.0).intersection($1.1).count }
        return ModuleNeurons.jaccard(
            a.reduce(0) { $0 + $1.count }, b.reduce(0) { $0 + $1.count }, common: common)
    }

    private static func shifts(_ a: [ModuleCounts], _ b: [ModuleCounts]) -> [Fidelity.Shift] {
        zip(a, b).flatMap { a, b in
            (0..<a.shape.layers).map { layer in
                let neurons = (layer * a.shape.neurons)..<((layer + 1) * a.shape.neurons)
                let shifts = neurons.map {
                    abs(
                        Double(a.counts[$0]) / Double(max(1, a.tokens))
                            - Double(b.counts[$0]) / Double(max(1, b.tokens)))
                }
                return Fidelity.Shift(
                    module: a.shape.name, layer: layer,
                    mean: shifts.reduce(0, +) / Double(max(1, shifts.count)),
                    greatest: shifts.max() ?? 0)
            }
        }
    }
}

/// Runs the reference and every model over a sample; nothing is stored.
private final class FidelityStep: RunStep {
    let samples: BenchSplit
    let start = RunCursor()

    private let run: FidelityRun
    private let reference: any VisionLanguageModel
    private let models: [any VisionLanguageModel]
    private let wanted: Int
    private let options: LensOptions
    private var done = 0
    private var comparisons: [ModelComparison]
    private var counts: [[ModuleCounts]]
    private var halves: [[ModuleCounts]]

    init(
        _ run: FidelityRun, _ reference: any VisionLanguageModel,
        _ models: [any VisionLanguageModel], samples: BenchSplit, wanted: Int,
        options: LensOptions
    ) throws {
        self.run = run
        self.reference = reference
        self.models = models
        self.samples = samples
        self.wanted = wanted
        self.options = options
        let nothing = reference.modules.map { ModuleCounts(shape: $0) }
        comparisons = try models.map { try ModelComparison(reference, $0) }
        counts = models.map { _ in nothing }
        halves = [nothing, nothing]
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= wanted }

    func fraction(_ cursor: RunCursor) -> Double {
        fraction(Double(cursor.samples), of: Double(wanted), cursor)
    }

    func begin(_ sample: BenchSample) throws -> Bool {
        let picture = try sample.picture()
        let pass = try ObservedPass(reference, image: picture, prompt: sample.prompt)
        // A sample that one model refuses counts for none of them.
        var compared = comparisons
        let modelCounts = try models.indices.map { i in
            try compared[i].add(
                pass, models[i], image: picture, prompt: sample.prompt, options: options)
        }
        comparisons = compared
        for (i, counted) in modelCounts.enumerated() {
            for m in counted.indices { counts[i][m].add(counted[m]) }
        }
        let counted = pass.observation.counts()
        for m in counted.indices { halves[done % 2][m].add(counted[m]) }
        done += 1
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) {}

    /// How many samples there were. With the last, the domain is handed to the run.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> Int {
        run.taken.append(Fidelity.Samples(domain: samples.domain, compared: done))
        guard done > 0 else { return 0 }
        run.halves.append((samples.domain, halves))
        for i in models.indices {
            run.counts[i].append((samples.domain, counts[i]))
            run.comparisons[i].append((samples.domain, comparisons[i]))
        }
        return done
    }
}
