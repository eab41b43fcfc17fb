import Foundation

/// One accepted connection: a request, a response, and it is closed. So nothing of a request can be
/// taken for the next one, and no length of a response has to be told before its end.
final class HTTPConnection {
    /// Bytes before a body, and seconds for them.
    private static let longestHead = 16 << 10
    private static let headSeconds = 10.0
    /// Seconds for a body.
    private static let bodySeconds = 60.0
    /// Seconds that a peer may take in nothing.
    private static let writeSeconds = 20

    /// The peer is gone, or takes nothing.
    struct Lost: Error {}

    private let socket: Int32
    private var rest: [UInt8] = []

    init(_ socket: Int32) {
        self.socket = socket
        var limit = timeval(tv_sec: Self.writeSeconds, tv_usec: 0)
        setsockopt(
            socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(socket) }

    /// Reads a request up to its body.
    ///
    /// - Throws: `HTTPRequest.Fault`, or `Lost` if nothing was asked.
    func request() throws -> HTTPRequest {
        let end = Date(timeIntervalSinceNow: Self.headSeconds)
        var searched = 0
        while true {
            if let head = Self.headEnd(rest, from: searched) {
                let request = try HTTPRequest(head: rest[..<head.end])
                rest.removeFirst(head.next)
                return request
            }
            guard rest.count < Self.longestHead else {
                throw HTTPRequest.Fault(.headTooLarge, "more than \(Self.longestHead) bytes")
            }
            searched = max(0, rest.count - 3)
            guard try read(before: end) else {
                if rest.isEmpty { throw Lost() }
                throw HTTPRequest.Fault(.badRequest, "the request ends in its head")
            }
        }
    }

    /// Where the first empty line is: the end of what is before it, and what follows.
    private static func headEnd(_ bytes: [UInt8], from start: Int) -> (end: Int, next: Int)? {
        var at = start
        while at < bytes.count {
            if bytes[at] == 0x0A {
                if at + 1 < bytes.count, bytes[at + 1] == 0x0A { return (at, at + 2) }
                if at + 2 < bytes.count, bytes[at + 1] == 0x0D, bytes[at + 2] == 0x0A {
                    return (at > 0 && bytes[at - 1] == 0x0D ? at - 1 : at, at + 3)
                }
            }
            at += 1
        }
        return nil
    }

    /// Reads a request's body.
    ///
    /// - Throws: `HTTPRequest.Fault` if it is longer than that, slow or cut short.
    func body(of request: HTTPRequest, atMost limit: Int) throws -> [UInt8] {
        guard request.length <= limit else {
            throw HTTPRequest.Fault(.tooLarge, "more than \(limit) bytes")
        }
        let end = Date(timeIntervalSinceNow: Self.bodySeconds)
        while rest.count < request.length {
            guard try read(before: end) else {
                throw HTTPRequest.Fault(.badRequest, "the request ends in its body")
            }
        }
        return Array(rest.prefix(request.length))
    }

    /// Appends what there is; false at the end.
    private func read(before end: Date) throws -> Bool {
        var state = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        let left = Int32(max(0, min(1e6, end.timeIntervalSinceNow * 1000)))
        guard poll(&state, 1, left) > 0 else {
            throw HTTPRequest.Fault(.requestTimeout, "the request does not come")
        }
        var part = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(socket, &part, part.count, 0)
        if count < 0, errno == EINTR { return true }
        guard count > 0 else { return false }
        rest += part[..<count]
        return true
    }

    /// Writes all of it.
    ///
    /// - Throws: `Lost`.
    func write(_ bytes: some ContiguousBytes) throws {
        try bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let sent = send(
                    socket, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count,
                    Self.noSignal)
                if sent < 0, errno == EINTR { continue }
                guard sent > 0 else { throw Lost() }
                rest = rest.dropFirst(sent)
            }
        }
    }

    #if os(Linux)
        private static let noSignal = Int32(MSG_NOSIGNAL)
    #else
        private static let noSignal: Int32 = 0
    #endif

    /// Whether the peer has closed its side: a page that was left.
    var isLost: Bool {
        var state = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        guard poll(&state, 1, 0) > 0 else { return false }
        var byte: UInt8 = 0
        return recv(socket, &byte, 1, Int32(MSG_PEEK)) <= 0
    }

    /// Says that nothing more comes, and lets what was sent arrive: a socket that is closed while
    /// something unread lies in it takes back what it sent.
    func finish() {
        shutdown(socket, Int32(SHUT_WR))
        let end = Date(timeIntervalSinceNow: 1)
        var part = [UInt8](repeating: 0, count: 1 << 16)
        var state = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        while end.timeIntervalSinceNow > 0,
            poll(&state, 1, Int32(end.timeIntervalSinceNow * 1000)) > 0,
            recv(socket, &part, part.count, 0) > 0
        {}
    }
}
