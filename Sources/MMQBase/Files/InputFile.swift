import Foundation

/// A file opened for reading at any offset; every read is checked against the file's size.
///
/// Reads go through `pread`, so they count as no resident memory and a file that shrinks while it
/// is read gives an error instead of a crash.
public final class InputFile: Sendable {
    /// The path, as the caller gave it.
    public let path: String
    /// The size in bytes when the file was opened.
    public let count: Int
    let descriptor: Int32

    /// Opens a regular file.
    public init(path: String) throws {
        self.path = path
        // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw errno == ENOENT
                ? InputError(.unreadable, file: path, cause: "no such file")
                : InputError.system(.unreadable, file: path, errno)
        }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else {
            let error = errno
            close(descriptor)
            throw InputError.system(.unreadable, file: path, error)
        }
        guard info.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw InputError(
                .unreadable, file: path, expected: "a file",
                found: info.st_mode & S_IFMT == S_IFDIR ? "a folder" : "a pipe or a device")
        }
        InputLedger.add(path, info)
        self.descriptor = descriptor
        count = Int(info.st_size)
    }

    deinit { close(descriptor) }

    /// Fills `buffer` with the bytes from `offset` on.
    public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard offset >= 0, offset <= count, buffer.count <= count - offset else {
            throw InputError(
                .truncated, file: path, offset: max(0, offset),
                expected: "\(buffer.count) bytes", found: "\(max(0, count - max(0, offset)))")
        }
        guard let base = buffer.baseAddress else { return }
        var done = 0
        while done < buffer.count {
            let got = pread(descriptor, base + done, buffer.count - done, off_t(offset + done))
            if got > 0 {
                done += got
            } else if got == 0 {
                throw InputError(
                    .truncated, file: path, offset: offset + done,
                    expected: "\(buffer.count - done) more bytes", found: "the end of the file")
            } else if errno != EINTR {
                throw InputError.system(.unreadable, file: path, errno)
            }
        }
    }

    /// The `count` bytes from `offset` on.
    public func bytes(at offset: Int, count: Int) throws -> [UInt8] {
        guard count >= 0, offset >= 0, offset <= self.count, count <= self.count - offset else {
            throw InputError(
                .truncated, file: path, offset: max(0, offset), expected: "\(count) bytes",
                found: "\(max(0, self.count - max(0, offset)))")
        }
        return try [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            try read(
                at: offset,
                into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
            used = count
        }
    }
}

/// A small text file (a configuration, an index), whole.
///
/// - Throws: `InputError` if it cannot be read or is larger than `limit` bytes.
public func readSmallFile(_ path: String, limit: Int = 64 << 20) throws -> [UInt8] {
    let file = try InputFile(path: path)
    guard file.count <= limit else {
        throw InputError(
            .tooLarge, file: path, expected: "at most \(limit) bytes", found: "\(file.count)")
    }
    return try file.bytes(at: 0, count: file.count)
}

/// Whether a path leads to a regular file, through links if need be: no folder, pipe or device.
public func isRegularFile(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
}

/// What lies at a path.
public enum FileKind: Sendable {
    /// A regular file.
    case regular
    /// A link, wherever it leads.
    case link
    /// A folder, a pipe, a device, or nothing that can be looked at.
    case other

    /// Looks once.
    public init(of path: String) {
        var info = stat()
        guard lstat(path, &info) == 0 else {
            self = .other
            return
        }
        switch info.st_mode & S_IFMT {
        case S_IFREG: self = .regular
        case S_IFLNK: self = .link
        default: self = .other
        }
    }
}

/// Whether a path is itself a link, wherever it leads.
public func isLink(_ path: String) -> Bool { FileKind(of: path) == .link }

/// The absolute path without links; nil if nothing lies there.
public func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// Where a path leads that is a link, or a link to one; the path itself if it is none. Nothing need lie
/// there.
///
/// - Throws: `InputError` where links go round in circles.
public func linkTarget(of path: String) throws -> String {
    var target = path
    for _ in 0..<40 {
        guard isLink(target) else { return target }
        guard let link = try? FileManager.default.destinationOfSymbolicLink(atPath: target) else {
            throw InputError.system(.writeFailed, file: path, errno)
        }
        let folder = (target as NSString).deletingLastPathComponent
        target = link.hasPrefix("/") ? link : (folder as NSString).appendingPathComponent(link)
    }
    throw InputError.system(.writeFailed, file: path, ELOOP)
}

/// Whether something lies at a path.
public func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

/// Whether a folder lies at a path; nil where nothing lies.
public func isFolder(_ path: String) -> Bool? {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
    return isFolder.boolValue
}

/// Lets the process hold as many files open as the system allows.
public func raiseFileLimit() {
    var limit = rlimit()
    #if os(Linux)
        let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        let most = rlim_t.max
    #else
        let kind = RLIMIT_NOFILE
        // What the limit says there is no limit is refused: the kernel has one of its own.
        let most = rlim_t(OPEN_MAX)
    #endif
    guard getrlimit(kind, &limit) == 0 else { return }
    let wanted = min(limit.rlim_max, most)
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted
        setrlimit(kind, &limit)
    }
}
