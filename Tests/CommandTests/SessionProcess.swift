import Foundation
import MMQBase
import Support
import Testing

/// A running `mmq session`, with pipes to it.
final class SessionProcess {
    private let process: pid_t
    private var input: Int32
    private let output: Int32
    private var buffer: [UInt8] = []
    private var hasEnded = false

    /// Starts it over a model.
    init(_ model: String, scratch: String) throws {
        let (toSession, fromSession) = (try Self.pipe(), try Self.pipe())
        defer {
            close(toSession[0])
            close(fromSession[1])
        }
        process = try Command.spawn(
            [Command.binary.get(), "session", "--model", model, "--scratch", scratch]
        ) { actions in
            posix_spawn_file_actions_adddup2(&actions, toSession[0], 0)
            posix_spawn_file_actions_adddup2(&actions, fromSession[1], 1)
        }
        input = toSession[1]
        output = fromSession[0]
    }

    deinit {
        closeInput()
        close(output)
        if !hasEnded {
            kill(process, SIGKILL)
            var status: Int32 = 0
            waitpid(process, &status, 0)
        }
    }

    /// A pipe that no other process gets, whatever tests start at the same time: one that held a
    /// session's input open would keep it from ending.
    private static func pipe() throws -> [Int32] {
        var ends: [Int32] = [0, 0]
        try #require(Foundation.pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return ends
    }

    /// Writes a line.
    func send(_ line: String) throws {
        let bytes = Array((line + "\n").utf8)
        var done = 0
        while done < bytes.count {
            let written = bytes.withUnsafeBytes {
                write(input, $0.baseAddress?.advanced(by: done), bytes.count - done)
            }
            try #require(written > 0, "the session does not read")
            done += written
        }
    }

    /// Nothing more will be asked.
    func closeInput() {
        if input >= 0 { close(input) }
        input = -1
    }

    /// The next event; nil at the end of the output.
    func event() throws -> JSONValue? {
        while true {
            if let end = buffer.firstIndex(of: 0x0a) {
                let line = Array(buffer[..<end])
                buffer.removeFirst(end + 1)
                return try JSONValue(parsing: line, file: "event")
            }
            var state = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            try #require(poll(&state, 1, 120_000) > 0, "the session said nothing for two minutes")
            var part = [UInt8](repeating: 0, count: 1 << 16)
            let count = read(output, &part, part.count)
            guard count > 0 else {
                #expect(buffer.isEmpty, "an event without an end")
                return nil
            }
            buffer += part[..<count]
        }
    }

    /// The next event, which there must be.
    func anyEvent() throws -> JSONValue {
        let next = try event()
        return try #require(next, "the session has ended")
    }

    /// The next event, which is to be called `name`.
    func expect(
        _ name: String, id: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> JSONValue {
        let next = try event()
        let found = try #require(
            next, "the session ended before '\(name)'", sourceLocation: sourceLocation)
        #expect(
            found["event"]?.text == name, "\(found.jsonLine)", sourceLocation: sourceLocation)
        if let id { #expect(found["id"]?.integer == id, sourceLocation: sourceLocation) }
        return found
    }

    /// Sends a signal.
    func signal(_ number: Int32) { kill(process, number) }

    /// Waits for the end: the exit code, or a signal's number negated.
    func end() throws -> Int32 {
        var status: Int32 = 0
        for _ in 0..<60_000 {
            if waitpid(process, &status, WNOHANG) == process {
                hasEnded = true
                let signal = status & 0x7F
                return signal == 0 ? status >> 8 & 0xFF : -signal
            }
            usleep(1000)
        }
        Issue.record("the session does not end")
        return 0
    }
}
