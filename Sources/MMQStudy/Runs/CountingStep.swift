import MMQBase
import MMQModels

/// Counting activations over a bench into a study: one forward pass per sample.
public struct CountingPlan {
    /// When a pass over a domain ends.
    public enum Goal: Sendable, Equatable {
        /// With the first sample after which the vision module has seen at least so many tokens.
        case visionTokens(Int64)
        /// After so many samples.
        case samples(Int)
    }

    let study: Study
    let model: any CountingModel
    let bench: String
    let split: String
    let goal: Goal
    let again: Bool
    let allowsOutside: Bool

    /// Counting with a model over the bench in a folder.
    ///
    /// - Parameters:
    ///   - again: drop what an earlier run counted.
    ///   - allowsOutside: whether pictures may lie outside the bench's folder.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's.
    public init(
        study: Study, model: any CountingModel, bench: String, split: String = "train", goal: Goal,
        again: Bool = false, allowsOutside: Bool = false
    ) throws {
        self.study = study
        self.model = model
        self.bench = bench
        self.split = split
        self.goal = goal
        self.again = again
        self.allowsOutside = allowsOutside
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
    }

    /// Counting a domain up to the goal, from where the study stands.
    public func step(_ domain: Domain) throws -> some RunStep<PassState> {
        try CountingStep(self, domain)
    }
}

/// Counts the samples of a domain. They are added one after the other in the bench's order, so the
/// sums do not depend on where earlier runs ended, down to the last bit.
final class CountingStep: RunStep {
    let samples: BenchSplit
    let start: RunCursor
    /// A sample that takes longer is committed by itself; shorter ones share a commit, so that a
    /// small model does not spend its time writing.
    let commitInterval = Duration.milliseconds(500)

    private let plan: CountingPlan
    private var state: PassState
    private var totals: [ModuleCounts]

    init(_ plan: CountingPlan, _ domain: Domain) throws {
        self.plan = plan
        let study = plan.study
        samples = try BenchSplit(
            bench: plan.bench, domain: domain, split: plan.split, form: .simple,
            allowsOutside: plan.allowsOutside)
        state = PassState(
            domain: domain, split: plan.split, form: .simple, bench: samples.fingerprint)
        totals = plan.model.modules.map { ModuleCounts(shape: $0) }
        if plan.again { try study.removePass(domain: domain, split: plan.split) }
        if let stored = try study.pass(domain: domain, split: plan.split) {
            guard stored.bench == state.bench else {
                throw InputError(
                    .mismatch, file: study.path, item: domain.rawValue,
                    stored.bench == PassState.imported
                        ? "holds imported counts of this domain; count into another study"
                        : "counted from other annotations than those in \(plan.bench)")
            }
            state = stored
            totals = try study.counts(domain: domain, split: plan.split)
        }
        start = RunCursor(
            position: state.cursor, samples: state.samples, skipped: state.skipped,
            missingFrames: state.missingFrames)
    }

    /// A pass may be taken further than an earlier run did: the totals are those of one run with
    /// the later goal. It cannot be taken back.
    func standing() throws -> RunOutcome? {
        guard isReached(start) else {
            return state.finished && start.position >= samples.count ? .exhausted : nil
        }
        if start.samples > 0,
            isReached(samples: start.samples - 1, visionTokens: state.visionTokensBefore)
        {
            throw InputError(
                .mismatch, file: plan.study.path, item: state.domain.rawValue,
                "already holds \(state.samples) samples (\(state.visionTokens) vision tokens), "
                    + "more than asked for; count into another study")
        }
        return .reached
    }

    func isReached(_ cursor: RunCursor) -> Bool {
        isReached(samples: cursor.samples, visionTokens: state.visionTokens)
    }

    private func isReached(samples: Int, visionTokens: Int64) -> Bool {
        switch plan.goal {
        case .visionTokens(let wanted): visionTokens >= wanted
        case .samples(let wanted): samples >= wanted
        }
    }

    func fraction(_ cursor: RunCursor) -> Double {
        switch plan.goal {
        case .visionTokens(let wanted):
            fraction(Double(state.visionTokens), of: Double(wanted), cursor)
        case .samples(let wanted): fraction(Double(cursor.samples), of: Double(wanted), cursor)
        }
    }

    func begin(_ sample: BenchSample) throws -> Bool {
        let counts = try plan.model.count(image: sample.picture(), prompt: sample.prompt)
        guard counts.map(\.shape) == totals.map(\.shape),
            let vision = counts.first(where: { $0.shape.name == plan.model.visionModule })
        else {
            throw InputError(
                .failed, file: plan.study.path, "the model counted other modules than it has")
        }
        for i in totals.indices { totals[i].add(counts[i]) }
        state.visionTokensBefore = state.visionTokens
        state.visionTokens += vision.tokens
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws {
        state = result(cursor, .interrupted)
        state.finished = outcome == .reached || outcome == .exhausted
        try plan.study.commit(state, totals)
    }

    /// Where the pass stands.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> PassState {
        var state = state
        state.cursor = cursor.position
        state.samples = cursor.samples
        state.skipped = cursor.skipped
        state.missingFrames = cursor.missingFrames
        return state
    }
}
