import Foundation

/// What is answered.
struct HTTPResponse {
    enum Body {
        case bytes([UInt8])
        case events(EventStream)
    }

    let status: HTTPStatus
    let type: String
    let body: Body

    private static let policy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob:",
        "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")

    /// Sends it. Nothing from elsewhere, nothing kept, no address told to anybody.
    ///
    /// - Throws: `HTTPConnection.Lost`.
    func send(to connection: HTTPConnection) throws {
        var lines = [
            "HTTP/1.1 \(status.rawValue) \(status.phrase)", "Connection: close",
            "Content-Type: \(type)", "Cache-Control: no-store",
            "Content-Security-Policy: \(Self.policy)", "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer", "Cross-Origin-Opener-Policy: same-origin",
            "Cross-Origin-Resource-Policy: same-origin", "X-Frame-Options: DENY",
        ]
        if case .bytes(let bytes) = body { lines.append("Content-Length: \(bytes.count)") }
        try connection.write(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8))
        switch body {
        case .bytes(let bytes): try connection.write(bytes)
        case .events(let events): try events.send(to: connection)
        }
    }
}
