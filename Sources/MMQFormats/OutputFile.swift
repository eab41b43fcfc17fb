import Foundation

/// A file that appears under its name only when it is complete.
///
/// Bytes go to `<name>.partial` in the same folder; `commit` syncs it and renames it. A failure
/// removes the partial file; a killed process leaves it, and the next run replaces it.
public final class OutputFile: @unchecked Sendable {  // the descriptor's state is behind the lock
    /// The final path.
    public let path: String
    /// The path while the file is being written.
    public let partialPath: String
    private let lock = NSLock()
    private var descriptor: Int32

    /// Creates the partial file.
    ///
    /// - Throws: `FormatError` if it cannot be created or another process is writing it.
    public init(path: String) throws {
        self.path = path
        partialPath = path + ".partial"
        let descriptor = open(partialPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FormatError.system(.writeFailed, file: path, errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw FormatError(.writeFailed, file: path, found: "another process writing it")
        }
        guard ftruncate(descriptor, 0) == 0 else {
            let error = errno
            close(descriptor)
            throw FormatError.system(.writeFailed, file: path, error)
        }
        self.descriptor = descriptor
    }

    deinit { abandon() }

    /// Writes bytes at an offset. Threads may write different ranges at the same time.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        guard let base = bytes.baseAddress else { return }
        let descriptor = lock.withLock { self.descriptor }
        guard descriptor >= 0 else {
            throw FormatError(.writeFailed, file: path, found: "the file already closed")
        }
        var done = 0
        while done < bytes.count {
            let written = pwrite(descriptor, base + done, bytes.count - done, off_t(offset + done))
            if written > 0 {
                done += written
            } else if written < 0, errno == EINTR {
                continue
            } else {
                throw FormatError.system(.writeFailed, file: path, written < 0 ? errno : ENOSPC)
            }
        }
    }

    /// Writes bytes at an offset.
    public func write(_ bytes: [UInt8], at offset: Int) throws {
        try bytes.withUnsafeBytes { try write($0, at: offset) }
    }

    /// Makes the written bytes durable without giving the file its name yet.
    public func sync() throws {
        let descriptor = lock.withLock { self.descriptor }
        guard descriptor >= 0, fsync(descriptor) == 0 else {
            throw FormatError.system(.writeFailed, file: path, errno)
        }
    }

    /// Syncs the file and gives it its final name, replacing a file of that name.
    public func commit() throws {
        try sync()
        guard rename(partialPath, path) == 0 else {
            throw FormatError.system(.writeFailed, file: path, errno)
        }
        lock.withLock {
            close(descriptor)
            descriptor = -1
        }
        // The rename itself must survive a power cut. A file system that cannot sync a folder
        // still has the file, so that is no failure.
        let folder = open((path as NSString).deletingLastPathComponent.orDot, O_RDONLY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    /// Removes the partial file. Does nothing after `commit`.
    public func abandon() {
        lock.withLock {
            guard descriptor >= 0 else { return }
            unlink(partialPath)
            close(descriptor)
            descriptor = -1
        }
    }

    /// Writes a small file in one go.
    public static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try OutputFile(path: path)
        do {
            try file.write(bytes, at: 0)
            try file.commit()
        } catch {
            file.abandon()
            throw error
        }
    }
}

extension String {
    fileprivate var orDot: String { isEmpty ? "." : self }
}
