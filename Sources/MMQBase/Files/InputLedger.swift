import Foundation

/// The files that a command has opened to read, so that none of its outputs can replace one.
///
/// `trace --output` naming its own picture, or `report --output` its own study, would destroy what
/// cannot be made again. Files are told apart by device and inode: links and other spellings of a
/// path are the same file. Nothing is kept before `begin`: libraries and tests may replace what
/// they have read.
public enum InputLedger {
    private struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64

        init(_ info: stat) {
            device = UInt64(truncatingIfNeeded: info.st_dev)
            inode = UInt64(truncatingIfNeeded: info.st_ino)
        }

        init?(path: String) {
            var info = stat()
            guard stat(path, &info) == 0 else { return nil }
            self.init(info)
        }
    }

    private final class State: @unchecked Sendable {  // everything is behind the lock
        let lock = NSLock()
        var isOn = false
        var opened: [Identity: String] = [:]
        var paths: Set<String> = []
    }

    private static let state = State()

    /// Forgets what was opened before: from now on a command's inputs are kept.
    public static func begin() {
        state.lock.withLock {
            state.isOn = true
            state.opened = [:]
            state.paths = []
        }
    }

    /// Notes a file that is being read.
    static func add(_ path: String, _ info: stat) {
        state.lock.withLock {
            if state.isOn { state.opened[Identity(info)] = path }
        }
    }

    /// Notes a file that a library reads by its path (a database), with what lies beside it.
    public static func add(path: String) {
        state.lock.withLock {
            if state.isOn { state.paths.insert(path) }
        }
    }

    /// Refuses an output that would replace an input; `name` is what the user called it.
    ///
    /// - Throws: `InputError`, `.outputIsInput`, naming both.
    public static func check(output path: String, named name: String? = nil) throws {
        guard let identity = Identity(path: path) else { return }
        let input = state.lock.withLock {
            state.opened[identity] ?? state.paths.first { Identity(path: $0) == identity }
        }
        if let input {
            throw InputError(
                .outputIsInput, file: name ?? path, expected: "an output of its own",
                found: "the input \(input)")
        }
    }
}
