import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

/// `mmq explore`'s server: who is let in, what is told, and that it is the same as other commands'.
@Suite struct ExploreTests {
    /// A running server over a model.
    private final class Server {
        let address: String
        let process: pid_t

        init(_ arguments: [String], in folder: TemporaryFolder) throws {
            let output = folder("address")
            process = try Command.spawn([Command.binary.get(), "explore"] + arguments) { actions in
                posix_spawn_file_actions_addopen(
                    &actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            }
            var text = ""
            let end = Date(timeIntervalSinceNow: 120)
            while !text.hasSuffix("\n"), Date() < end {
                usleep(10_000)
                text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
            }
            address = String(text.dropLast())
        }

        deinit {
            kill(process, SIGKILL)
            var status: Int32 = 0
            waitpid(process, &status, 0)
        }

        var port: UInt16 {
            UInt16(address.split(separator: ":").last?.prefix { $0 != "/" } ?? "") ?? 0
        }
        var path: String { "/" + address.split(separator: "/")[2] + "/" }

        /// Connects, sends bytes and reads to the end; `stop` closes after as many bytes.
        func raw(_ bytes: [UInt8], stopAfter limit: Int = .max) throws -> [UInt8] {
            #if os(Linux)
                let peer = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            #else
                let peer = socket(AF_INET, SOCK_STREAM, 0)
            #endif
            defer { close(peer) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            address.sin_port = port.bigEndian
            let isConnected = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(peer, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            try #require(isConnected, "nobody listens")
            // What the server does not want to read it does not wait for.
            _ = bytes.withUnsafeBytes { send(peer, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            var answer: [UInt8] = []
            var part = [UInt8](repeating: 0, count: 1 << 16)
            while answer.count < limit {
                let count = recv(peer, &part, part.count, 0)
                guard count > 0 else { break }
                answer += part[..<count]
            }
            return answer
        }

        /// A request's status and body.
        func ask(
            _ method: String, _ target: String, _ fields: [String] = [], body: [UInt8] = []
        ) throws -> (status: Int, body: [UInt8]) {
            var lines = ["\(method) \(path)\(target) HTTP/1.1", "Host: 127.0.0.1:\(port)"] + fields
            if !body.isEmpty { lines.append("Content-Length: \(body.count)") }
            let answer = try raw(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body)
            let head = String(decoding: answer.prefix(12), as: UTF8.self)
            let end = Data(answer).range(of: Data("\r\n\r\n".utf8))?.upperBound ?? 0
            return (Int(head.dropFirst(9)) ?? 0, Array(answer[end...]))
        }

        /// The events of an answer.
        func events(_ question: String) throws -> [JSONValue] {
            let (status, body) = try ask("POST", "api/ask", body: Array(question.utf8))
            try #require(status == 200, "\(String(decoding: body, as: UTF8.self))")
            return try body.split(separator: 0x0A).map {
                try JSONValue(parsing: Array($0), file: "event")
            }
        }
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private func started(_ golden: GoldenModel, in folder: TemporaryFolder, _ more: [String] = [])
        throws -> (server: Server, model: String)
    {
        let model = try golden.convert(in: folder)
        let server = try Server(["--model", model, "--bench", goldenBench] + more, in: folder)
        try #require(server.address.hasPrefix("http://127.0.0.1:"))
        return (server, model)
    }

    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func answersAndActivationsAreThoseOfOtherCommands(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let (server, model) = try started(golden, in: folder)
        let picture = try Data(contentsOf: URL(fileURLWithPath: golden.picture()))
        let (status, body) = try server.ask(
            "POST", "api/pictures?name=p.png", body: [UInt8](picture))
        try #require(status == 200)
        let taken = try JSONValue(parsing: body, file: "body")
        let name = try #require(taken["picture"]?.text)
        let prompt = jsonString(golden.prompt)
        let events = try server.events(
            #"{"picture": "\#(name)", "prompt": \#(prompt), "raw": true, "max_tokens": 4, "lens": true}"#
        )
        let done = try #require(events.first { $0["event"]?.text == "done" })
        let asked = try expectExit(
            0,
            [
                "ask", "--model", model, "--image", golden.picture(), "--raw-prompt",
                "--max-tokens",
                "4", "--json", golden.prompt,
            ])
        #expect(try asked.object()["text"] as? String == done["text"]?.text)
        #expect(events.last?["event"]?.text == "lens")
        let told = events.filter { $0["event"]?.text == "candidates" }
        #expect(told.count == events.count { $0["event"]?.text == "token" })
        let sum = told.first?["words"]?.array?.compactMap { $0["probability"]?.double }.reduce(0, +)
        #expect((0.0...1.000001).contains(sum ?? -1))

        // A small model's activations are all kept: those of a trace, to the bit.
        try expectExit(0, golden.trace(model, to: folder("trace"), sites: "mlp"))
        let trace = try SafetensorsFile(path: folder("trace"))
        let pass = try #require(done["pass"]?.text)
        for tensor in trace.tensors {
            let site = tensor.name
            let parts = site.dropFirst(4).split(separator: ".")
            let (status, body) = try server.ask(
                "GET", "api/neuron?pass=\(pass)&module=\(parts[0])&layer=\(parts[1])&neuron=3")
            #expect(status == 200, "\(site): \(text(body))")
            let values = try JSONValue(parsing: body, file: "body")["values"]?.array ?? []
            let all = try trace.floats(site)
            let expected = stride(from: 3, to: all.count, by: tensor.shape[1]).map { all[$0] }
            // The decoder's rows go on with the answer's tokens.
            #expect(values.count >= expected.count, "\(site)")
            #expect(
                zip(values, expected).allSatisfy { $0.double.map(Float.init) == $1 }, "\(site)")
        }
    }

    @Test func strangersAreNotLetIn() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try started(.llava, in: folder)
        #expect(try server.ask("GET", "").status == 200)
        #expect(try server.ask("GET", "api/info", ["Origin: http://evil.example"]).status == 403)
        #expect(try server.ask("GET", "api/info", ["Sec-Fetch-Site: cross-site"]).status == 403)
        for head in [
            "GET \(server.path) HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET \(server.path) HTTP/1.1\r\n\r\n",
        ] {
            #expect(try text(server.raw(Array(head.utf8))).hasPrefix("HTTP/1.1 403 "))
        }
        let other = "GET /0/ HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n\r\n"
        #expect(try text(server.raw(Array(other.utf8))).hasPrefix("HTTP/1.1 404 "))
        #expect(try server.ask("OPTIONS", "api/ask").status == 405)
        #expect(try server.ask("GET", "../explore.html").status == 404)
    }

    @Test func brokenAndLongRequestsAreTold() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try started(.llava, in: folder)
        #expect(try server.ask("GET", "api/neuron?pass=1").status == 400)
        #expect(try server.ask("GET", "api/picture?id=rs-999999").status == 400)
        #expect(try server.ask("GET", "api/samples?domain=..&from=0").status == 400)
        #expect(try server.ask("POST", "api/ask", body: Array("{".utf8)).status == 400)
        #expect(try server.ask("POST", "api/pictures?name=x", body: [1, 2, 3]).status == 400)
        #expect(
            try server.ask("POST", "api/ask", ["Content-Length: 999999999999"]).status == 413)
        // One line without an end, as long as it is taken.
        let endless = Array(repeating: UInt8(ascii: "A"), count: 1 << 20)
        #expect(try text(server.raw(endless)).hasPrefix("HTTP/1.1 431 "))
        let error = try server.ask("POST", "api/ask", body: Array("[1]".utf8))
        #expect(text(error.body).contains("a JSON object"))
        #expect(
            try server.events(#"{"picture": "none", "prompt": "x"}"#).last?["event"]?.text
                == "error")
        #expect(try server.ask("GET", "api/info").status == 200)
    }

    @Test func aPageThatIsLeftStopsItsWork() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try started(.llava, in: folder)
        let question = Array(
            #"{"picture": "rs-0", "prompt": "Why?", "max_tokens": 1024, "lens": true}"#.utf8)
        let head = Array(
            ("POST \(server.path)api/ask HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n"
                + "Content-Length: \(question.count)\r\n\r\n").utf8)
        for _ in 0..<30 { _ = try server.raw(head + question, stopAfter: 1) }
        // None of them is waited for, once it is noticed. Sixteen may wait: the others were told.
        let last = Array(#"{"picture": "rs-0", "prompt": "Why?", "max_tokens": 1}"#.utf8)
        let clock = ContinuousClock()
        let end = clock.now + .seconds(60)
        var status = 503
        while status == 503, clock.now < end {
            status = try server.ask("POST", "api/ask", body: last).status
        }
        #expect(status == 200)
        #expect(clock.now < end)
    }

    @Test func aStudysSettingsAreOffered() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let study = folder("study.sqlite")
        try expectExit(
            0,
            [
                "activation", "--model", model, "--bench", goldenBench, "--study", study,
                "--domain",
                "rs,com",
            ])
        try expectExit(0, ["identify", "--study", study, "--top-rate", "0.2"])
        let before = try Data(contentsOf: URL(fileURLWithPath: study))
        let server = try Server(
            ["--model", model, "--bench", goldenBench, "--study", study], in: folder)
        let info = try JSONValue(parsing: server.ask("GET", "api/info").body, file: "info")
        let settings = info["settings"]?.array?.compactMap(\.text) ?? []
        #expect(settings.contains("lang@rs") && settings.contains("all@com"))
        let events = try server.events(
            #"{"picture": "rs-0", "prompt": "Why?", "max_tokens": 3, "mask": "all@rs"}"#)
        let done = try #require(events.last)
        let command = try #require(done["commands"]?.array?.first?.text)
        #expect(command.contains("--mask 'all@rs' --study \(study)"))
        let (status, body) = try server.ask(
            "GET", "api/position?pass=\(done["pass"]?.text ?? "")&module=lang&position=1")
        #expect(status == 200 && text(body).hasPrefix("["))
        #expect(try Data(contentsOf: URL(fileURLWithPath: study)) == before)
    }

    /// The page copies them for a terminal, and a question may be a bench's.
    @Test func commandsHoldNothingThatATerminalObeys() throws {
        let folder = try TemporaryFolder()
        let (server, _) = try started(.llava, in: folder)
        let prompt = "it's\u{1b}[201~\u{3}\\x41 \u{9b}\u{202e}\n\twhy"
        let events = try server.events(
            "{\"picture\": \"rs-0\", \"prompt\": \(jsonString(prompt)), \"max_tokens\": 1}")
        let command = try #require(events.last?["commands"]?.array?.last?.text)
        #expect(!command.unicodeScalars.contains { $0.isUnruly }, "\(command.debugDescription)")
        // It is still the same word to a shell.
        let script = "mmq() { for word; do :; done; printf %s \"$word\"; }; " + command
        #expect(try Command.shell("bash -c \"$2\"", [script]).output == prompt)
    }

    @Test func aPortThatIsTakenIsSaid() throws {
        let folder = try TemporaryFolder()
        let (server, model) = try started(.llava, in: folder)
        let result = try expectExit(
            1, ["explore", "--model", model, "--port", String(server.port)])
        #expect(result.errors.contains("127.0.0.1:\(server.port)"))
    }
}
