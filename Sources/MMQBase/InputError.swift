import Foundation

/// What went wrong, and where: the one error type of mmq.
///
/// It carries the noun: which file (or what stands for one: `prompt`, `picture settings`), which
/// tensor, key, domain or module in it, where, what was expected and what was found.
public struct InputError: Error, Sendable, Equatable, CustomStringConvertible, LocalizedError {
    /// The kind of failure, for callers and tests that must tell failures apart.
    public enum Code: String, Sendable, Codable, CaseIterable {
        /// The file or folder cannot be opened or read.
        case unreadable
        /// The file ends before what its header promises.
        case truncated
        /// The first bytes are not those of the format.
        case badMagic
        /// A version (or byte order) of the format that is not supported.
        case unsupportedVersion
        /// The header is not what the format prescribes: broken JSON, wrong structure, bad UTF-8.
        case badHeader
        /// A length, count or nesting depth beyond what a sane file has.
        case tooLarge
        /// A name or key appears twice.
        case duplicate
        /// Offsets that are reversed, misaligned or past the end.
        case badOffset
        /// Two tensors share bytes.
        case overlap
        /// Bytes that belong to no tensor where the format forbids them.
        case hole
        /// Numbers whose product or sum does not fit 64 bits.
        case overflow
        /// A shape that is not the expected one, or that the byte count contradicts.
        case badShape
        /// An element type that is known but not allowed here.
        case badType
        /// An element or value type that the format does not have (or that is newer than mmq).
        case unknownType
        /// A tensor that the model needs is not there.
        case missingTensor
        /// A tensor that the model does not know.
        case extraTensor
        /// A key that is needed is not there.
        case missingKey
        /// A key's value has the wrong type or is out of range.
        case badValue
        /// An architecture or feature that mmq does not run.
        case unsupported
        /// A weight that is NaN or infinite, or does not fit the stored type.
        case nonFinite
        /// A file that must not be replaced is already there.
        case alreadyExists
        /// An output would replace a file that the same command reads.
        case outputIsInput
        /// Writing failed; a full disk, for example.
        case writeFailed
        /// The bytes contradict their own format.
        case corrupt
        /// A picture without rows or columns.
        case empty
        /// What the file holds cannot be used; `found` says why.
        case badInput
        /// What is asked for does not fit what is there: another model, another bench, a domain or
        /// a module that a study does not hold.
        case mismatch
        /// A prompt (or what was prepared from it) does not fit the model.
        case badPrompt
        /// The sequence is longer than the model's context.
        case tooLong
        /// Another process is working on the file.
        case locked
        /// The work itself failed: a full disk, a database error.
        case failed
        /// Memory that the work needs cannot be had.
        case outOfMemory

        /// Whether the work failed, while nothing is wrong with what was given.
        public var isFailure: Bool {
            switch self {
            case .writeFailed, .locked, .failed, .outOfMemory: true
            default: false
            }
        }
    }

    /// The kind of failure.
    public let code: Code
    /// The file, as the caller named it.
    public let file: String
    /// The tensor (`tensor 'x'`), key or JSON path in the file, if any.
    public let item: String?
    /// Byte offset in the file, where that helps.
    public let offset: Int?
    /// What should have been there.
    public let expected: String?
    /// What was there.
    public let found: String?
    /// Why, in the words of the system or of another error.
    public let cause: String?

    /// An error about `file`, or about `item` in it.
    public init(
        _ code: Code, file: String, item: String? = nil, offset: Int? = nil,
        expected: String? = nil, found: String? = nil, cause: String? = nil
    ) {
        self.code = code
        self.file = file
        self.item = item
        self.offset = offset
        self.expected = expected
        self.found = found
        self.cause = cause
    }

    /// An error that a sentence tells best.
    public init(
        _ code: Code, file: String, item: String? = nil, offset: Int? = nil, _ problem: String
    ) {
        self.init(code, file: file, item: item, offset: offset, found: problem)
    }

    /// The error with the file named that it is about, where it was found by code that does not
    /// know it.
    public func about(file: String) -> InputError {
        InputError(
            code, file: file, item: item, offset: offset, expected: expected, found: found,
            cause: cause)
    }

    /// Runs `work`, whose errors are about `file`.
    public static func about<T>(file: String, _ work: () throws -> T) throws -> T {
        do {
            return try work()
        } catch let error as InputError {
            throw error.about(file: file)
        }
    }

    /// What is wrong, without file and item: `expected ..., found ...`, or a sentence.
    public var problem: String {
        let facts =
            if let expected {
                "expected \(expected)" + (found.map { ", found \($0)" } ?? "")
            } else {
                [code.words, found].compactMap { $0 }.joined(separator: ": ")
            }
        return cause.map { "\(facts): \($0)" } ?? facts
    }

