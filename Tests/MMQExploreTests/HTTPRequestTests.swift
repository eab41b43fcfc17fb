import Testing

@testable import MMQExplore

/// Requests are read in one way or not at all.
@Suite struct HTTPRequestTests {
    private func read(_ lines: String...) throws -> HTTPRequest {
        try HTTPRequest(head: Array(lines.joined(separator: "\r\n").utf8)[...])
    }

    @Test func whatABrowserSendsIsRead() throws {
        let request = try read(
            "POST /t0k/api/ask?name=a%20b+c%C3%A9&from=-3&flag HTTP/1.1", "Host: 127.0.0.1:80",
            "Content-Length: 12", "X-Other:\t two words \t")
        #expect(request.method == "POST")
        #expect(request.path == "/t0k/api/ask")
        #expect(request.query == ["name": "a b cé", "from": "-3", "flag": ""])
        #expect(request.headers["x-other"] == "two words")
        #expect(request.length == 12)
    }

    @Test func lineFeedsAloneEndLinesToo() throws {
        let request = try HTTPRequest(head: Array("GET / HTTP/1.0\nHost: a".utf8)[...])
        #expect(request.headers == ["host": "a"])
    }

    @Test(arguments: [
        "", "GET", "GET /", "GET / HTTP/2.0", "get / HTTP/1.1", "GET x HTTP/1.1",
        "GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET /\u{7f} HTTP/1.1", "GET /é HTTP/1.1",
        "GET http://127.0.0.1/ HTTP/1.1",
    ])
    func brokenFirstLinesAreRefused(_ line: String) {
        #expect(throws: HTTPRequest.Fault.self) { try read(line, "Host: a") }
    }

    @Test(arguments: [
        "Host a", ": a", " Host: a", "Ho st: a", "Host: a\r\nHost: b", "Host: a\r\nHOST: a",
        "Content-Length: -1", "Content-Length: 1, 1", "Content-Length: 99999999999999999999",
        "Content-Length:", "Content-Length: 0x10", "Host: a\r\n folded", "Host: a\u{0}",
    ])
    func brokenFieldsAreRefused(_ field: String) {
        #expect(throws: HTTPRequest.Fault.self) { try read("GET / HTTP/1.1", field) }
    }

    @Test func aBodyOfPartsIsNotRead() {
        #expect(throws: HTTPRequest.Fault(.notImplemented, "a body of parts")) {
            try read("POST / HTTP/1.1", "Transfer-Encoding: chunked")
        }
    }

    @Test func halfEscapesStayAsTheyAre() throws {
        #expect(
            try read("GET /?a=%4&b=%zz&c=100% HTTP/1.1").query == [
                "a": "%4", "b": "%zz", "c": "100%",
            ])
    }
}

/// Who may ask.
@Suite struct GateTests {
    private let gate = Gate(token: "0123456789abcdef", port: 4711)

    private func status(
        _ target: String, host: String? = "127.0.0.1:4711", _ fields: String...
    ) -> HTTPStatus {
        let lines = ["GET \(target) HTTP/1.1"] + (host.map { ["Host: \($0)"] } ?? []) + fields
        do {
            _ = try gate.path(
                of: HTTPRequest(head: Array(lines.joined(separator: "\r\n").utf8)[...]))
            return .ok
        } catch {
            return (error as? HTTPRequest.Fault)?.status ?? .internalError
        }
    }

    @Test func whoKnowsTheAddressComesIn() {
        #expect(status("/0123456789abcdef/") == .ok)
        #expect(status("/0123456789abcdef/api/info", host: "localhost:4711") == .ok)
        #expect(status("/0123456789abcdef/", "Origin: http://127.0.0.1:4711") == .ok)
        #expect(status("/0123456789abcdef/", "Sec-Fetch-Site: none") == .ok)
    }

    @Test(arguments: [
        "/", "//", "/0123456789abcdef", "/0123456789abcde/", "/0123456789abcdef0/",
        "/0123456789ABCDEF/", "//0123456789abcdef/", "/x/0123456789abcdef/", "/%30123456789abcdef/",
    ])
    func otherTokensArePagesThatDoNotExist(_ target: String) {
        #expect(status(target) == .notFound)
    }

    @Test(arguments: [nil, "", "evil.example", "evil.example:4711", "127.0.0.1", "127.0.0.1:4712"])
    func otherHostsAreRefused(_ host: String?) {
        #expect(status("/0123456789abcdef/", host: host) == .forbidden)
    }

    @Test(arguments: [
        "Origin: http://evil.example", "Origin: null", "Origin: http://127.0.0.1:4712",
        "Origin: https://127.0.0.1:4711", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
    ])
    func otherPagesAreRefused(_ field: String) {
        #expect(status("/0123456789abcdef/", field) == .forbidden)
    }

    @Test func tokensAreNotTheSameTwice() {
        let tokens = Set((0..<100).map { _ in Gate.newToken() })
        #expect(tokens.count == 100)
        #expect(tokens.allSatisfy { $0.count == 32 })
    }
}
