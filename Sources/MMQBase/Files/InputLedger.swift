import Foundation

/// The files that a command has opened to read, so that none of its outputs can replace one.
///
/// `trace --output` naming its own picture, or `report --output` its own study, would destroy what
/// cannot be made again. Files are told apart by device and inode: links and other spellings of a
/// path are the same file. Nothing is kept before `begin`: libraries and tests may replace what
/// they have read.
public enum InputLedger {
    private final class State: @unchecked Sendable {  // everything is behind the lock
        let lock = NSLock()
        var isOn = false
        var opened: [FileIdentity: String] = [:]
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
            if state.isOn { state.opened[FileIdentity(info)] = path }
        }
    }

    /// Notes a file that a library reads by its path (a database), with what lies beside it.
    public static func add(path: String) {
        state.lock.withLock {
            if state.isOn { state.paths.insert(path) }
        }
    }

    /// Lets a file be written that was read only to go on with it: the command's own output.
    public static func goOn(with path: String) {
        guard let identity = FileIdentity(path: path) else { return }
        state.lock.withLock { _ = state.opened.removeValue(forKey: identity) }
    }

    /// Refuses an output that would replace an input; `name` is what the user called it.
    ///
    /// - Throws: `InputError`, `.outputIsInput`, naming both.
    public static func check(output path: String, named name: String? = nil) throws {
        guard let identity = FileIdentity(path: path) else { return }
        let input = state.lock.withLock {
            state.opened[identity] ?? state.paths.first { FileIdentity(path: $0) == identity }
        }
        if let input {
            throw InputError(
                .outputIsInput, file: name ?? path, expected: "an output of its own",
                found: "the input \(input)")
        }
    }
}
