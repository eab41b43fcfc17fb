import Foundation

/// Holds a file that is replaced or added to for one process: two runs writing to the same study, or
/// to the same importance file, would each overwrite what the other has found.
///
/// The lock is `flock` on a file beside it, not on the file itself: one that is replaced whole is
/// another file every time, and closing a second descriptor of a database would drop SQLite's own
/// locks. The kernel releases it when the process ends, however it ends.
public final class FileLock {
    private let path: String
    private let descriptor: Int32

    /// - Parameters:
    ///   - file: the file itself, no link to it.
    ///   - name: what errors call it.
    ///   - kind: what it is: "study".
    /// - Throws: `InputError`, `.locked` if another process holds it.
    public init(beside file: String, named name: String, kind: String) throws {
        path = file + ".lock"
        while true {
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else {
                let error = errno
                throw InputError(
                    isWritable(file) ? .failed : .badInput, file: name,
                    "\(path), which locks it, cannot be made: "
                        + String(cString: strerror(error)))
            }
            try lock(descriptor, named: name, kind: kind)
            // The holder before may have removed the file between our opening and locking it.
            var mine = stat()
            var there = stat()
            let same =
                fstat(descriptor, &mine) == 0 && stat(path, &there) == 0
                && mine.st_ino == there.st_ino
            // It is removed in the end: a file of that name that holds something is somebody's.
            guard !same || mine.st_size == 0 else {
                close(descriptor)
                throw InputError(
                    .badInput, file: path, expected: "an empty file that locks \(name), or none",
                    found: "one of \(mine.st_size) bytes")
            }
            if same {
                self.descriptor = descriptor
                return
            }
            close(descriptor)
        }
    }

    deinit {
        unlink(path)
        close(descriptor)
    }
}

/// Holds a folder for one process, as `FileLock` does a file.
public final class FolderLock {
    private let descriptor: Int32

    /// - Parameter path: the folder, which is there.
    /// - Throws: `InputError`, `.locked` if another process holds it.
    public init(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw InputError.system(.writeFailed, file: path, errno) }
        try lock(descriptor, named: path, kind: "folder")
        // Last: what is not locked is closed already.
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }
}

/// Locks what a descriptor is of, or closes it.
private func lock(_ descriptor: Int32, named name: String, kind: String) throws {
    guard flock(descriptor, LOCK_EX | LOCK_NB) != 0 else { return }
    let error = errno
    close(descriptor)
    throw error == EWOULDBLOCK
        ? InputError(.locked, file: name, "another process is writing to this \(kind)")
        : InputError(.failed, file: name, "cannot be locked: \(String(cString: strerror(error)))")
}

/// Whether this process may write the file and make others beside it: if that fails all the same, the
/// disk is full or broken, and nothing is wrong with what was asked for.
public func isWritable(_ path: String) -> Bool {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    return access(folder, W_OK | X_OK) == 0 && (!exists(path) || access(path, W_OK) == 0)
}
