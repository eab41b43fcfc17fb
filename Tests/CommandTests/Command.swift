import Foundation
import Support
import Testing

/// What a process left behind.
struct CommandResult: Sendable {
    /// The exit code; for a process that a signal ended, the signal's number negated.
    let code: Int32
    /// What it wrote to stdout.
    let output: String
    /// What it wrote to stderr.
    let errors: String

    /// The JSON document on stdout.
    func json() throws -> Any {
        try JSONSerialization.jsonObject(with: Data(output.utf8), options: .fragmentsAllowed)
    }

    /// The JSON object on stdout.
    func object() throws -> [String: Any] { try #require(json() as? [String: Any]) }
}

/// The built binary.
enum Command {
    /// Why no test of the binary can run.
    struct Missing: Error, CustomStringConvertible {
        let places: [String]
        var description: String {
            "the binary mmq is not where the tests look for it (\(places.joined(separator: ", "))); "
                + "build it with 'swift build'"
        }
    }

    /// The path of `mmq`: next to the test bundle, wherever the build folder lies; a missing one is
    /// an error, never a skipped test.
    static let binary: Result<String, Missing> = {
        var places: [String] = []
        let starts = CommandLine.arguments.filter { $0.contains("/") } + [Bundle.main.bundlePath]
        for start in starts {
            var folder = URL(fileURLWithPath: start).standardizedFileURL
            while folder.path.count > 1 {
                folder.deleteLastPathComponent()
                let file = folder.appendingPathComponent("mmq").path
                if isProgram(file) { return .success(file) }
                places.append(file)
            }
        }
        return .failure(Missing(places: places))
    }()

    private static func isProgram(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
            && access(path, X_OK) == 0
    }

    /// Runs `mmq` to its end, or for `seconds` and then kills it.
    @discardableResult
    static func run(
        _ arguments: [String], environment: [String: String] = [:],
        killAfter seconds: Double? = nil
    ) throws -> CommandResult {
        try launch([binary.get()] + arguments, environment: environment, killAfter: seconds)
    }

    /// The same with a shell that may set limits first: `script` runs the binary as `"$@"`.
    static func shell(_ script: String, _ arguments: [String]) throws -> CommandResult {
        try launch(["/bin/sh", "-c", script, "sh", binary.get()] + arguments)
    }

    /// Longer than any command here takes on a busy machine: what hangs fails.
    private static let patience = 120.0

    /// By hand and not by `Process`, which crashed now and then after hundreds of short ones.
    private static func launch(
        _ command: [String], environment: [String: String] = [:], killAfter seconds: Double? = nil
    ) throws -> CommandResult {
        let temporary = try TemporaryFolder()
        // Files, not pipes: a pipe that nobody empties would stop a talkative command.
        let process = try spawn(command, environment: environment) { actions in
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            for (descriptor, name): (Int32, String) in [(1, "output"), (2, "errors")] {
                posix_spawn_file_actions_addopen(
                    &actions, descriptor, temporary(name), O_WRONLY | O_CREAT | O_APPEND, 0o600)
            }
        }
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds ?? patience)
        var status: Int32 = 0
        while waitpid(process, &status, WNOHANG) == 0 {
            if clock.now >= end {
                kill(process, SIGKILL)
                waitpid(process, &status, 0)
                if seconds == nil { Issue.record("\(command) ran for \(patience) s") }
                break
            }
            usleep(1000)
        }
        func text(_ name: String) throws -> String {
            String(
                decoding: try Data(contentsOf: URL(fileURLWithPath: temporary(name))),
                as: UTF8.self)
        }
        let signal = status & 0x7F
        return CommandResult(
            code: signal == 0 ? status >> 8 & 0xFF : -signal, output: try text("output"),
            errors: try text("errors"))
    }

    #if os(Linux)
        typealias FileActions = posix_spawn_file_actions_t
    #else
        typealias FileActions = posix_spawn_file_actions_t?
    #endif

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - environment: what is added to this process's.
    ///   - connect: says what becomes of standard input, output and error.
    static func spawn(
        _ command: [String], environment: [String: String] = [:],
        connect: (inout FileActions) -> Void
    ) throws -> pid_t {
        #if os(Linux)
            var actions = FileActions()
        #else
            var actions: FileActions = nil
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        connect(&actions)
        var all = ProcessInfo.processInfo.environment
        all["MMQ_ISA"] = nil
        all.merge(environment) { $1 }
        var arguments = command.map { strdup($0) } + [nil]
        var variables = all.map { strdup("\($0)=\($1)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var process: pid_t = 0
        let problem = posix_spawn(&process, command[0], &actions, nil, &arguments, &variables)
        try #require(
            problem == 0, "cannot start \(command[0]): \(String(cString: strerror(problem)))")
        return process
    }
}

/// Fails unless the command ended with `code`; gives back what it did.
@discardableResult
func expectExit(
    _ code: Int32, _ arguments: [String], environment: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> CommandResult {
    let result = try Command.run(arguments, environment: environment)
    #expect(
        result.code == code,
        "mmq \(arguments.joined(separator: " ")): exit code \(result.code): \(result.errors)",
        sourceLocation: sourceLocation)
    return result
}

/// Fails unless the command refuses what it was given: exit code 2, nothing on stdout, and one line
/// on stderr with each of `words` in it.
@discardableResult
func expectRefusal(
    _ arguments: [String], naming words: [String], environment: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> CommandResult {
    let result = try expectExit(
        2, arguments, environment: environment, sourceLocation: sourceLocation)
    #expect(result.output == "", sourceLocation: sourceLocation)
    for word in words where !word.isEmpty {
        #expect(
            result.errors.contains(word),
            "mmq \(arguments.joined(separator: " ")): '\(word)' not in: \(result.errors)",
            sourceLocation: sourceLocation)
    }
    return result
}

/// A golden checkpoint, and a model made of it.
extension GoldenModel {
    /// A question as the tokenizer gets it.
    var prompt: String { namesPicture ? "<image>\nWhy?" : "Why?" }

    /// Converts the checkpoint with the binary and gives the model folder's path.
    func convert(
        in folder: TemporaryFolder, type: String = "f16", visionType: String? = nil,
        name: String = "model", more: [String] = []
    ) throws -> String {
        let output = folder(name)
        try expectExit(
            0,
            [
                "convert", checkpoint, "--output", output, "--type", type, "--vision-type",
                visionType ?? type,
            ] + more)
        return output
    }

    /// The arguments of a trace.
    func trace(
        _ model: String, to output: String, sites: String? = nil, prompt: String? = nil,
        picture: String? = nil
    ) -> [String] {
        [
            "trace", "--model", model, "--image", picture ?? self.picture(), "--prompt",
            prompt ?? self.prompt, "--output", output,
        ] + (sites.map { ["--sites", $0] } ?? [])
    }
}

/// The committed bench of two small domains.
let goldenBench = Golden.folder + "/bench"