    /// `file: item: expected ..., found ... (at byte N)`, or `file: cannot be written: ...`.
    ///
    /// What comes from a file may be megabytes long: each part is cut, with its beginning and its
    /// end kept.
    public var description: String {
        let place = offset.map { " (at byte \($0))" } ?? ""
        return [file, item, problem].compactMap { $0.map { cut($0) } }.joined(separator: ": ")
            + place
    }

    /// The same text, for Foundation's users.
    public var errorDescription: String? { description }

    /// The error for the last failed system call.
    public static func system(_ code: Code, file: String, item: String? = nil, _ error: Int32)
        -> InputError
    {
        InputError(code, file: file, item: item, cause: String(cString: strerror(error)))
    }

    /// The prompt, or what was prepared from it, does not fit the model.
    public static func prompt(_ problem: String) -> InputError {
        InputError(.badPrompt, file: "prompt", problem)
    }

    /// A sequence of `tokens` tokens is longer than the model's context.
    public static func tooLong(tokens: Int, context: Int) -> InputError {
        InputError(
            .tooLong, file: "prompt",
            "the sequence has \(tokens) tokens, the model's context \(context)")
    }

    /// Memory for `what` cannot be had.
    public static func outOfMemory(_ what: String) -> InputError {
        InputError(.outOfMemory, file: "out of memory", what)
    }
}

extension InputError.Code {
    /// What is wrong where only the code says it; nil where `found` always does.
    fileprivate var words: String? {
        switch self {
        case .unreadable: "cannot be read"
        case .truncated: "is cut short"
        case .badMagic: "is not of this format"
        case .unsupportedVersion: "has an unsupported version"
        case .badHeader: "has a broken header"
        case .tooLarge: "is too large"
        case .duplicate: "appears twice"
        case .badOffset: "has a bad offset"
        case .overlap: "overlaps another tensor"
        case .hole: "has bytes that belong to no tensor"
        case .overflow: "has a size beyond 64 bits"
        case .badShape: "has a wrong shape"
        case .badType: "has a wrong type"
        case .unknownType: "has an unknown type"
        case .missingTensor, .missingKey: "is missing"
        case .extraTensor: "is not part of the model"
        case .badValue: "has a wrong value"
        case .unsupported: "is not supported"
        case .nonFinite: "is not finite"
        case .alreadyExists: "already exists"
        case .writeFailed: "cannot be written"
        case .outputIsInput: "is an input of the same command"
        case .corrupt: "contradicts its own format"
        case .empty: "is empty"
        case .badInput, .mismatch, .badPrompt, .tooLong, .locked, .failed, .outOfMemory: nil
        }
    }
}

/// A text of at most about `limit` UTF-8 bytes: of a longer one the beginning and the end, cut
/// between characters.
func cut(_ text: String, limit: Int = 1000) -> String {
    guard text.utf8.count > limit else { return text }
    let scalars = text.unicodeScalars
    var begin = text.utf8.index(text.startIndex, offsetBy: limit * 2 / 3)
    while begin.samePosition(in: scalars) == nil { begin = text.utf8.index(before: begin) }
    var end = text.utf8.index(text.endIndex, offsetBy: -limit / 3)
    while end.samePosition(in: scalars) == nil { end = text.utf8.index(after: end) }
    return String(scalars[..<begin]) + " ... " + String(scalars[end...])
}

/// A name from a file, quoted, cut and with control characters escaped, for error messages.
public func quoted(_ name: String) -> String { quoted(name, limit: 120, mark: "'") }

/// A text between `mark`s, cut after `limit` characters and with control characters escaped.
func quoted(_ name: String, limit: Int, mark: String) -> String {
    // Nearly every name; readers make them for every tensor, in case one is wrong.
    let isPlain = name.utf8.count <= limit && name.utf8.allSatisfy { (0x20..<0x7f).contains($0) }
    guard !isPlain else { return mark + name + mark }
    let scalars = name.unicodeScalars
    let text = shown(String(String.UnicodeScalarView(scalars.prefix(limit))), lines: false)
    return mark + text + (scalars.count > limit ? "..." : "") + mark
}

/// `tensor 'name'`, the item of errors about a tensor.
public func tensorItem(_ name: String) -> String { "tensor " + quoted(name) }

/// The product of a shape's dimensions, or nil if it does not fit an Int or a dimension is negative.
public func elementCount(_ shape: [Int]) -> Int? {
    var product = 1
    var zero = false
    for dimension in shape {
        if dimension < 0 { return nil }
        if dimension == 0 { zero = true; continue }
        let (value, overflow) = product.multipliedReportingOverflow(by: dimension)
        if overflow { return nil }
        product = value
    }
    return zero ? 0 : product
}
