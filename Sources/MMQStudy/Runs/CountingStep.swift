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
    let blocks: Int?
    let apart: Bool?
    let keepTop: Int?
    let shard: Shard?

    /// Blocks of samples unless said otherwise.
    public static let usualBlocks = 16
    /// How many of a neuron's strongest activations are kept unless said otherwise.
    public static let usualKeepTop = MomentRequest.usuallyKept

    /// Counting with a model over the bench in a folder.
    ///
    /// - Parameters:
    ///   - again: drop what an earlier run counted.
    ///   - allowsOutside: whether pictures may lie outside the bench's folder.
    ///   - blocks: into how many blocks samples are counted, 2...256; nil for as many as the study
    ///     has, or the usual number.
    ///   - apart: whether the picture's positions and the text's are counted apart; nil for what the
    ///     study does, or yes.
    ///   - keepTop: how many of each neuron's strongest activations are kept, 0...64; nil for as many
    ///     as the study keeps, or the usual number.
    ///   - shard: which samples are counted; nil for all.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's.
    public init(
        study: Study, model: any CountingModel, bench: String, split: String = "train", goal: Goal,
        again: Bool = false, allowsOutside: Bool = false, blocks: Int? = nil, apart: Bool? = nil,
        keepTop: Int? = nil, shard: Shard? = nil
    ) throws {
        if let blocks, !PassState.blockRange.contains(blocks) {
            throw InputError(
                .badInput, file: "blocks", item: String(blocks),
                "samples are counted in \(PassState.blockRange.lowerBound) to "
                    + "\(PassState.blockRange.upperBound) blocks")
        }
        if let keepTop, !PassState.keepRange.contains(keepTop) {
            throw InputError(
                .badInput, file: "keep-top", item: String(keepTop),
                "\(PassState.keepRange.lowerBound) to \(PassState.keepRange.upperBound) activations "
                    + "of a neuron can be kept")
        }
        self.blocks = blocks
        self.keepTop = keepTop
        self.apart = apart
        self.shard = shard
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

/// Counts the samples of a domain. Everything adds up exactly, so the sums do not depend on where
/// earlier runs ended, down to the last bit.
final class CountingStep: RunStep {
    let samples: BenchSplit
    let start: RunCursor
    /// A sample that takes longer is committed by itself; shorter ones share a commit, so that a
    /// small model does not spend its time writing.
    let commitInterval = Duration.milliseconds(500)

    private let plan: CountingPlan
    private var state: PassState
    private let counts: PassCounts
    private let moments: PassMoments
    private let ordinals: [String: Int]
    private let plannedTokens: PlannedTokens
    private var part: ShardRun?

    var shard: Shard? { part?.shard }

    init(_ plan: CountingPlan, _ domain: Domain) throws {
        self.plan = plan
        plannedTokens = PlannedTokens(plan.model)
        let study = plan.study
        samples = try BenchSplit(
            bench: plan.bench, domain: domain, split: plan.split, form: .simple,
            allowsOutside: plan.allowsOutside)
        state = PassState(
            domain: domain, split: plan.split, form: .simple, bench: samples.fingerprint)
        state.blocks = plan.blocks ?? CountingPlan.usualBlocks
        state.apart = plan.apart ?? true
        state.keepTop = plan.keepTop ?? CountingPlan.usualKeepTop
        ordinals = Dictionary(
            plan.model.modules.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { $1 })
        if plan.again { try study.removePass(domain: domain, split: plan.split) }
        let goal =
            switch plan.goal {
            case .visionTokens(let wanted): "\(wanted) vision tokens"
            case .samples(let wanted): "\(wanted) samples"
            }
        let progress = try study.progress(
            of: StudyItem(state), as: plan.shard,
            isThere: study.pass(domain: domain, split: plan.split) != nil, goal: goal)
        if let stored = try study.pass(domain: domain, split: plan.split) {
            guard stored.bench == state.bench else {
                throw InputError(
                    .mismatch, file: study.path, item: domain.rawValue,
                    stored.bench == PassState.imported
                        ? "holds imported counts of this domain; count into another study"
                        : "counted from other annotations than those in \(plan.bench)")
            }
            guard plan.blocks == nil || plan.blocks == stored.blocks,
                plan.apart == nil || plan.apart == stored.apart
            else {
                throw InputError(
                    .mismatch, file: study.path, item: domain.rawValue,
                    "counted in \(stored.blocks) blocks, positions "
                        + (stored.apart ? "apart" : "together")
                        + "; start over with \(CommandHint.again)")
            }
            guard plan.keepTop == nil || plan.keepTop == stored.keepTop else {
                throw InputError(
                    .mismatch, file: study.path, item: domain.rawValue,
                    "counted keeping \(stored.keepTop) activations of each neuron; start over with "
                        + CommandHint.again)
            }
            state = stored
            counts = try study.passCounts(stored)
            moments = try study.passMoments(stored)
        } else {
            counts = PassCounts()
            moments = PassMoments(modules: plan.model.modules, keep: state.keepTop)
        }
        start = RunCursor(
            position: state.cursor, samples: state.samples, skipped: state.skipped,
            missingFrames: state.missingFrames, missing: state.missing)
        part = try ShardRun(progress) { shard in
            try samples.plan(shard, tokens: plannedTokens.callAsFunction) {
                Self.isReached(plan.goal, samples: $0, visionTokens: $1)
            }
        }
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
        Self.isReached(plan.goal, samples: samples, visionTokens: visionTokens)
    }

    private static func isReached(
        _ goal: CountingPlan.Goal, samples: Int, visionTokens: Int64
    ) -> Bool {
        switch goal {
        case .visionTokens(let wanted): visionTokens >= wanted
        case .samples(let wanted): samples >= wanted
        }
    }

    func fraction(_ cursor: RunCursor) -> Double {
        if let part { return part.fraction }
        return switch plan.goal {
        case .visionTokens(let wanted):
            fraction(Double(state.visionTokens), of: Double(wanted), cursor)
        case .samples(let wanted): fraction(Double(cursor.samples), of: Double(wanted), cursor)
        }
    }

    func passBy(_ sample: BenchSample) throws { saw(Int64(try plannedTokens(sample))) }

    func passBy(planned position: Int) throws { saw(Int64(try plannedTokens(at: position))) }

    private func saw(_ visionTokens: Int64) {
        state.visionTokensBefore = state.visionTokens
        state.visionTokens += visionTokens
    }

    func begin(_ sample: BenchSample) throws -> Bool {
        let found = try plan.model.count(
            image: sample.picture(), prompt: sample.prompt, moments: moments.request)
        let counts = found.counts
        guard Set(counts.map(\.shape)) == Set(plan.model.modules),
            found.moments.map(\.shape) == (state.keepTop > 0 ? plan.model.modules : [])
        else {
            throw InputError(
                .failed, file: plan.study.path, "the model counted other modules than it has")
        }
        let seen = counts.reduce(0) {
            $0 + ($1.shape.name == plan.model.visionModule ? $1.tokens : 0)
        }
        // The other parts go by it: another number would give them other samples.
        if part != nil, case let planned = try plannedTokens(sample), Int64(planned) != seen {
            throw InputError(
                .failed, file: sample.pictures.first ?? state.domain.rawValue,
                "planned as \(planned) vision tokens, counted as \(seen)")
        }
        // Last: after an error nothing of the sample is kept, for what was counted before it is
        // stored all the same.
        try moments.checkRoom(for: found.moments)
        try self.counts.add(
            counts, block: sample.position % state.blocks, ordinals: ordinals, apart: state.apart)
        moments.add(found.moments, sample: sample.position)
        saw(seen)
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws {
        state = result(cursor, .interrupted)
        state.finished = outcome == .reached || outcome == .exhausted
        let progress = part?.at(done: counts.samples.values.reduce(0, +), cursor, outcome)
        try plan.study.atomically {
            try plan.study.commit(state, counts, moments)
            if let progress { try plan.study.store(progress) }
        }
        counts.settle()
        moments.settle()
    }

    /// Where the pass stands.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> PassState {
        var state = state
        state.cursor = cursor.position
        state.samples = cursor.samples
        state.skipped = cursor.skipped
        state.missingFrames = cursor.missingFrames
        state.missing = cursor.missing
        return state
    }
}
