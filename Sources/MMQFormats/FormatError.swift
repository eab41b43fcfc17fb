import Foundation

/// What went wrong with a file: the one error type of this module.
///
/// It carries the noun: which file, which tensor or key in it, where, what was expected and what
/// was found. The models use it too, for configurations and tensor tables.
public struct FormatError: Error, Sendable, Equatable, CustomStringConvertible, LocalizedError {
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
        /// Writing failed; a full disk, for example.
        case writeFailed
    }

    /// The kind of failure.
    public let code: Code
    /// The file, as the caller named it.
    public let file: String
    /// The tensor (`tensor 'x'`), key or JSON path in the file, if any.
    public let item: String?
    /// Byte offset in the file, where that helps.
    public let offset: UInt64?
    /// What should have been there.
    public let expected: String?
    /// What was there.
    public let found: String?

    /// An error about `file`, or about `item` in it.
    public init(
        _ code: Code, file: String, item: String? = nil, offset: UInt64? = nil,
        expected: String? = nil, found: String? = nil
    ) {
        self.code = code
        self.file = file
        self.item = item
        self.offset = offset
        self.expected = expected
        self.found = found
    }

    /// `file: item: expected ..., found ... (at byte N)`, or `file: cannot be written: ...`.
    public var description: String {
        var parts = [file]
        if let item { parts.append(item) }
        var facts: [String] = []
        if let expected {
            facts.append("expected \(expected)")
            if let found { facts.append("found \(found)") }
        } else {
            facts.append(Self.words(code) + (found.map { ": \($0)" } ?? ""))
        }
        var tail = facts.joined(separator: ", ")
        if let offset { tail += " (at byte \(offset))" }
        parts.append(tail)
        return parts.joined(separator: ": ")
    }

    /// The same text, for Foundation's users.
    public var errorDescription: String? { description }

    private static func words(_ code: Code) -> String {
        switch code {
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
        }
    }

    /// The error for the last failed system call.
    static func system(_ code: Code, file: String, item: String? = nil, _ error: Int32)
        -> FormatError
    {
        FormatError(code, file: file, item: item, found: String(cString: strerror(error)))
    }
}

/// A name from a file, quoted, cut and with control characters escaped, for error messages.
func quoted(_ name: String) -> String {
    var text = ""
    for scalar in name.unicodeScalars.prefix(120) {
        if scalar.value < 0x20 || scalar.value == 0x7f {
            text += "\\u{" + String(scalar.value, radix: 16) + "}"
        } else {
            text.unicodeScalars.append(scalar)
        }
    }
    return "'\(text)\(name.unicodeScalars.count > 120 ? "..." : "")'"
}

/// `tensor 'name'`, the item of errors about a tensor.
func tensorItem(_ name: String) -> String { "tensor " + quoted(name) }

/// The text of `bytes`, or nil if they are not UTF-8.
func strictUTF8(_ bytes: some Collection<UInt8>) -> String? {
    let text = String(decoding: bytes, as: UTF8.self)
    return text.utf8.elementsEqual(bytes) ? text : nil
}

/// The product of a shape's dimensions, or nil if it does not fit an Int or a dimension is negative.
func elementCount(_ shape: [Int]) -> Int? {
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
