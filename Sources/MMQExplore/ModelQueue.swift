import Foundation
import MMQBase

/// What the one model does: one job at a time, the others wait in their order.
final class ModelQueue: @unchecked Sendable {  // what changes is behind the condition
    /// Something to do with the model, which may be told to stop.
    final class Job: Sendable {
        fileprivate let work: @Sendable (Job) -> Void
        private let stop: StopSign

        init(_ stop: StopSign, _ work: @escaping @Sendable (Job) -> Void) {
            self.stop = stop
            self.work = work
        }

        /// Whether it is to end as soon as it can: nobody waits for it any more.
        var mustStop: Bool { stop.isRaised }
    }

    /// Jobs that may wait.
    static let limit = 16

    private let condition = NSCondition()
    private var waiting: [Job] = []
    private var running: Job?

    /// Starts the thread that does the jobs.
    init() {
        let thread = Thread { [self] in
            while true {
                let job = next()
                if !job.mustStop { job.work(job) }
                locked { running = nil }
            }
        }
        thread.stackSize = 8 << 20
        thread.start()
    }

    /// Puts a job at the end.
    ///
    /// - Returns: how many are done before it.
    /// - Throws: `HTTPRequest.Fault` if too many wait.
    @discardableResult
    func add(_ job: Job) throws -> Int {
        try locked {
            // Those that were given up are passed over, not waited for.
            waiting.removeAll { $0.mustStop }
            guard waiting.count < Self.limit else {
                throw HTTPRequest.Fault(
                    .busy, "\(Self.limit) questions wait already: ask again later")
            }
            let before = waiting.count + (running == nil ? 0 : 1)
            waiting.append(job)
            condition.signal()
            return before
        }
    }

    private func next() -> Job {
        locked {
            while waiting.isEmpty { condition.wait() }
            let job = waiting.removeFirst()
            running = job
            return job
        }
    }

    private func locked<T>(_ body: () throws -> T) rethrows -> T {
        condition.lock()
        defer { condition.unlock() }
        return try body()
    }
}

/// Raised once, from any thread.
final class StopSign: @unchecked Sendable {  // the flag is behind the lock
    private let lock = NSLock()
    private var flag = false

    func raise() { lock.withLock { flag = true } }

    var isRaised: Bool { lock.withLock { flag } }
}
