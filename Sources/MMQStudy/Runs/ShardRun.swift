import MMQBase
import MMQModels

/// A run's part of a bench: what is planned, what is done, how long it took.
struct ShardRun {
    private(set) var progress: ShardProgress
    let shard: Shard
    private let clock = ContinuousClock()
    private var last: ContinuousClock.Instant

    /// - Parameter total: samples that this part has up to the goal; not asked where all of them are
    ///   done.
    init?(_ progress: ShardProgress?, total: (Shard) throws -> Int) rethrows {
        guard var progress, let shard = progress.shard else { return nil }
        if !progress.finished { progress.total = try total(shard) }
        self.progress = progress
        self.shard = shard
        last = clock.now
    }

    /// The part that is done, 0...1.
    var fraction: Double {
        progress.total == 0 ? 1 : min(1, Double(progress.done) / Double(progress.total))
    }

    /// What is to be stored now.
    mutating func at(
        done: Int, _ cursor: RunCursor, _ outcome: RunOutcome?
    ) -> ShardProgress {
        let now = clock.now
        progress.seconds += (now - last).seconds
        last = now
        progress.done = done
        progress.finished = outcome == .reached || outcome == .exhausted
        progress.cursor = progress.finished ? cursor.position : nil
        return progress
    }

    /// How many samples of a part lie before the goal: planned from annotations, and from pictures'
    /// headers where `tokens` looks at them.
    ///
    /// - Parameters:
    ///   - bench: the bench; the walk over it does not move.
    ///   - tokens: what a sample adds to what goals are counted in; throws as a step does for samples
    ///     that the model cannot take.
    ///   - isReached: asked with samples and tokens so far.
    static func plan(
        _ shard: Shard, _ bench: BenchSplit, tokens: (BenchSample) throws -> Int = { _ in 0 },
        isReached: (_ samples: Int, _ tokens: Int64) -> Bool
    ) throws -> Int {
        let samples = BenchSplit(again: bench)
        var own = 0
        var taken = 0
        var sum: Int64 = 0
        while !isReached(taken, sum), let item = try samples.next() {
            guard case .sample(let sample) = item else { continue }
            do {
                sum += Int64(try tokens(sample))
            } catch let error as InputError {
                guard error.reasonOfSample != nil else { throw error }
                continue
            }
            taken += 1
            if shard.takes(sample.position) { own += 1 }
        }
        return own
    }
}

/// The vision tokens of a bench's samples, from pictures' headers: each is read once, though parts
/// are planned, passed by and counted at different times.
final class PlannedTokens {
    private let model: any CountingModel
    private var known: [Int: Swift.Result<Int, InputError>] = [:]

    init(_ model: any CountingModel) { self.model = model }

    /// - Throws: `InputError` with a `reasonOfSample` if the model cannot take the sample.
    func callAsFunction(_ sample: BenchSample) throws -> Int {
        if let found = known[sample.position] { return try found.get() }
        do {
            let tokens = try model.visionTokens(size: sample.pictureSize(), prompt: sample.prompt)
            known[sample.position] = .success(tokens)
            return tokens
        } catch let error as InputError {
            known[sample.position] = .failure(error)
            throw error
        }
    }
}
