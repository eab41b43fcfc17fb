import ArgumentParser
import CSIMD
import Foundation
import MMQImage
import MMQModels

/// `mmq bench`: how fast a model runs here, next to what the machine could do.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure a model's speed next to this machine's limits.",
        discussion: """
            Each thing runs once unmeasured, then --repetitions times; the median is printed, with \
            the spread. The peaks in int8 and f32 and the read bandwidth are measured in the same \
            run, and the bandwidth anew in turn with the runs of decoding, which is held against \
            that; "limit" is which of them would take longer, were nothing else in the way. With \
            --mask the prompts are timed under it as well, in turn with those without.
            """)

    @OptionGroup var model: ModelOptions

    @Option(name: .shortAndLong, help: "Tokens of a prompt; repeat for several lengths.")
    var prompt: [Int] = [512]

    @Option(name: [.customShort("n"), .customLong("generate")], help: "Tokens to decode.")
    var tokens: Int = 32

    @Option(help: "Tokens in front of those that are decoded.")
    var behind: Int = Benchmark.decodingPrompt

    @Option(help: "Answers decoded together.")
    var batch: Int = 1

    @Option(help: "Also time the vision part on this picture.")
    var image: String?

    @Option(help: "Measured runs of each thing.")
    var repetitions: Int = 3

    @Flag(help: "Also time 2, 4, 8 and 16 answers decoded together.")
    var few = false

    @Flag(help: "Also show where the time of each thing goes, stage by stage.")
    var stages = false

    @Flag(help: "Also time the prompts with every activation counted, in turn with the others.")
    var counting = false

    @OptionGroup var masking: MaskOptions

    @Option(help: "The study file (SQLite) whose neurons --mask names.")
    var study: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        guard prompt.allSatisfy({ $0 > 0 }), tokens >= 0, behind > 0, batch > 0,
            (1...1000).contains(repetitions)
        else {
            throw ValidationError(
                "-p, --behind and --batch must be 1 or more, -n 0 or more, --repetitions 1 to "
                    + "1000.")
        }
        if study != nil, masking.mask == nil {
            throw ValidationError("--study goes with --mask.")
        }
    }

    func run() throws {
        let picture = try image.map { try RGBImage.decode(path: $0) }
        let clock = ContinuousClock()
        let start = clock.now
        let model = try model.open()
        try check(model.contextLength)
        var report = BenchReport(model: model, loadSeconds: clock.seconds(since: start))
        var kinds: [(name: String, kind: Benchmark.Observing)] = [("", .nothing)]
        if counting { kinds.append((", counted", .counting)) }
        if let mask = try masking.read(for: model, study: study) {
            kinds.append((", masked", .masking(mask)))
        }
        let benchmark = Benchmark(
            model: model, repetitions: repetitions, looksInside: stages)
        if let picture {
            Diagnostics.note("vision part ...")
            report.addVision(
                try benchmark.vision(
                    image: picture, prompt: model.architecture.turn("What is this?")))
        }
        for count in prompt {
            Diagnostics.note("prompt of \(count) ...")
            let timings = try benchmark.prefill(tokens: count, kinds.map(\.kind))
            for (timing, kind) in zip(timings, kinds) {
                report.addPrefill(timing, tokens: count, name: kind.name)
            }
        }
        for sequences in tokens > 0 ? answers : [] {
            Diagnostics.note("decoding ...")
            report.addDecoding(
                try benchmark.decode(tokens: tokens, prompt: behind, sequences: sequences),
                tokens: tokens, behind: behind, sequences: sequences)
        }
        report.finish()
        if json { try Diagnostics.printJSON(report) } else { print(report.table, terminator: "") }
    }

    /// How many answers are decoded together, one number after the other.
    private var answers: [Int] { few ? Set([batch, 2, 4, 8, 16]).sorted() : [batch] }

    /// Refuses lengths that the model's context does not hold: memory is set aside for them.
    private func check(_ context: Int) throws {
        for count in prompt where count > context {
            throw ValidationError("-p \(count): the model's context is \(context) tokens.")
        }
        guard behind < context, tokens <= context - behind else {
            throw ValidationError(
                "--behind \(behind) and -n \(tokens): together at most the model's context of "
                    + "\(context) tokens.")
        }
        guard batch <= 64 else { throw ValidationError("--batch \(batch): at most 64.") }
    }
}

/// What the operating system says of the machine and of this process.
enum MachineInfo {
    /// The CPU's name, or its architecture where that is not told.
    static var cpuName: String {
        let info = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = info.split(separator: "\n").first { $0.hasPrefix("model name") }
        let name = line?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
        return name ?? "unknown CPU"
    }

    /// A line of /proc/self/status, or of another file there, in bytes, on Linux.
    static func status(_ key: String, in file: String = "status") -> Int? {
        let text = (try? String(contentsOfFile: "/proc/self/\(file)", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix(key + ":") }
        return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
            .flatMap { Int($0) }.map { $0 * 1024 }
    }
}
