import MMQBase

/// Who may ask: who knows the address that was printed, from a page that came from here.
///
/// Any page that a browser shows may send requests to 127.0.0.1, and a name that its owner points
/// there (DNS rebinding) makes such a page look like one of ours: so the token is in the path, the
/// host must be ours, and a request that says which page it comes from must come from ours.
struct Gate: Sendable {
    /// The first part of every path.
    let token: String
    /// The port that is listened at.
    let port: UInt16

    private var hosts: [String] { ["127.0.0.1:\(port)", "localhost:\(port)"] }

    /// What follows the token in the path, without a slash before it.
    ///
    /// - Throws: `HTTPRequest.Fault`. A wrong token is a page that does not exist: nothing is said
    ///   of it.
    func path(of request: HTTPRequest) throws -> String {
        guard let host = request.headers["host"]?.lowercased(), hosts.contains(host) else {
            throw HTTPRequest.Fault(.forbidden, "this is another host's page")
        }
        let parts = request.path.split(
            separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty, isToken(parts[1]) else {
            throw HTTPRequest.Fault(.notFound, "no such page")
        }
        let elsewhere = HTTPRequest.Fault(.forbidden, "asked from another page")
        if let origin = request.headers["origin"]?.lowercased() {
            guard hosts.contains(where: { origin == "http://" + $0 }) else { throw elsewhere }
        }
        // Sent by browsers: a page of another site may not even embed our pictures.
        if let site = request.headers["sec-fetch-site"]?.lowercased() {
            guard site == "same-origin" || site == "none" else { throw elsewhere }
        }
        return String(parts[2])
    }

    /// Compares all bytes whatever they are: how long it takes says nothing.
    private func isToken(_ text: Substring) -> Bool {
        let (given, own) = (Array(text.utf8), Array(token.utf8))
        guard given.count == own.count else { return false }
        return zip(given, own).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// 128 random bits in hexadecimal.
    static func newToken() -> String {
        var random = SystemRandomNumberGenerator()
        return (0..<2).map { _ in
            var half = StableHash()
            half.value = random.next()
            return half.digits
        }.joined()
    }
}
