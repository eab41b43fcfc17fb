import Foundation

/// Why a tokenizer could not be read or built.
///
/// The one error type of this module: it names the file, the key or place inside it, the byte
/// offset where one is known, what was expected and what was found.
public struct TextError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file, or what stands for it (`tokenizer tables`) when the data came from elsewhere.
    public var file: String
    /// The key or place inside the file, `model.merges[17]` for example.
    public var key: String
    /// Offset in bytes from the start of the file, where one is known.
    public var offset: Int?
    /// What would have been right.
    public var expected: String
    /// What was there.
    public var found: String

    /// Names what is wrong in `file` at `key`.
    public init(file: String, key: String, offset: Int? = nil, expected: String, found: String) {
        self.file = file
        self.key = key
        self.offset = offset
        self.expected = expected
        self.found = found
    }

    /// One line for people.
    public var description: String {
        let place = offset.map { " at byte \($0)" } ?? ""
        return "\(file): \(key)\(place): expected \(expected), found \(found)"
    }
}
