/// What went wrong with a picture or with the settings of a picture processor.
public struct ImageError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure.
    public enum Code: String, Sendable, Equatable {
        /// The file cannot be read at all.
        case unreadable
        /// The bytes are no picture.
        case notAPicture
        /// A picture, or a setting, of a kind that is not supported.
        case unsupported
        /// The file ends before its picture does.
        case truncated
        /// The file contradicts its own format.
        case corrupt
        /// No rows or no columns.
        case empty
        /// More pixels than are allowed.
        case tooLarge
        /// Memory ran out.
        case outOfMemory
        /// A setting is not there.
        case missingKey
        /// A setting has a value that cannot be used.
        case wrongValue
    }

    /// The kind of failure.
    public let code: Code
    /// Path or name of the file.
    public let file: String
    /// The setting's key, with dots between levels.
    public let key: String?
    /// How far into the file reading had come, in bytes.
    public let offsetBytes: Int?
    /// What would have been right.
    public let expected: String?
    /// What was there.
    public let found: String

    /// A failure at a place in a file.
    public init(
        _ code: Code, file: String, key: String? = nil, offsetBytes: Int? = nil,
        expected: String? = nil, found: String
    ) {
        self.code = code
        self.file = file
        self.key = key
        self.offsetBytes = offsetBytes
        self.expected = expected
        self.found = found
    }

    /// One line for people: file, place, what was found, what was expected.
    public var description: String {
        var text = file
        if let key { text += ": \(key)" }
        if let offsetBytes { text += ": byte \(offsetBytes)" }
        text += ": \(found)"
        if let expected { text += " (expected \(expected))" }
        return text
    }
}
