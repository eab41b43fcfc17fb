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
            the spread. The int8 peak and the read bandwidth are measured in the same run. With \
            --mask the prompts are timed under it as well, in turn with those without.
            """)

    @OptionGroup var model: ModelOptions

    @Option(name: .shortAndLong, help: "Tokens of a prompt; repeat for several lengths.")
    var prompt: [Int] = [512]

    @Option(name: [.customShort("n"), .customLong("generate")], help: "Tokens to decode.")
    var tokens: Int = 32

    @Option(help: "Answers decoded together.")
    var batch: Int = 1

    @Option(help: "Also time the vision part on this picture.")
    var image: String?

    @Option(help: "Measured runs of each thing.")
    var repetitions: Int = 3

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
        guard prompt.allSatisfy({ $0 > 0 }), tokens >= 0, batch > 0,
            (1...1000).contains(repetitions)
        else {
            throw ValidationError(
                "-p and --batch must be 1 or more, -n 0 or more, --repetitions 1 to 1000.")
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
        var report = Report(model: model, loadSeconds: clock.seconds(since: start))
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
        if tokens > 0 {
            Diagnostics.note("decoding ...")
            report.addDecoding(
                try benchmark.decode(
                    tokens: tokens, prompt: Benchmark.decodingPrompt, sequences: batch),
                tokens: tokens,
                sequences: batch)
        }
        report.finish()
        if json { try Diagnostics.printJSON(report) } else { print(report.table, terminator: "") }
    }

    /// Refuses lengths that the model's context does not hold: memory is set aside for them.
    private func check(_ context: Int) throws {
        for count in prompt where count > context {
            throw ValidationError("-p \(count): the model's context is \(context) tokens.")
        }
        let most = (context - Benchmark.decodingPrompt) / (repetitions + 1)
        guard tokens <= most else {
            throw ValidationError(
                "-n \(tokens): at most \(most), so that \(repetitions + 1) runs stay within the "
                    + "model's context of \(context) tokens.")
        }
        guard batch <= 64 else { throw ValidationError("--batch \(batch): at most 64.") }
    }

    /// One measured thing.
    private struct Row: Encodable {
        let name: String
        let timing: Benchmark.Timing
        var tokensPerSecond: Double?
        var gigaOperationsPerSecond: Double?
        var shareOfPeak: Double?
        var gigabytesPerSecond: Double?
        var shareOfBandwidth: Double?

        enum CodingKeys: String, CodingKey {
            case name, timing
            case tokensPerSecond = "tokens_per_second"
            case gigaOperationsPerSecond = "gop_per_second"
            case shareOfPeak = "share_of_int8_peak"
            case gigabytesPerSecond = "gb_per_second"
            case shareOfBandwidth = "share_of_read_bandwidth"
        }
    }

    private struct Report: Encodable {
        let isa = String(cString: csimd_isa())
        let threads = Int(csimd_threads())
        let cpu = MachineInfo.cpuName
        let loadSeconds: Double
        let int8Peak: Double
        let readBandwidth: Double
        var rows: [Row] = []
        var peakMemory: Int?
        var anonymousMemory: Int?
        private let cost: DecodingCost

        enum CodingKeys: String, CodingKey {
            case isa, threads, cpu, rows
            case loadSeconds = "load_seconds"
            case int8Peak = "int8_peak_gop_per_second"
            case readBandwidth = "read_bandwidth_gb_per_second"
            case peakMemory = "peak_resident_bytes"
            case anonymousMemory = "anonymous_bytes"
        }

        init(model: any VisionLanguageModel, loadSeconds: Double) {
            self.loadSeconds = loadSeconds
            cost = model.decodingCost
            int8Peak = csimd_measure_int8_peak() / 1e9
            let file = model.languageFile
            readBandwidth = csimd_measure_read_bandwidth(file.baseAddress, file.count) / 1e9
        }

        mutating func addVision(_ timing: Benchmark.Timing) {
            rows.append(Row(name: ModelFileRole.vision.rawValue, timing: timing))
        }

        mutating func addPrefill(_ timing: Benchmark.Timing, tokens: Int, name: String) {
            let operations = Double(cost.layerOperations * tokens + cost.headOperations)
            let rate = operations / timing.medianSeconds / 1e9
            rows.append(
                Row(
                    name: "prompt \(tokens)" + name, timing: timing,
                    tokensPerSecond: Double(tokens) / timing.medianSeconds,
                    gigaOperationsPerSecond: rate,
                    shareOfPeak: int8Peak > 0 ? rate / int8Peak : nil))
        }

        mutating func addDecoding(_ timing: Benchmark.Timing, tokens: Int, sequences: Int) {
            let rate = Double(cost.weightBytes * tokens) / timing.medianSeconds / 1e9
            rows.append(
                Row(
                    name: sequences == 1 ? "decode \(tokens)" : "decode \(tokens) x \(sequences)",
                    timing: timing,
                    tokensPerSecond: Double(tokens * sequences) / timing.medianSeconds,
                    gigabytesPerSecond: rate, shareOfBandwidth: rate / readBandwidth))
        }

        mutating func finish() {
            peakMemory = MachineInfo.status("VmHWM")
            anonymousMemory = MachineInfo.status("RssAnon")
        }

        var table: String {
            var lines = [
                "\(cpu), \(isa), \(threads) threads",
                String(
                    format: "int8 peak %.0f GOP/s, read bandwidth %.1f GB/s, opened in %.2f s",
                    int8Peak, readBandwidth, loadSeconds), "",
                [
                    pad("", 22), pad("seconds (best-worst)", 28), pad("tokens/s", 10),
                    pad("GOP/s", 8), pad("of peak", 9), pad("GB/s", 7), "of bandwidth",
                ].joined(),
            ]
            for row in rows {
                let timing = row.timing
                lines.append(
                    [
                        pad(row.name, 22),
                        pad(
                            String(
                                format: "%.3f (%.3f-%.3f)", timing.medianSeconds,
                                timing.bestSeconds, timing.worstSeconds), 28),
                        pad(column(row.tokensPerSecond, "%.2f"), 10),
                        pad(column(row.gigaOperationsPerSecond, "%.0f"), 8),
                        pad(column(row.shareOfPeak.map { $0 * 100 }, "%.0f %%"), 9),
                        pad(column(row.gigabytesPerSecond, "%.1f"), 7),
                        column(row.shareOfBandwidth.map { $0 * 100 }, "%.0f %%"),
                    ].joined())
            }
            if let peakMemory, let anonymousMemory {
                lines.append("")
                lines.append(
                    String(
                        format: "peak memory %.2f GB resident, %.2f GB anonymous now",
                        Double(peakMemory) / 1e9, Double(anonymousMemory) / 1e9))
            }
            for row in rows where row.timing.stages != nil {
                lines += ["", stages(of: row)]
            }
            return lines.joined(separator: "\n") + "\n"
        }

        /// Where the time of a row went: each stage next to the limit that it has. Products in
        /// integers are held against the int8 peak; bytes, where a stage streams through them,
        /// against the read bandwidth of main memory, which what lies in a cache may exceed.
        private func stages(of row: Row) -> String {
            let entries = row.timing.stages ?? []
            let total = entries.reduce(0) { $0 + $1.seconds }
            var lines = [
                pad(row.name + ", by stage", 28) + pad("seconds", 10) + pad("share", 9)
                    + pad("GOP/s", 8) + pad("of peak", 9) + pad("GB/s", 7) + "of bandwidth"
            ]
            for entry in entries.sorted(by: { $0.seconds > $1.seconds }) where entry.seconds > 0 {
                let operations = Double(entry.operations) / entry.seconds / 1e9
                let bytes = Double(entry.bytes) / entry.seconds / 1e9
                let isInteger = entry.stage.isInteger && int8Peak > 0
                lines.append(
                    [
                        pad("  " + entry.stage.name, 28),
                        pad(String(format: "%.3f", entry.seconds), 10),
                        pad(String(format: "%.1f %%", 100 * entry.seconds / total), 9),
                        pad(column(entry.operations > 0 ? operations : nil, "%.0f"), 8),
                        pad(column(isInteger ? 100 * operations / int8Peak : nil, "%.0f %%"), 9),
                        pad(column(entry.bytes > 0 ? bytes : nil, "%.1f"), 7),
                        column(entry.bytes > 0 ? 100 * bytes / readBandwidth : nil, "%.0f %%"),
                    ].joined())
            }
            return lines.joined(separator: "\n")
        }

        private func column(_ value: Double?, _ format: String) -> String {
            value.map { String(format: format, $0) } ?? ""
        }

        private func pad(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
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

    /// A line of /proc/self/status in bytes, on Linux.
    static func status(_ key: String) -> Int? {
        let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix(key + ":") }
        return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
            .flatMap { Int($0) }.map { $0 * 1024 }
    }
}
