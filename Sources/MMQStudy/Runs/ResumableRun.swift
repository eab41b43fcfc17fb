import MMQBase

/// Takes a step over the samples of a domain, from where the study stands to the goal, the end of
/// the bench or an interruption.
///
/// What is stored always belongs together: everything up to the cursor and nothing beyond it. A
/// process that is killed loses what it did since the last commit, does it again, and the study
/// comes out the same. Samples whose picture was not there are taken first by the next run that
/// finds it, unless as much as was asked for is done, where the step keeps their places.
public final class ResumableRun<Step: RunStep> {
    private let step: Step
    private let tell: (RunEvent) -> Void
    private let interrupted: () -> Bool
    private let clock = ContinuousClock()

    /// Up to which sample the walk has come.
    private var here: RunCursor
    /// Up to which sample everything is done: what a commit stores.
    private var settled: RunCursor
    /// What is left to begin of the sample at hand, last first.
    private var waiting: [(sample: BenchSample, job: Step.Job)] = []
    /// Samples that an earlier run passed over because their picture was not there, and now is, last
    /// first.
    private var found: [BenchSample] = []
    private var underWay = 0
    private var done = 0
    private var outcome: RunOutcome?
    private var startFraction = 0.0
    private var lastCommit: ContinuousClock.Instant
    private var isPending = false

    /// A run of a step.
    ///
    /// - Parameters:
    ///   - interrupted: asked before every job and every place of the walk; true ends the run after
    ///     the jobs under way.
    ///   - tell: told what the run meets and how far it has come.
    public init(
        _ step: Step, interrupted: @escaping () -> Bool = { false },
        tell: @escaping (RunEvent) -> Void = { _ in }
    ) {
        self.step = step
        self.interrupted = interrupted
        self.tell = tell
        here = step.start
        settled = step.start
        lastCommit = clock.now
    }

    /// Runs.
    ///
    /// An error ends the run as well; what was done before it is kept.
    ///
    /// - Returns: why the run ended, and what came of it.
    public func run() throws -> (outcome: RunOutcome, result: Step.Result) {
        let standing = try step.standing()
        if standing != .reached {
            found = try step.samples.returned(to: here, shard: step.shard).reversed()
        }
        if let standing, found.isEmpty { return (standing, step.result(here, standing)) }
        try step.samples.skip(to: here.position)
        startFraction = step.fraction(here)
        do {
            while true {
                while outcome == nil, underWay < max(1, step.width) { try beginNext() }
                if underWay == 0 { break }
                let finished = try step.advance()
                underWay -= finished
                if finished > 0 { try settle(done: finished) }
            }
            if waiting.isEmpty { settled = here }
            if isPending { try commit() }
        } catch {
            // A picture that cannot be decoded, say: what was done before it is not lost.
            if isPending { try? commit() }
            throw error
        }
        let end = outcome ?? .interrupted
        return (end, step.result(here, end))
    }

    /// Begins a job, or moves the walk on by one place; at an end, sets `outcome`.
    private func beginNext() throws {
        if waiting.isEmpty, step.isReached(here) { return outcome = .reached }
        if interrupted() { return outcome = .interrupted }
        if waiting.isEmpty { try walk() }
        guard let (sample, job) = waiting.popLast() else { return }
        do {
            guard try step.begin(job) else { return underWay += 1 }
        } catch let error as InputError {
            guard let reason = error.reasonOfSample else { throw error }
            tell(.refused(position: sample.position, reason: reason))
            if !step.refuse(job, reason: reason) {
                waiting = []
                here.samples -= 1
                here.skipped += 1
                here.missingFrames -= sample.missing.count
            }
        }
        try settle(done: 1)
    }

    private func walk() throws {
        if let sample = found.popLast() {
            here.skipped -= 1
            here.missing.removeAll { $0 == sample.position }
            return take(sample)
        }
        if let place = step.samples.nextPassedBy() {
            let position = Int(place.position)
            if case .sample = place.outcome { try step.passBy(planned: position) }
            return pass(position, place.outcome)
        }
        let item = try step.samples.next()
        here.position = step.samples.position
        switch item {
        case nil:
            outcome = .exhausted
            isPending = true
        case .missing(let position, let files):
            if isOwn(position) { tell(.missing(files: files)) }
            pass(position, .missing)
        case .sample(let sample) where !isOwn(sample.position):
            do {
                try step.passBy(sample)
                pass(sample.position, .sample(missingFrames: UInt32(sample.missing.count)))
            } catch let error as InputError where error.reasonOfSample != nil {
                pass(sample.position, .refused)
            }
        case .sample(let sample): take(sample)
        }
    }

    /// A sample of another machine, or one without its picture, lies behind.
    private func pass(_ position: Int, _ outcome: PlannedPlace.Outcome) {
        here.position = step.samples.position
        switch outcome {
        case .missing:
            here.skipped += 1
            here.missing.append(position)
        case .refused: here.skipped += 1
        case .sample(let missingFrames):
            here.samples += 1
            here.missingFrames += Int(missingFrames)
        }
        // That alone is no reason to store anything.
        isPending = true
        if underWay == 0, waiting.isEmpty { settled = here }
    }

    private func take(_ sample: BenchSample) {
        if !sample.missing.isEmpty { tell(.missing(files: sample.missing)) }
        here.samples += 1
        here.missingFrames += sample.missing.count
        waiting = step.jobs(of: sample).reversed().map { (sample, $0) }
    }

    private func isOwn(_ position: Int) -> Bool { step.shard?.takes(position) ?? true }

    /// Something is done, or passed over: stores it if it is time, and tells.
    private func settle(done count: Int) throws {
        done += count
        isPending = true
        if waiting.isEmpty {
            if underWay == 0 { settled = here }
            // With the last sample of a goal is stored that it is reached.
            if outcome == nil, step.isReached(here) { outcome = .reached }
        }
        if outcome == .reached || clock.now - lastCommit >= step.commitInterval { try commit() }
        tell(
            .progress(
                RunProgress(
                    done: done, fraction: step.fraction(here), startFraction: startFraction)))
    }

    private func commit() throws {
        try step.commit(settled, outcome)
        lastCommit = clock.now
        isPending = false
    }
}
