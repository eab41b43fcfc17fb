import Foundation
import Testing

@testable import MMQExplore

/// Events reach their page, and a page that is left is noticed.
@Suite struct EventStreamTests {
    private func pair() throws -> (ours: HTTPConnection, peer: Int32) {
        var ends: [Int32] = [0, 0]
        #if os(Linux)
            let kind = Int32(SOCK_STREAM.rawValue)
        #else
            let kind = SOCK_STREAM
        #endif
        try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
        return (HTTPConnection(ends[0]), ends[1])
    }

    @Test func aPageThatIsLeftIsNoticedThoughNothingIsTold() throws {
        let (connection, peer) = try pair()
        let stop = StopSign()
        let events = EventStream(gone: { stop.raise() })
        events.tell("started")
        close(peer)
        #expect(throws: HTTPConnection.Lost.self) { try events.send(to: connection) }
        #expect(stop.isRaised)
    }

    @Test func whatWasToldIsSentAndNobodyIsStopped() throws {
        let (connection, peer) = try pair()
        defer { close(peer) }
        let stop = StopSign()
        let events = EventStream(gone: { stop.raise() })
        events.tell("a", [("n", .integer(1))])
        events.tell("b")
        events.finish()
        try events.send(to: connection)
        var bytes = [UInt8](repeating: 0, count: 200)
        let count = recv(peer, &bytes, bytes.count, 0)
        #expect(
            String(decoding: bytes[..<max(0, count)], as: UTF8.self)
                == "{\"event\": \"a\", \"n\": 1}\n{\"event\": \"b\"}\n")
        #expect(!stop.isRaised)
    }

    @Test func aJobThatWasGivenUpIsPassedOver() throws {
        let queue = ModelQueue()
        let (busy, done) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let (given, ran) = (StopSign(), StopSign())
        try queue.add(.init(StopSign()) { _ in busy.wait() })
        try queue.add(.init(given) { _ in ran.raise() })
        given.raise()
        try queue.add(.init(StopSign()) { _ in done.signal() })
        busy.signal()
        #expect(done.wait(timeout: .now() + 60) == .success)
        #expect(!ran.isRaised)
    }
}
