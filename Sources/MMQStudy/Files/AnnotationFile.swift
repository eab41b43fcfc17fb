import Foundation
import MMQBase
import MMQFormats

/// A bench's annotation file, mapped: files of hundreds of megabytes are read in place.
///
/// Unchecked because of the pointer: the bytes are never written, and live as long as the mapping.
final class AnnotationFile: @unchecked Sendable {
    /// The file's path, for errors.
    let path: String
    /// The file's bytes.
    let bytes: UnsafeRawBufferPointer
    private let mapping: MappedFile

    init(path: String) throws {
        self.path = path
        do {
            mapping = try MappedFile(path: path)
            bytes = try mapping.bytes(at: 0, count: mapping.count)
        } catch let error as InputError {
            throw InputError(.badInput, file: path, error.problem)
        }
    }

    /// 64 bits of the contents: changes when the file does. Not a defence against an adversary.
    func contentHash() -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ UInt64(bytes.count)
        func absorb(_ word: UInt64) {
            hash = (hash ^ word) &* 0x9e37_79b9_7f4a_7c15
            hash ^= hash >> 29
        }
        let whole = bytes.count & ~7
        for offset in stride(from: 0, to: whole, by: 8) {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            absorb(UInt64(littleEndian: word))
        }
        for offset in whole..<bytes.count { absorb(UInt64(bytes[offset])) }
        return hash
    }
}

/// The text of some bytes, or nil if they are not UTF-8.
func utf8Text(_ bytes: UnsafeRawBufferPointer) -> String? {
    if bytes.allSatisfy({ $0 < 0x80 }) { return String(decoding: bytes, as: UTF8.self) }
    return String(bytes: bytes, encoding: .utf8)
}

/// Whether something lies at a path.
func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
