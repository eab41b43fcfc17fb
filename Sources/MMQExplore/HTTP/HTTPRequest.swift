/// A request without its body.
struct HTTPRequest: Equatable {
    /// `GET` or `POST`, say.
    let method: String
    /// The path as it was sent: nothing decoded, nothing folded.
    let path: String
    /// What follows `?`, decoded.
    let query: [String: String]
    /// Header fields, names in small letters.
    let headers: [String: String]
    /// Bytes that follow.
    let length: Int

    /// Why a request is not read, as a status.
    struct Fault: Error, Equatable {
        let status: HTTPStatus
        let problem: String

        init(_ status: HTTPStatus, _ problem: String) {
            self.status = status
            self.problem = problem
        }
    }

    /// Reads the lines before a body (RFC 9112), without the empty line that ends them. What two
    /// programs could read in two ways is refused: folded lines, a field twice, a body of parts.
    ///
    /// - Throws: `Fault`.
    init(head: ArraySlice<UInt8>) throws {
        guard !head.contains(0), head.allSatisfy({ $0 < 0x7f }) else { throw Self.broken("head") }
        let text = String(decoding: head, as: UTF8.self)
        // Not by Characters: a line feed behind a carriage return is one of those with it.
        var lines = text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false)
            .map { Substring($0.last == 0x0D ? $0.dropLast() : $0) }
        let words = lines.removeFirst()
            .split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[2] == "HTTP/1.1" || words[2] == "HTTP/1.0",
            words[1].hasPrefix("/"), words[1].utf8.allSatisfy({ $0 > 0x20 }),
            !words[0].isEmpty, words[0].utf8.allSatisfy({ (0x41...0x5a).contains($0) })
        else { throw Self.broken("first line") }
        method = String(words[0])
        let target = words[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(target[0])
        query = Self.query(target.count > 1 ? target[1] : "")

        var headers: [String: String] = [:]
        for line in lines {
            guard let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
                line[..<colon].utf8.allSatisfy(Self.isNameByte)
            else { throw Self.broken("header field") }
            let name = line[..<colon].lowercased()
            let value = line[line.index(after: colon)...].trimming { $0 == " " || $0 == "\t" }
            guard headers.updateValue(String(value), forKey: name) == nil else {
                throw Self.broken("field that is there twice")
            }
        }
        guard headers["transfer-encoding"] == nil else {
            throw Fault(.notImplemented, "a body of parts")
        }
        self.headers = headers
        guard let length = headers["content-length"] else {
            self.length = 0
            return
        }
        guard (1...15).contains(length.utf8.count),
            length.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(length)
        else { throw Self.broken("length") }
        self.length = number
    }

    private static func broken(_ what: String) -> Fault { Fault(.badRequest, "a broken \(what)") }

    /// What a field's name may be made of (RFC 9110, token).
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    private static func query(_ text: Substring) -> [String: String] {
        var query: [String: String] = [:]
        for part in text.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            query[decoded(pair[0])] = pair.count > 1 ? decoded(pair[1]) : ""
        }
        return query
    }

    /// `%20` and `+` are spaces; what is no such escape stays.
    private static func decoded(_ text: Substring) -> String {
        let given = Array(text.utf8)
        var bytes: [UInt8] = []
        var at = 0
        while at < given.count {
            if given[at] == UInt8(ascii: "%"), at + 2 < given.count,
                let high = digit(given[at + 1]), let low = digit(given[at + 2])
            {
                bytes.append(high << 4 | low)
                at += 3
            } else {
                bytes.append(given[at] == UInt8(ascii: "+") ? 0x20 : given[at])
                at += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        UnicodeScalar(byte).properties.isASCIIHexDigit
            ? UInt8(String(UnicodeScalar(byte)), radix: 16) : nil
    }
}

extension Substring {
    fileprivate func trimming(_ isBlank: (Character) -> Bool) -> Substring {
        var rest = self
        while let first = rest.first, isBlank(first) { rest.removeFirst() }
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return rest
    }
}

/// The statuses that are told.
enum HTTPStatus: Int {
    case ok = 200
    case badRequest = 400
    case forbidden = 403
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case conflict = 409
    case tooLarge = 413
    case headTooLarge = 431
    case internalError = 500
    case notImplemented = 501
    case busy = 503

    var phrase: String {
        switch self {
        case .ok: "OK"
        case .badRequest: "Bad Request"
        case .forbidden: "Forbidden"
        case .notFound: "Not Found"
        case .methodNotAllowed: "Method Not Allowed"
        case .requestTimeout: "Request Timeout"
        case .conflict: "Conflict"
        case .tooLarge: "Content Too Large"
        case .headTooLarge: "Request Header Fields Too Large"
        case .internalError: "Internal Server Error"
        case .notImplemented: "Not Implemented"
        case .busy: "Service Unavailable"
        }
    }
}
