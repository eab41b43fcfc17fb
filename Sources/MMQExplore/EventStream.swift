import Foundation
import MMQBase

/// Events on their way to a page, each a JSON object on a line.
///
/// The thread that runs the model tells them, the connection's own thread sends them and notices when
/// the page is left.
final class EventStream: @unchecked Sendable {  // what changes is behind the condition
    private let condition = NSCondition()
    private var lines: [UInt8] = []
    private var isFinished = false
    private let gone: @Sendable () -> Void

    /// - Parameter gone: called when nobody reads any more.
    init(gone: @escaping @Sendable () -> Void) { self.gone = gone }

    /// Adds an event.
    func tell(_ event: String, _ more: [(String, JSONValue)] = []) {
        let object = JSONObject([("event", .string(event))] + more)
        let line = Array((JSONValue.object(object).jsonLine + "\n").utf8)
        condition.lock()
        lines += line
        condition.signal()
        condition.unlock()
    }

    /// Nothing more comes.
    func finish() {
        condition.lock()
        isFinished = true
        condition.signal()
        condition.unlock()
    }

    /// Sends events as they come, until they are finished or nobody reads them.
    func send(to connection: HTTPConnection) throws {
        do {
            while let part = next(waiting: 0.2) {
                if part.isEmpty, connection.isLost { throw HTTPConnection.Lost() }
                try connection.write(part)
            }
        } catch {
            gone()
            throw error
        }
    }

    /// What was told since the last time, perhaps nothing within so many seconds; nil at the end.
    private func next(waiting seconds: Double) -> [UInt8]? {
        condition.lock()
        defer { condition.unlock() }
        if lines.isEmpty, !isFinished {
            _ = condition.wait(until: Date(timeIntervalSinceNow: seconds))
        }
        if lines.isEmpty, isFinished { return nil }
        defer { lines = [] }
        return lines
    }
}
