import Foundation
import MMQBase

/// The folder that a session's arrays lie in, removed with all that is in it when the session ends.
final class SessionFolder: @unchecked Sendable {  // what changes is behind the lock
    /// Its path.
    let path: String
    private let lock = NSLock()
    private var isRemoved = false
    private var files = 0

    /// Makes a folder that nobody else can read.
    ///
    /// - Parameter parent: the folder to make it in; nil for the system's.
    init(in parent: String?) throws {
        let parent = parent ?? FileManager.default.temporaryDirectory.path
        var name = Array((parent + "/mmq-session-XXXXXX").utf8CString)
        guard let made = mkdtemp(&name) else {
            throw InputError.system(.writeFailed, file: parent, errno)
        }
        path = String(cString: made)
    }

    /// Makes a file with a name that no other has: `make` gets its path. Nothing is made any more
    /// once the folder is removed.
    func makeFile<File>(_ make: (String) throws -> File) throws -> File {
        try lock.withLock {
            guard !isRemoved else {
                throw InputError(.writeFailed, file: path, found: "the session at its end")
            }
            files += 1
            return try make("\(path)/\(files).safetensors")
        }
    }

    /// Removes it, once.
    func remove() {
        lock.withLock {
            guard !isRemoved else { return }
            isRemoved = true
            // A client may be removing files too, and files may get their names meanwhile.
            for _ in 0..<10 {
                let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
                for name in names { unlink(path + "/" + name) }
                if rmdir(path) == 0 || errno != ENOTEMPTY { break }
            }
        }
    }
}
