import CMappings
import Foundation

/// A file mapped into memory, read only, with bounds-checked slices.
///
/// The pages are shared between processes that map the same file and count as resident memory only
/// once they are touched.
public final class MappedFile: @unchecked Sendable {  // the mapping is immutable and read only
    /// The path, as the caller gave it.
    public let path: String
    /// The size in bytes.
    public let count: Int
    private let base: UnsafeRawPointer?
    /// The mapping's number where shortened files are reported, -1 for none.
    private let number: Int32

    /// From now on a mapped file that another process shortens while it is read ends this process
    /// with 1 and a message that names it, not with SIGBUS and nothing. For programs, not libraries.
    public static func reportShortenedFiles() { mappings_report_shortened("mmq: ") }

    /// Maps a whole file.
    ///
    /// - Parameter largePages: whether it is asked for by `LargePages`: for what is read from front to
    ///   back over and over. What is touched becomes resident 2 MB at a time then.
    public init(path: String, largePages: Bool = false) throws {
        let file = try InputFile(path: path)
        self.path = path
        count = file.count
        guard file.count > 0 else {
            base = nil
            number = -1
            return
        }
        guard
            let address = mmap(nil, file.count, PROT_READ, MAP_SHARED, file.descriptor, 0),
            address != MAP_FAILED
        else { throw InputError.system(.unreadable, file: path, errno) }
        if largePages { LargePages.want(address, file.count) }
        base = UnsafeRawPointer(address)
        number = mappings_add(address, file.count, path)
    }

    /// All bytes; valid as long as this object lives.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    deinit {
        mappings_remove(number)
        if let base { munmap(UnsafeMutableRawPointer(mutating: base), count) }
    }

    /// The bytes [offset, offset + count).
    ///
    /// The slice is valid as long as this object lives.
    public func bytes(at offset: Int, count: Int) throws -> UnsafeRawBufferPointer {
        guard offset >= 0, count >= 0, offset <= self.count, count <= self.count - offset else {
            throw InputError(
                .truncated, file: path, offset: max(0, offset), expected: "\(count) bytes",
                found: "\(max(0, self.count - max(0, offset)))")
        }
        guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: base + offset, count: count)
    }
}
