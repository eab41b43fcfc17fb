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
        _ arguments: [String], environment: [String: String] = [:], folder: String? = nil,
        killAfter seconds: Double? = nil
    ) throws -> CommandResult {
        try launch(
            binary.get(), arguments, environment: environment, folder: folder, killAfter: seconds)
    }

    /// The same with a shell that may set limits first: `script` runs the binary as `"$@"`.
    static func shell(_ script: String, _ arguments: [String]) throws -> CommandResult {
        try launch("/bin/sh", ["-c", script, "sh", binary.get()] + arguments)
    }

    /// Longer than any command here takes on a busy machine: what hangs fails.
    private static let patience = 120.0

    private static func launch(
        _ program: String, _ arguments: [String], environment: [String: String] = [:],
        folder: String? = nil, killAfter seconds: Double? = nil
    ) throws -> CommandResult {
        let temporary = try TemporaryFolder()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        var variables = ProcessInfo.processInfo.environment
        variables["MMQ_ISA"] = nil
        process.environment = variables.merging(environment) { $1 }
        if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
        // Files, not pipes: a pipe that nobody empties would stop a talkative command.
        let output = try FileHandle(forWritingTo: empty(temporary("output")))
        let errors = try FileHandle(forWritingTo: empty(temporary("errors")))
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        let ended = DispatchSemaphore(value: 0)
        process.terminationHandler = { _ in ended.signal() }
        try process.run()
        if ended.wait(timeout: .now() + (seconds ?? patience)) == .timedOut {
            kill(process.processIdentifier, SIGKILL)
            ended.wait()
            if seconds == nil { Issue.record("mmq \(arguments) ran for \(patience) s") }
        }
        func text(_ name: String) throws -> String {
            String(
                decoding: try Data(contentsOf: URL(fileURLWithPath: temporary(name))),
                as: UTF8.self)
        }
        let status = process.terminationStatus
        return CommandResult(
            code: process.terminationReason == .uncaughtSignal ? -status : status,
            output: try text("output"), errors: try text("errors"))
    }

    private static func empty(_ path: String) throws -> URL {
        try Data().write(to: URL(fileURLWithPath: path))
        return URL(fileURLWithPath: path)
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

/// One of the golden checkpoints, and a model made of it.
struct GoldenModel: Sendable, CustomTestStringConvertible {
    let architecture: String
    let variant: String

    var testDescription: String { "\(architecture)/\(variant)" }
    var folder: String { Golden.folder + "/\(architecture)/\(variant)" }
    var checkpoint: String { folder + "/checkpoint" }
    var mask: String { folder + "/mask.json" }
    /// A picture that lies next to the checkpoints.
    func picture(_ name: String = "small") -> String {
        Golden.folder + "/\(architecture)/images/\(name).png"
    }
    /// A question as the tokenizer gets it.
    var prompt: String { architecture == "llava-next" ? "<image>\nWhy?" : "Why?" }

    static let llava = GoldenModel(architecture: "llava-next", variant: "hub-f16")
    static let blip = GoldenModel(architecture: "instructblip", variant: "new-f16")

    /// All checkpoints of Tests/Golden.
    static let all: [GoldenModel] = ["llava-next", "instructblip"].flatMap { architecture in
        let names =
            (try? FileManager.default.contentsOfDirectory(
                atPath: Golden.folder + "/" + architecture)) ?? []
        return names.filter { $0 != "images" }.sorted()
            .map { GoldenModel(architecture: architecture, variant: $0) }
    }

    /// Converts the checkpoint with the binary and gives the model folder's path.
    func convert(
        in folder: TemporaryFolder, type: String = "f16", visionType: String? = nil,
        name: String = "model"
    ) throws -> String {
        let output = folder(name)
        try expectExit(
            0,
            [
                "convert", checkpoint, "--output", output, "--type", type, "--vision-type",
                visionType ?? type,
            ])
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
