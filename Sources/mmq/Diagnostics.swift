import ArgumentParser
import Dispatch
import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQModels
import MMQStudy
import MMQText

/// What goes to stderr, and what the process exits with.
enum Diagnostics {
    /// Writes a line to stderr; what a terminal would obey is escaped.
    static func note(_ text: String) { show(shown(text) + "\n") }

    /// Writes text to stderr as it is. That nobody can read it is no reason to fail.
    static func show(_ text: String) { _ = write(Array(text.utf8), to: STDERR_FILENO) }

    /// Says how interrupted work goes on; gives back what the command ends with.
    static func interrupted(again: Bool = false) -> ExitCode {
        note("Interrupted. The same command\(again ? " without --again" : "") goes on from here.")
        return ExitCode(130)
    }

    /// Writes text to stdout at once, behind what was printed before; what a terminal would obey is
    /// escaped, in a way that JSON reads as the character itself.
    static func write(_ text: String) throws {
        guard fflush(nil) == 0, write(Array(shown(text).utf8), to: STDOUT_FILENO) else {
            throw OutputFailure(problem: String(cString: strerror(errno)))
        }
    }

    /// Writes a document to stdout, keys sorted.
    static func printJSON(_ document: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try write(String(decoding: encoder.encode(document), as: UTF8.self) + "\n")
    }

    /// Sends results to a file from now on; gives back what `restore` needs.
    static func redirect(to file: String) throws -> Int32 {
        try InputLedger.check(output: file)
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw OutputFailure(problem: "\(file): \(String(cString: strerror(errno)))")
        }
        fflush(nil)
        let before = dup(STDOUT_FILENO)
        dup2(descriptor, STDOUT_FILENO)
        close(descriptor)
        return before
    }

    /// Sends results where they went before.
    static func restore(_ before: Int32) {
        fflush(nil)
        dup2(before, STDOUT_FILENO)
        close(before)
    }

    /// False if not everything could be written. (`FileHandle.write` would end the process.)
    private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let written = Foundation.write(
                    descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return false }
                rest = rest.dropFirst(written)
            }
            return true
        }
    }

    /// Results that could not be written: a full disk behind stdout, for example.
    private struct OutputFailure: Error, CustomStringConvertible {
        let problem: String
        var description: String { "the results cannot be written: \(problem)" }
    }

    /// Runs the command line: 0 done, 1 the work failed, 2 wrong usage or unreadable input.
    ///
    /// ArgumentParser alone would exit with 64 on wrong usage and with 1 on everything else. On the
    /// main thread, whose memory grows in steps: that of others is asked of the system page by page.
    @MainActor
    static func main(_ root: any ParsableCommand.Type) async -> Never {
        // A file that may not grow further is an error like a full disk, not the end of the process.
        signal(SIGXFSZ, SIG_IGN)
        MappedFile.reportShortenedFiles()
        do {
            var command = try root.parseAsRoot()
            InputLedger.begin()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            try write("")
            exit(0)
        } catch let code as ExitCode {
            exit(code.rawValue)
        } catch {
            let code = root.exitCode(for: error)
            // Help and version are errors to ArgumentParser, but not to the caller.
            if code == .success { root.exit(withError: error) }
            if code == .validationFailure {
                note(root.fullMessage(for: error))
                exit(2)
            }
            // Foundation's errors describe themselves in terms of their own making.
            note("mmq: \(error is CocoaError ? error.localizedDescription : "\(error)")")
            exit(exitCode(of: error))
        }
    }

    /// 2 if what was given is at fault, 1 if the work failed.
    static func exitCode(of error: any Error) -> Int32 {
        (error as? InputError).map { $0.code.isFailure ? 1 : 2 } ?? 1
    }
}

/// How far long work has come: a bar on a terminal, a line every ten seconds elsewhere.
final class ProgressReport {
    private let label: String
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    private var last: ContinuousClock.Instant
    private var isShown = false

    /// Work called `label`.
    init(_ label: String) {
        self.label = label
        start = clock.now
        last = start
    }

    /// Says how far the work has come.
    ///
    /// - Parameters:
    ///   - fraction: the part that is done, 0...1.
    ///   - startFraction: the part that was done when this process began.
    ///   - done: things done by this process, for the rate.
    ///   - unit: what those are called.
    func update(
        _ fraction: Double, from startFraction: Double = 0, done: Int = 0, unit: String = ""
    ) {
        let now = clock.now
        guard now - last >= (isTerminal ? .milliseconds(200) : .seconds(10)) else { return }
        last = now
        let elapsed = (now - start).seconds
        var text = label
        if isTerminal {
            let filled = Int((fraction * 24).rounded(.down))
            let bar =
                String(repeating: "#", count: filled) + String(repeating: ".", count: 24 - filled)
            text += " [\(bar)]"
        }
        text += " \(Int(fraction * 100)) %"
        if done > 0, elapsed > 0 {
            let rate = Double(done) / elapsed
            text +=
                rate >= 1
                ? String(format: "  %.1f %@/s", rate, unit)
                : String(format: "  %.1f s each", 1 / rate)
        }
        if fraction > startFraction {
            let left = elapsed * (1 - fraction) / (fraction - startFraction)
            text += "  \(Self.duration(left)) left"
        }
        if isTerminal {
            Diagnostics.show("\r\u{1b}[K\(shown(text, lines: false))")
            isShown = true
        } else {
            Diagnostics.note(text)
        }
    }

    /// Removes the bar, so that something else can be written.
    func clear() {
        guard isShown else { return }
        Diagnostics.show("\r\u{1b}[K")
        isShown = false
    }

    static func duration(_ seconds: Double) -> String {
        let total = Int(min(seconds, 1e9).rounded())
        if total < 60 { return "\(total) s" }
        if total < 3600 { return String(format: "%d:%02d min", total / 60, total % 60) }
        return String(format: "%d:%02d h", total / 3600, total / 60 % 60)
    }
}

/// Whether Ctrl-C (or a polite kill) asks the work to end after its next step. The second time the
/// process ends at once.
final class InterruptFlag: @unchecked Sendable {  // the flag is behind the lock
    private let lock = NSLock()
    private var raised = false
    private var sources: [any DispatchSourceSignal] = []

    /// Listens from now on; `note` goes to stderr when the first signal comes.
    init(note: String? = nil) {
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(
                signal: number, queue: DispatchQueue.global())
            source.setEventHandler { [weak self] in
                self?.lock.withLock { self?.raised = true }
                signal(number, SIG_DFL)
                if let note { Diagnostics.note("\n" + note) }
            }
            source.resume()
            sources.append(source)
        }
    }

    /// Whether the process was asked to end.
    var isRaised: Bool { lock.withLock { raised } }
}

/// Prints results to stdout, with what a terminal would obey escaped: names and texts that come
/// from files go through here, in place of the standard library's `print`.
func print(_ items: Any..., terminator: String = "\n") {
    let line = items.map { shown("\($0)") }.joined(separator: " ")
    Swift.print(line, terminator: terminator)
}
