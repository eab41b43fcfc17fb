/// What went wrong with a bench, a study file or a run, and where.
///
/// One type for the whole module. `kind` decides the exit code: what the user gave is at fault, or
/// the work failed.
public struct StudyError: Error, Equatable, CustomStringConvertible, Sendable {
    /// What sort of failure this is.
    public enum Kind: Sendable, Equatable {
        /// A file that cannot be read, or does not hold what it should.
        case badInput
        /// What is asked for does not fit the study: another model, another bench, a domain or a
        /// module that it does not hold.
        case mismatch
        /// Another process is working on this study.
        case locked
        /// The work itself failed: a full disk, a database error.
        case failed
    }

    /// What sort of failure this is.
    public let kind: Kind
    /// The file concerned.
    public let file: String
    /// The column, JSON key, domain or module concerned.
    public let key: String?
    /// Byte offset, line or sample number; `problem` says which where it is not a byte offset.
    public let offset: Int?
    /// What is wrong: what was expected and what was found.
    public let problem: String

    /// A failure at a place in a file.
    public init(
        _ kind: Kind, file: String, key: String? = nil, offset: Int? = nil, _ problem: String
    ) {
        self.kind = kind
        self.file = file
        self.key = key
        self.offset = offset
        self.problem = problem
    }

    /// One sentence naming file, key and offset.
    public var description: String {
        var place = file
        if let key { place += ": \(key)" }
        if let offset { place += " (byte \(offset))" }
        return "\(place): \(problem)"
    }
}
