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
}

/// The vision tokens of a bench's samples, from pictures' headers: each is read once, though parts
/// are planned, passed by and counted at different times.
final class PlannedTokens {
    private let model: any CountingModel
    private var known: [Int: Swift.Result<Int, InputError>] = [:]

    init(_ model: any CountingModel) { self.model = model }

    /// Those of a sample that was planned.
    func callAsFunction(at position: Int) throws -> Int {
        guard let found = known[position] else {
            preconditionFailure("sample \(position) was not planned")
        }
        return try found.get()
    }

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
