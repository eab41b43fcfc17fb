import Foundation
import MMQBase
import MMQReport

/// A page on this machine alone, about one model.
public struct ExploreServer: Sendable {
    /// The largest picture, and the longest request.
    private static let largestPicture = 64 << 20
    private static let longestRequest = 1 << 20

    private let explorer: Explorer
    private let listener: HTTPListener
    private let gate: Gate

    /// Listens.
    ///
    /// - Parameter port: the port of 127.0.0.1; 0 for any that is free.
    /// - Throws: `InputError` if the port cannot be had.
    public init(_ explorer: Explorer, port: UInt16) throws {
        self.explorer = explorer
        listener = try HTTPListener(port: port)
        gate = Gate(token: Gate.newToken(), port: listener.port)
    }

    /// The page's address, which only who is told it can open.
    public var address: String { "http://127.0.0.1:\(listener.port)/\(gate.token)/" }

    /// Answers until the process ends.
    public func run() -> Never {
        listener.run { connection in
            // A peer that is gone is not waited for, and nobody is there to be told.
            guard (try? serve(connection)) != nil else { return }
            connection.finish()
        }
    }

    private func serve(_ connection: HTTPConnection) throws {
        let response: HTTPResponse
        do {
            let request = try connection.request()
            response = try answer(request, to: gate.path(of: request), connection)
        } catch let lost as HTTPConnection.Lost {
            throw lost
        } catch let fault as HTTPRequest.Fault {
            response = Self.problem(fault.status, fault.problem)
        } catch let error as InputError {
            response = Self.problem(
                error.code.isFailure ? .internalError : .badRequest, "\(error)")
        } catch {
            response = Self.problem(.internalError, "\(error)")
        }
        try response.send(to: connection)
    }

    /// What a request that came through the gate is answered; a question waits for the model behind it.
    func answer(
        _ request: HTTPRequest, to path: String, _ connection: HTTPConnection
    ) throws -> HTTPResponse {
        switch (request.method, path) {
        case ("GET", "api/info"): return Self.json(explorer.description())
        case ("GET", "api/samples"):
            return Self.json(
                try explorer.samples(
                    domain: request.text("domain"), from: request.number("from")))
        case ("GET", "api/picture"):
            let picture = try explorer.pictures.picture(request.text("id")).shown
            return HTTPResponse(
                status: .ok, type: picture.type, body: .bytes([UInt8](picture.data)))
        case ("GET", "api/neuron"):
            let found = try explorer.neuron(
                request.number("neuron"), layer: request.number("layer"),
                module: request.text("module"), pass: request.text("pass"))
            guard let found else {
                throw HTTPRequest.Fault(.conflict, "this pass did not keep the neuron's layer")
            }
            return Self.json(found)
        case ("GET", "api/position"):
            return Self.json(
                try explorer.firing(
                    at: request.number("position"), module: request.text("module"),
                    pass: request.text("pass")))
        case ("POST", "api/pictures"):
            let name = try String(request.text("name").prefix(200))
            let bytes = try connection.body(of: request, atMost: Self.largestPicture)
            return Self.json(try explorer.take(bytes, name: name))
        case ("POST", "api/ask"):
            let body = try connection.body(of: request, atMost: Self.longestRequest)
            let events = try explorer.ask(ExploreQuestion(json: body))
            return HTTPResponse(
                status: .ok, type: "application/x-ndjson", body: .events(events))
        case ("GET", _):
            guard let (bytes, type) = Self.page(path) else {
                throw HTTPRequest.Fault(.notFound, "no such page")
            }
            return HTTPResponse(status: .ok, type: type, body: .bytes(bytes))
        default: throw HTTPRequest.Fault(.methodNotAllowed, "nothing to do")
        }
    }

    /// The page's own files.
    private static func page(_ path: String) -> (bytes: [UInt8], type: String)? {
        switch path {
        case "": (PackageResources.explore_html, "text/html; charset=utf-8")
        case "report.css": (ReportResources.styles, "text/css; charset=utf-8")
        case "report.js": (ReportResources.script, "text/javascript; charset=utf-8")
        case "explore.css": (PackageResources.explore_css, "text/css; charset=utf-8")
        case "explore.js": (PackageResources.explore_js, "text/javascript; charset=utf-8")
        case "icon.svg": (PackageResources.icon_svg, "image/svg+xml")
        default: nil
        }
    }

    private static func json(_ value: JSONValue, _ status: HTTPStatus = .ok) -> HTTPResponse {
        HTTPResponse(
            status: status, type: "application/json", body: .bytes(Array(value.jsonLine.utf8)))
    }

    private static func problem(_ status: HTTPStatus, _ problem: String) -> HTTPResponse {
        json(.object(JSONObject([("error", .string(problem))])), status)
    }
}

extension HTTPRequest {
    /// A text in the address.
    fileprivate func text(_ name: String) throws -> String {
        guard let value = query[name] else {
            throw InputError(.missingKey, file: "request", item: "'\(name)'", expected: "it")
        }
        return value
    }

    /// A whole number in the address.
    fileprivate func number(_ name: String) throws -> Int {
        let text = try text(name)
        guard let number = Int(text) else {
            throw InputError(
                .badValue, file: "request", item: "'\(name)'", expected: "a whole number",
                found: quoted(text))
        }
        return number
    }
}
