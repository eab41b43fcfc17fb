import MMQBase
import MMQModels

/// Measures something of every sample of a domain and keeps it with the sample: the lens, the
/// deviation under masks.
final class MeasuringStep: RunStep {
    /// What is measured where.
    struct Plan {
        let study: Study
        let bench: String
        let split: String
        /// Samples of each domain.
        let samples: Int
        /// Drop what an earlier run measured.
        let again: Bool
        /// Whether pictures may lie outside the bench's folder.
        let allowsOutside: Bool
        /// Which samples are measured; nil for all.
        let shard: Shard?
        /// Says which samples it can take.
        let model: any CountingModel
    }

    /// What random controls are drawn with.
    static let controlSeed: UInt64 = 1

    let samples: BenchSplit
    let start: RunCursor

    private let plan: Plan
    private var pass: LensPass
    private let measure: (BenchSample) throws -> LensPass.Measurement
    private var measured: LensPass.Measurement?
    private let plannedTokens: PlannedTokens
    private var part: ShardRun?
    /// Samples of this machine's part that are measured.
    private var done: Int

    var shard: Shard? { part?.shard }

    /// - Parameter options: what the numbers depend on; going on with others is an error.
    init(
        _ plan: Plan, _ kind: LensPass.Kind, domain: Domain, setting: String, options: String,
        measure: @escaping (BenchSample) throws -> LensPass.Measurement
    ) throws {
        self.plan = plan
        self.measure = measure
        plannedTokens = PlannedTokens(plan.model)
        samples = try BenchSplit(
            bench: plan.bench, domain: domain, split: plan.split, form: .simple,
            allowsOutside: plan.allowsOutside)
        pass = LensPass(
            kind: kind, domain: domain, split: plan.split, setting: setting,
            bench: samples.fingerprint, options: options)
        var stored = try plan.study.lensPass(
            kind, domain: domain, split: plan.split, setting: setting)
        if plan.again, let old = stored {
            try plan.study.remove(old)
            stored = nil
        }
        let progress = try plan.study.progress(
            of: StudyItem(pass), as: plan.shard, isThere: stored != nil,
            goal: "\(plan.samples) samples")
        if let stored {
            try Self.check(stored, pass, plan)
            pass = stored
        }
        start = RunCursor(
            position: pass.cursor, samples: pass.samples, skipped: pass.skipped,
            missing: pass.missing)
        done = progress?.done ?? 0
        part = try ShardRun(progress) { shard in
            try samples.plan(shard, tokens: plannedTokens.callAsFunction) { taken, _ in
                taken >= plan.samples
            }
        }
    }

    private static func check(_ stored: LensPass, _ wanted: LensPass, _ plan: Plan) throws {
        guard stored.bench == wanted.bench else {
            throw InputError(
                .mismatch, file: plan.study.path, item: wanted.domain.rawValue,
                "measured with other annotations than those in \(plan.bench)")
        }
        guard stored.options == wanted.options else {
            throw InputError(
                .mismatch, file: plan.study.path, item: wanted.domain.rawValue,
                "measured with other settings or neuron sets (\(stored.options)) than now "
                    + "(\(wanted.options)); start over with \(CommandHint.again)")
        }
    }

    func standing() -> RunOutcome? {
        isReached(start) ? .reached : pass.finished ? .exhausted : nil
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= plan.samples }

    func fraction(_ cursor: RunCursor) -> Double {
        part?.fraction ?? fraction(Double(cursor.samples), of: Double(plan.samples), cursor)
    }

    func passBy(_ sample: BenchSample) throws { _ = try plannedTokens(sample) }

    func begin(_ sample: BenchSample) throws -> Bool {
        measured = try measure(sample)
        done += 1
        return true
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws {
        pass = result(cursor, .interrupted)
        pass.finished = outcome == .exhausted
        let progress = part?.at(done: done, cursor, outcome)
        try plan.study.atomically {
            try plan.study.commit(pass, measured)
            if let progress { try plan.study.store(progress) }
        }
        measured = nil
    }

    /// Where the pass stands.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> LensPass {
        var pass = pass
        pass.cursor = cursor.position
        pass.samples = cursor.samples
        pass.skipped = cursor.skipped
        pass.missing = cursor.missing
        return pass
    }
}
