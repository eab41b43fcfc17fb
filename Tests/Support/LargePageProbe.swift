import Foundation

/// What the kernel says of pages of 2 MB under mapped files.
public enum LargePageProbe {
    /// Why a test that needs such pages did not run.
    public static let notRun =
        "NOT RUN: this kernel, or this file system, has no pages of 2 MB for files"

    /// How many bytes of the mappings of a file have such pages, once all of `bytes` was read.
    public static func bytes(of path: String, after bytes: UnsafeRawBufferPointer) throws -> Int {
        let touched = stride(from: 0, to: bytes.count, by: 4096).reduce(0) { $0 &+ Int(bytes[$1]) }
        // `String(contentsOfFile:)` ends where the first read of such a file does.
        let file = FileHandle(forReadingAtPath: "/proc/self/smaps")
        guard touched > 0, let maps = try file?.readToEnd() else { return 0 }
        var isOfFile = false
        var kilobytes = 0
        for line in String(decoding: maps, as: UTF8.self).split(separator: "\n") {
            // A mapping's first line ends with its file, those below begin with a name.
            if line.contains("-"), line.contains("/") { isOfFile = line.hasSuffix(" " + path) }
            if isOfFile, line.hasPrefix("FilePmdMapped:") {
                kilobytes += line.split(separator: " ").compactMap { Int($0) }.first ?? 0
            }
        }
        return kilobytes * 1024
    }

    /// Puts a file out of memory, so that it is read from the disk again.
    public static func forget(_ path: String) -> Bool {
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        #if os(Linux)
            return fsync(descriptor) == 0
                && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0
        #else
            return false
        #endif
    }

    /// Whether a file that is written at once is mapped so, by what no code of mmq takes part in.
    public static let kernelMapsFiles: Bool = {
        #if os(Linux)
            guard let folder = try? TemporaryFolder() else { return false }
            let (path, size) = (folder("whole"), 8 << 20)
            let descriptor = open(path, O_RDWR | O_CREAT, 0o600)
            defer { close(descriptor) }
            guard pwrite(descriptor, [UInt8](repeating: 1, count: size), size, 0) == size,
                let base = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0),
                base != MAP_FAILED
            else { return false }
            defer { munmap(base, size) }
            madvise(base, size, MADV_HUGEPAGE)
            let mapped = UnsafeRawBufferPointer(start: base, count: size)
            return (try? bytes(of: path, after: mapped)) ?? 0 > 0
        #else
            return false
        #endif
    }()
}
