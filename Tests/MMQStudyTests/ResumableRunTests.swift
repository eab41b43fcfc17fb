import Foundation
import MMQBase
import Support
import Testing

@testable import MMQStudy

/// What a step has stored, as a file would keep it.
private final class Store {
    var cursor = RunCursor()
    var outcome: RunOutcome?
    var done: [String] = []
}

private struct Killed: Error {}

/// Takes jobs in, `width` at a time, and does them together; some samples it cannot take.
private final class BlockStep: RunStep {
    let samples: BenchSplit
    let start: RunCursor
    let width: Int
    let jobsPerSample: Int
    let wanted: Int
    let unusable: Set<Int>
    let commitInterval: Duration
    /// Begins so many jobs, then dies.
    var lives = Int.max
    private let store: Store
    private var underWay: [String] = []
    private var done: [String] = []

    init(
        _ store: Store, bench: String, width: Int = 1, jobsPerSample: Int = 1, wanted: Int = 100,
        unusable: Set<Int> = [], commitInterval: Duration = .zero
    ) throws {
        self.store = store
        self.width = width
        self.jobsPerSample = jobsPerSample
        self.wanted = wanted
        self.unusable = unusable
        self.commitInterval = commitInterval
        samples = try BenchSplit(bench: bench, domain: .med, split: "train", form: .simple)
        start = store.cursor
        done = store.done
    }

    func isReached(_ cursor: RunCursor) -> Bool { cursor.samples >= wanted }
    func fraction(_ cursor: RunCursor) -> Double {
        fraction(Double(cursor.samples), of: Double(wanted), cursor)
    }

    func jobs(of sample: BenchSample) -> [(sample: BenchSample, part: Int)] {
        (0..<jobsPerSample).map { (sample, $0) }
    }

    func begin(_ job: (sample: BenchSample, part: Int)) throws -> Bool {
        lives -= 1
        if lives < 0 { throw Killed() }
        if unusable.contains(job.sample.position) { throw InputError.prompt("too odd") }
        underWay.append("\(job.sample.position).\(job.part)")
        guard width == 1 else { return false }
        finish()
        return true
    }

    func advance() throws -> Int {
        defer { finish() }
        return underWay.count
    }

    private func finish() {
        done += underWay
        underWay = []
    }

    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws {
        // What a later run begins again must not be stored.
        store.done = done.filter {
            Int($0.split(separator: ".")[0]).map { $0 < cursor.position } ?? false
        }
        store.cursor = cursor
        store.outcome = outcome
    }

    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> RunCursor { cursor }
}

@Suite struct ResumableRunTests {
    private let bench = Golden.folder + "/study/bench"

    private func places() throws -> [Int] {
        let walk = try BenchSplit(bench: bench, domain: .med, split: "train", form: .simple)
        var places: [Int] = []
        while let item = try walk.next() {
            if case .sample(let sample) = item { places.append(sample.position) }
        }
        return places
    }

    @Test(arguments: [1, 2, 3, 7], [1, 2])
    func whereverItIsKilledTheEndIsTheSame(width: Int, jobs: Int) throws {
        let places = try places()
        let unusable: Set = [places[2]]
        let expected = places.filter { !unusable.contains($0) }
            .flatMap { place in (0..<jobs).map { "\(place).\($0)" } }
        for interval in [Duration.zero, .seconds(3600)] {
            for lives in 1...8 {
                let store = Store()
                var kills = 0
                // Every life reaches a little further, else a block would never be full.
                while store.outcome == nil {
                    try #require(kills < 100)
                    let step = try BlockStep(
                        store, bench: bench, width: width, jobsPerSample: jobs,
                        unusable: unusable, commitInterval: interval)
                    step.lives = lives + kills
                    do {
                        let (outcome, cursor) = try ResumableRun(step).run()
                        #expect(outcome == .exhausted)
                        #expect(cursor == store.cursor)
                    } catch is Killed {
                        kills += 1
                    }
                }
                #expect(store.done == expected, "\(width) \(jobs) \(lives) \(interval)")
                #expect(store.cursor.samples == places.count - 1)
                #expect(store.cursor.skipped == 2)
            }
        }
    }

    @Test func anInterruptionLetsWhatIsUnderWayEnd() throws {
        let places = try places()
        let store = Store()
        var asked = 0
        let (outcome, cursor) = try ResumableRun(
            BlockStep(store, bench: bench, width: 3),
            interrupted: {
                asked += 1
                return asked > 2
            }
        ).run()
        #expect(outcome == .interrupted)
        #expect(store.done == places.prefix(2).map { "\($0).0" })
        #expect(cursor == store.cursor)
        #expect(try ResumableRun(BlockStep(store, bench: bench)).run().outcome == .exhausted)
        #expect(store.done == places.map { "\($0).0" })
    }

    /// Between the two jobs of a sample: its place is not passed.
    @Test func anInterruptionWithinASampleBeginsItAnew() throws {
        let places = try places()
        let store = Store()
        var asked = 0
        _ = try ResumableRun(
            BlockStep(store, bench: bench, jobsPerSample: 2),
            interrupted: {
                asked += 1
                return asked > 3
            }
        ).run()
        #expect(store.cursor.samples == 1)
        #expect(store.done == ["\(places[0]).0", "\(places[0]).1"])
    }

    @Test func theEventsTellWhatHappens() throws {
        let places = try places()
        var missing: [[String]] = []
        var refused: [Int] = []
        var progress: [RunProgress] = []
        let store = Store()
        store.cursor.position = places[0] + 1
        store.cursor.samples = 1
        let step = try BlockStep(
            store, bench: bench, wanted: places.count - 1, unusable: [places[1]])
        let (outcome, cursor) = try ResumableRun(
            step,
            tell: {
                switch $0 {
                case .missing(let files): missing.append(files)
                case .refused(let place, let reason):
                    refused.append(place)
                    #expect(reason.contains("too odd"))
                case .progress(let made): progress.append(made)
                }
            }
        ).run()
        #expect(outcome == .reached)
        #expect(store.outcome == .reached)
        #expect(cursor.samples == places.count - 1)
        #expect(missing.count == 1)
        #expect(refused == [places[1]])
        #expect(progress.last?.fraction == 1)
        #expect(progress.last?.done == places.count - 1)
        let starts = Set(progress.map(\.startFraction))
        #expect(starts.count == 1)
        #expect(try #require(starts.first) > 0)
        #expect(zip(progress, progress.dropFirst()).allSatisfy { $0.fraction <= $1.fraction })
        // Nothing left to do: no event, no commit.
        store.outcome = nil
        #expect(
            try ResumableRun(
                BlockStep(store, bench: bench, wanted: 1), tell: { _ in Issue.record("an event") }
            ).run().outcome == .reached)
        #expect(store.outcome == nil)
    }
}
