import Foundation
import MMQBase
import MMQModels

/// Counts activations over a bench into a study: one forward pass per sample, resumable.
public struct ActivationRun {
    /// When a pass over a domain ends.
    public enum Goal: Sendable, Equatable {
        /// With the first sample after which the vision module has seen at least so many tokens.
        case visionTokens(Int64)
        /// After so many samples.
        case samples(Int)
    }

    /// Why a pass ended.
    public enum Outcome: String, Sendable, Codable {
        /// The goal is reached.
        case reached
        /// The bench ended first.
        case exhausted
        /// `interrupted` said so; another run goes on from here.
        case interrupted
    }

    /// Where a pass stands.
    public struct Progress: Sendable {
        /// The pass.
        public let state: PassState
        /// The part of the goal that is reached, 0...1.
        public let fraction: Double
        /// The same when this run began: what the time left must be computed from.
        public let startFraction: Double
    }

    /// Greatest time between commits. A sample that takes longer is committed by itself; shorter
    /// ones share a commit, so that a small model does not spend its time writing.
    public static let commitInterval = Duration.milliseconds(500)

    private let study: Study
    private let model: any CountingModel
    private let bench: String
    private let split: String
    private let goal: Goal
    private let again: Bool

    /// A run of a model over the bench in a folder.
    ///
    /// - Parameter again: drop what an earlier run counted.
    /// - Throws: `InputError`, `.mismatch` if the study is another model's.
    public init(
        study: Study, model: any CountingModel, bench: String, split: String = "train", goal: Goal,
        again: Bool = false
    ) throws {
        self.study = study
        self.model = model
        self.bench = bench
        self.split = split
        self.goal = goal
        self.again = again
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
    }

    /// Counts a domain up to the goal, going on from where the study stands.
    ///
    /// Samples are added one after the other in the bench's order, so the sums do not depend on
    /// where earlier runs ended, down to the last bit.
    ///
    /// - Parameters:
    ///   - domain: the domain.
    ///   - interrupted: asked after every sample; true ends the run after a commit.
    ///   - missing: called with the files of each picture that is not there.
    ///   - unusable: called with the place of each sample that the model cannot take, and why.
    ///   - progress: called after every sample.
    /// - Returns: why the pass ended, and where it stands.
    public func run(
        _ domain: Domain, interrupted: () -> Bool = { false },
        missing: ([String]) -> Void = { _ in }, unusable: (Int, String) -> Void = { _, _ in },
        progress: (Progress) -> Void = { _ in }
    ) throws -> (outcome: Outcome, state: PassState) {
        let samples = try BenchSplit(bench: bench, domain: domain, split: split, form: .simple)
        var state = PassState(
            domain: domain, split: split, form: .simple, bench: samples.fingerprint)
        var totals = model.modules.map { ModuleCounts(shape: $0) }
        if again { try study.removePass(domain: domain, split: split) }
        if let stored = try study.pass(domain: domain, split: split) {
            guard stored.bench == state.bench else {
                throw InputError(
                    .mismatch, file: study.path, item: domain.rawValue,
                    stored.bench == PassState.imported
                        ? "holds imported counts of this domain; count into another study"
                        : "counted from other annotations than those in \(bench)")
            }
            state = stored
            totals = try study.counts(domain: domain, split: split)
            try samples.skip(to: state.cursor)
        }
        if let outcome = try standing(state, samples) { return (outcome, state) }

        let startFraction = fraction(state, samples)
        let clock = ContinuousClock()
        var committed = clock.now
        var pending = false
        func commit() throws {
            try study.commit(state, totals)
            committed = clock.now
            pending = false
        }
        do {
            while !interrupted() {
                guard let item = try samples.next() else {
                    state.cursor = samples.position
                    state.finished = true
                    try commit()
                    return (.exhausted, state)
                }
                switch item {
                case .missing(_, let files):
                    missing(files)
                    state.skipped += 1
                case .sample(let sample):
                    if !sample.missing.isEmpty { missing(sample.missing) }
                    do {
                        let seen = try count(sample, into: &totals)
                        state.missingFrames += sample.missing.count
                        state.samples += 1
                        state.visionTokensBefore = state.visionTokens
                        state.visionTokens += seen
                    } catch let error as InputError {
                        guard let reason = error.reasonOfSample else { throw error }
                        unusable(sample.position, reason)
                        state.skipped += 1
                    }
                }
                state.cursor = samples.position
                state.finished = isReached(state)
                pending = true
                if state.finished || clock.now - committed >= Self.commitInterval { try commit() }
                progress(
                    Progress(
                        state: state, fraction: fraction(state, samples),
                        startFraction: startFraction))
                if state.finished { return (.reached, state) }
            }
            if pending { try commit() }
            return (.interrupted, state)
        } catch {
            // A picture that cannot be decoded, say: what was counted before it is not lost.
            if pending { try? commit() }
            throw error
        }
    }

    /// Counts one sample; gives the tokens that the vision module saw.
    private func count(_ sample: BenchSample, into totals: inout [ModuleCounts]) throws -> Int64 {
        let counts = try model.count(image: sample.picture(), prompt: sample.prompt)
        guard counts.map(\.shape) == totals.map(\.shape),
            let vision = counts.first(where: { $0.shape.name == model.visionModule })
        else {
            throw InputError(
                .failed, file: study.path, "the model counted other modules than it has")
        }
        for i in totals.indices { totals[i].add(counts[i]) }
        return vision.tokens
    }

    private func isReached(_ state: PassState) -> Bool {
        switch goal {
        case .visionTokens(let tokens): state.visionTokens >= tokens
        case .samples(let samples): state.samples >= samples
        }
    }

    /// Whether a stored pass already is what this run would end with; nil if there is work left.
    ///
    /// A pass may be taken further than an earlier run did: the totals are those of one run with
    /// the later goal. It cannot be taken back.
    private func standing(_ state: PassState, _ samples: BenchSplit) throws -> Outcome? {
        guard isReached(state) else {
            return state.finished && state.cursor >= samples.count ? .exhausted : nil
        }
        var earlier = state
        earlier.samples -= 1
        earlier.visionTokens = state.visionTokensBefore
        if state.samples > 0, isReached(earlier) {
            throw InputError(
                .mismatch, file: study.path, item: state.domain.rawValue,
                "already holds \(state.samples) samples (\(state.visionTokens) vision tokens), "
                    + "more than asked for; count into another study")
        }
        return .reached
    }

    private func fraction(_ state: PassState, _ samples: BenchSplit) -> Double {
        let ofGoal =
            switch goal {
            case .visionTokens(let tokens): Double(state.visionTokens) / Double(max(1, tokens))
            case .samples(let wanted): Double(state.samples) / Double(max(1, wanted))
            }
        return min(1, max(ofGoal, Double(state.cursor) / Double(max(1, samples.count))))
    }
}

extension PassState {
    /// Stands for the annotations of counts that came from a file.
    public static let imported = "imported"
}
