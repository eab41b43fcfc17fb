import Foundation
import MMQBase

/// The requests of a session: one is under way, others wait. The input is read on a thread of its
/// own, which puts requests here; the thread that runs the model takes them out.
final class SessionQueue: @unchecked Sendable {  // what changes is behind the condition
    /// What became of a wish to cancel.
    enum Cancelling { case waited, running, unknown }

    /// Requests that may wait: a client that writes without end is stopped, not the machine.
    private static let limit = 1024

    private let condition = NSCondition()
    private var waiting: [RunRequest] = []
    private var running: SessionID?
    private var isCancelled = false
    private var isClosed = false

    /// Puts a request at the end.
    ///
    /// - Throws: `InputError` if its name is taken, which is no end of the request that has it, and
    ///   `RefusedRequest` if too many wait.
    func add(_ request: RunRequest) throws {
        try condition.withLock {
            if isKnown(request.id) {
                throw InputError(
                    .duplicate, file: "request", item: "key 'id'",
                    found: "\(request.id.json.kind), a request that is not done yet")
            }
            guard waiting.count < Self.limit else {
                throw RefusedRequest(
                    id: request.id,
                    error: InputError(
                        .tooLarge, file: "request", expected: "at most \(Self.limit) that wait",
                        found: "one more"))
            }
            waiting.append(request)
            condition.signal()
        }
    }

    private func isKnown(_ id: SessionID) -> Bool {
        running == id || waiting.contains { $0.id == id }
    }

    /// Whether a request of that name is under way or waits.
    func holds(_ id: SessionID) -> Bool { condition.withLock { isKnown(id) } }

    /// Nothing comes any more; what waits is still done.
    func close() {
        condition.withLock {
            isClosed = true
            condition.signal()
        }
    }

    /// Drops what waits and stops what is under way: nobody is there for it.
    func abandon() {
        condition.withLock {
            waiting = []
            isCancelled = true
            isClosed = true
            condition.signal()
        }
    }

    /// The next request, as soon as there is one; nil at the end.
    func next() -> RunRequest? {
        condition.withLock {
            while waiting.isEmpty, !isClosed { condition.wait() }
            guard !waiting.isEmpty else { return nil }
            let request = waiting.removeFirst()
            running = request.id
            isCancelled = false
            return request
        }
    }

    /// The request under way is done.
    func finish() { condition.withLock { running = nil } }

    /// Takes a request out that waits, or asks the one under way to stop.
    func cancel(_ id: SessionID) -> Cancelling {
        condition.withLock {
            if let place = waiting.firstIndex(where: { $0.id == id }) {
                waiting.remove(at: place)
                return .waited
            }
            guard running == id else { return .unknown }
            isCancelled = true
            return .running
        }
    }

    /// Whether the request under way is to stop.
    var mustStop: Bool { condition.withLock { isCancelled } }

    /// Whether all input was read.
    var isAtEnd: Bool { condition.withLock { isClosed } }

    /// The request under way, and those that wait, in their order.
    var state: (running: SessionID?, waiting: [SessionID]) {
        condition.withLock { (running, waiting.map(\.id)) }
    }
}

extension NSCondition {
    fileprivate func withLock<T>(_ body: () throws -> T) rethrows -> T {
        lock()
        defer { unlock() }
        return try body()
    }
}
