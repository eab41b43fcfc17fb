import Foundation
import MMQBase

/// Holds a study for one process: two runs counting into the same file would each overwrite the
/// other's totals.
///
/// The lock is `flock` on a file beside the study, not on the study itself: closing a second
/// descriptor of the database would drop SQLite's own locks. The kernel releases it when the
/// process ends, however it ends.
final class StudyLock {
    private let path: String
    private let descriptor: Int32

    /// - Parameter name: what errors call the study.
    init(study: String, named name: String) throws {
        path = study + ".lock"
        while true {
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else {
                let error = errno
                throw InputError(
                    Study.isWritable(study) ? .failed : .badInput, file: path,
                    "cannot be made: \(String(cString: strerror(error)))")
            }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                let held = errno == EWOULDBLOCK
                let reason = String(cString: strerror(errno))
                close(descriptor)
                throw held
                    ? InputError(.locked, file: name, "another process is writing to this study")
                    : InputError(.failed, file: path, "cannot be locked: \(reason)")
            }
            // The holder before may have removed the file between our opening and locking it.
            var mine = stat()
            var there = stat()
            let same =
                fstat(descriptor, &mine) == 0 && stat(path, &there) == 0
                && mine.st_ino == there.st_ino
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
