import Foundation
import MMQBase
import MMQModels
import MMQStudy

@testable import MMQExplore

extension Targets {
    /// Requests to `mmq explore`, sent through a socket: head, gate, body, and what is answered at once.
    static func http() throws -> Target {
        let model = try ModelFiles.open(folder: Golden.converted("llava-next/hub-f16", .q8_0))
            .open()
        let server = try ExploreServer(
            Explorer(
                model: model, title: "model", sets: NeuronSets(),
                bench: BenchShelf(
                    bench: Golden.folder + "/bench", split: "train", allowsOutside: false),
                surroundings: ExploreSurroundings(
                    mask: { _ in nil }, resolve: nil, commands: { _, _ in [] }, settings: [],
                    kinds: [])), port: 0)
        let gate = Gate(token: "0123", port: 80)
        let modules = model.modules
        func answer(_ connection: HTTPConnection) throws {
            let request = try connection.request()
            let path = try gate.path(of: request)
            guard path == "api/ask" else {
                return _ = try server.answer(request, to: path, connection)
            }
            // Read as it would be, not asked: what the model does with it is no parser's matter.
            let question = try ExploreQuestion(json: connection.body(of: request, atMost: 1 << 20))
            guard let document = try question.mask?.document(modules) else { return }
            _ = try NeuronMask(document: document, modules: modules, file: "mask", resolve: nil)
        }
        return Target {
            requestSeeds()
        } run: { input in
            let (connection, peer) = try pair()
            defer { close(peer) }
            // As much as the socket holds: nobody reads meanwhile.
            input.withUnsafeBytes { _ = send(peer, $0.baseAddress, min($0.count, 150_000), 0) }
            shutdown(peer, Int32(SHUT_WR))
            do {
                try answer(connection)
            } catch let fault as HTTPRequest.Fault {
                precondition(fault.problem.utf8.count < 4096)
            } catch is HTTPConnection.Lost {
            }
        }
    }

    /// A connection, and the socket at its other end.
    private static func pair() throws -> (HTTPConnection, Int32) {
        var sockets: [Int32] = [-1, -1]
        #if os(Linux)
            let kind = Int32(SOCK_STREAM.rawValue)
        #else
            let kind = SOCK_STREAM
        #endif
        guard socketpair(AF_UNIX, kind, 0, &sockets) == 0 else {
            throw CocoaError(.fileReadUnknown)
        }
        return (HTTPConnection(sockets[0]), sockets[1])
    }

    private static func requestSeeds() -> [Seed] {
        func request(_ line: String, _ body: String? = nil) -> String {
            let length = body.map { "Content-Length: \($0.utf8.count)\r\n" } ?? ""
            return "\(line) HTTP/1.1\r\nHost: 127.0.0.1:80\r\nOrigin: http://localhost:80\r\n"
                + "Sec-Fetch-Site: same-origin\r\n\(length)\r\n\(body ?? "")"
        }
        let question = #"""
            {"picture":"rs-0","prompt":"Why?","raw":false,"lens":true,"max_tokens":3,
            "keep":["mlp:lang.0"],
            "mask":{"neurons":[{"module":"lang","layer":1,"neuron":3}],"kind":"scale=0.5"}}
            """#
        let lines = [
            "GET /0123/", "GET /0123/report.js", "GET /0123/api/info",
            "GET /0123/api/samples?domain=rs&from=0", "GET /0123/api/picture?id=rs-1",
            "GET /0123/api/neuron?pass=1&module=lang&layer=0&neuron=3",
            "GET /0123/api/position?pass=1&module=lang&position=%31",
        ]
        return lines.enumerated().map { Seed("get-\($0)", text: request($1)) } + [
            Seed("ask", text: request("POST /0123/api/ask", question)),
            Seed(
                "ask-setting",
                text: request(
                    "POST /0123/api/ask",
                    #"{"picture":"rs-0","prompt":"Why?","mask":"lang@rs:mean"}"#)),
            Seed("picture", text: request("POST /0123/api/pictures?name=a.png", "\u{89}PNG")),
            Seed("bare", text: "GET / HTTP/1.0\nhost: a\n\n"),
        ]
    }

    /// Lines of a session's input, as they come out of a descriptor.
    static func session() throws -> Target {
        let path = Scratch.path("session")
        let lines = [
            #"{"op":"run","id":1,"image":"a.png","prompt":"Why?","max_tokens":3}"#,
            #"{"op":"run","id":"a","image":"a.png","prompt":"p","raw":true,"temperature":0.5,"top_k":3,"top_p":0.9,"seed":4,"sites":["mlp"],"dtype":"f16","stream":true,"study":"s"}"#,
            #"{"op":"run","id":2,"image":"a","prompt":"p","mask":{"lang":[[1],[]]},"lens":{"top":3,"part":"mlp","all_rows":true}}"#,
            #"{"op":"cancel","id":1}"#, #"{"op":"info"}"#, #"{"op":"end"}"#,
        ]
        return Target {
            lines.enumerated().map { Seed("line-\($0)", text: $1 + "\n") }
                + [Seed("all", text: lines.joined(separator: "\r\n\n"))]
        } run: { input in
            try Scratch.write(input, to: path)
            let descriptor = open(path, O_RDONLY)
            guard descriptor >= 0 else { throw CocoaError(.fileReadUnknown) }
            defer { close(descriptor) }
            var session = SessionInput(descriptor: descriptor)
            while let line = session.next() {
                guard case .bytes(let bytes) = line else { continue }
                do {
                    _ = try SessionRequest(line: bytes)
                } catch let refused as RefusedRequest {
                    check(refused.error)
                }
            }
        }
    }
}
