import CSIMD
import MMQModels

/// What this machine can do at best, measured.
struct MachineLimits {
    /// 10^9 operations a second in int8; 0: no vector products.
    let int8Peak: Double
    /// The same in f32.
    let floatPeak: Double
    /// The same of products of bf16; nil where nothing is computed so.
    let bf16Peak: Double?
    /// 10^9 bytes a second read from memory.
    let readBandwidth: Double

    private init(int8Peak: Double, floatPeak: Double, bf16Peak: Double?, readBandwidth: Double) {
        self.int8Peak = int8Peak
        self.floatPeak = floatPeak
        self.bf16Peak = bf16Peak
        self.readBandwidth = readBandwidth
    }

    /// Measures; the bandwidth over what is mapped of `model`'s language file. The peaks twice, the
    /// better counts: threads that have just begun may share a core for more than a second.
    init(of model: any VisionLanguageModel) {
        let peaks = [csimd_measure_int8_peak, csimd_measure_float_peak, csimd_measure_bf16_peak]
        let first = peaks.map { $0() / 1e9 }
        readBandwidth = model.measureReadBandwidth()
        let best = zip(first, peaks).map { max($0, $1() / 1e9) }
        int8Peak = best[0]
        floatPeak = best[1]
        bf16Peak = best[2] > 0 ? best[2] : nil
    }

    /// The same limits with the bandwidth that was measured in turn with something, if it was.
    func beside(_ timing: Benchmark.Timing) -> MachineLimits {
        MachineLimits(
            int8Peak: int8Peak, floatPeak: floatPeak, bf16Peak: bf16Peak,
            readBandwidth: timing.readBandwidth ?? readBandwidth)
    }

    /// The peak that a stage is held against.
    func peak(of stage: StageTimes.Stage) -> Double {
        if stage.isInteger { return int8Peak }
        return stage.isRounded ? bf16Peak ?? floatPeak : floatPeak
    }

    /// Seconds that work of so many operations takes at a peak; nil where there is none.
    private func seconds(_ operations: Int, at peak: Double) -> Double? {
        peak > 0 ? Double(operations) / (peak * 1e9) : operations > 0 ? nil : 0
    }

    /// Seconds that products with weights take at their peaks, of integers and of f32.
    func seconds(_ operations: ProductOperations) -> Double? {
        guard let integers = seconds(operations.integers, at: int8Peak),
            let floats = seconds(operations.floats, at: floatPeak)
        else { return nil }
        return integers + floats
    }

    /// What work of so many operations, at a peak of 10^9 a second, and bytes would wait for longer.
    func limit(operations: Int, at peak: Double, bytes: Int) -> String? {
        limit(computing: seconds(operations, at: peak), bytes: bytes)
    }

    /// The same of work that takes so many seconds at the peak.
    func limit(computing: Double?, bytes: Int) -> String? {
        let computing = computing ?? 0
        let reading = readBandwidth > 0 ? Double(bytes) / (readBandwidth * 1e9) : 0
        guard max(computing, reading) > 0 else { return nil }
        return computing > reading ? "compute" : "memory"
    }
}

/// What `mmq bench` measured, as a table and as JSON.
struct BenchReport: Encodable {
    /// One measured thing.
    private struct Row: Encodable {
        let name: String
        let timing: Benchmark.Timing
        var tokensPerSecond: Double?
        var gigaOperationsPerSecond: Double?
        var shareOfPeak: Double?
        var gigabytesPerSecond: Double?
        var shareOfBandwidth: Double?
        var limit: String?

        enum CodingKeys: String, CodingKey {
            case name, timing, limit
            case tokensPerSecond = "tokens_per_second"
            case gigaOperationsPerSecond = "gop_per_second"
            case shareOfPeak = "share_of_peak"
            case gigabytesPerSecond = "gb_per_second"
            case shareOfBandwidth = "share_of_read_bandwidth"
        }
    }

    private let isa = String(cString: csimd_isa())
    private let threads = Int(csimd_threads())
    private let cpu = MachineInfo.cpuName
    private let loadSeconds: Double
    private let limits: MachineLimits
    private var rows: [Row] = []
    private var peakMemory: Int?
    private var anonymousMemory: Int?
    private var largePages: Int?
    private let cost: DecodingCost

    private enum CodingKeys: String, CodingKey {
        case isa, threads, cpu, rows
        case loadSeconds = "load_seconds"
        case int8Peak = "int8_peak_gop_per_second"
        case floatPeak = "f32_peak_gop_per_second"
        case bf16Peak = "bf16_peak_gop_per_second"
        case readBandwidth = "read_bandwidth_gb_per_second"
        case peakMemory = "peak_resident_bytes"
        case anonymousMemory = "anonymous_bytes"
        case largePages = "file_bytes_in_large_pages"
    }

    /// - Parameter loadSeconds: what opening `model` took.
    init(model: any VisionLanguageModel, loadSeconds: Double) {
        self.loadSeconds = loadSeconds
        cost = model.decodingCost
        limits = MachineLimits(of: model)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(isa, forKey: .isa)
        try container.encode(threads, forKey: .threads)
        try container.encode(cpu, forKey: .cpu)
        try container.encode(rows, forKey: .rows)
        try container.encode(loadSeconds, forKey: .loadSeconds)
        try container.encode(limits.int8Peak, forKey: .int8Peak)
        try container.encode(limits.floatPeak, forKey: .floatPeak)
        try container.encodeIfPresent(limits.bf16Peak, forKey: .bf16Peak)
        try container.encode(limits.readBandwidth, forKey: .readBandwidth)
        try container.encodeIfPresent(peakMemory, forKey: .peakMemory)
        try container.encodeIfPresent(anonymousMemory, forKey: .anonymousMemory)
        try container.encodeIfPresent(largePages, forKey: .largePages)
    }

    /// Towers and projector or Q-Former of a picture.
    mutating func addVision(_ timing: Benchmark.Timing) {
        rows.append(Row(name: ModelFileRole.vision.rawValue, timing: timing))
    }

    /// A prompt of `tokens`; `name`: what happened to activations.
    mutating func addPrefill(_ timing: Benchmark.Timing, tokens: Int, name: String) {
        let operations = cost.layerOperations * tokens + cost.headOperations
        let rate = Double(operations.all) / timing.medianSeconds / 1e9
        let atPeak = limits.seconds(operations)
        rows.append(
            Row(
                name: "prompt \(tokens)" + name, timing: timing,
                tokensPerSecond: Double(tokens) / timing.medianSeconds,
                gigaOperationsPerSecond: rate,
                shareOfPeak: atPeak.map { $0 / timing.medianSeconds },
                limit: limits.limit(computing: atPeak, bytes: cost.weightBytes)))
    }

    /// `tokens` steps of `sequences` answers behind `prompt` tokens.
    mutating func addDecoding(
        _ timing: Benchmark.Timing, tokens: Int, behind prompt: Int, sequences: Int
    ) {
        let bytes = cost.bytes(tokens: tokens, behind: prompt, sequences: sequences)
        let operations = (cost.layerOperations + cost.headOperations) * (tokens * sequences)
        let rate = Double(operations.all) / timing.medianSeconds / 1e9
        let atPeak = limits.seconds(operations)
        let reading = Double(bytes) / timing.medianSeconds / 1e9
        let limits = limits.beside(timing)
        rows.append(
            Row(
                name: "decode \(tokens)" + (sequences == 1 ? "" : " x \(sequences)")
                    + (prompt == Benchmark.decodingPrompt ? "" : " behind \(prompt)"),
                timing: timing,
                tokensPerSecond: Double(tokens * sequences) / timing.medianSeconds,
                gigaOperationsPerSecond: rate,
                shareOfPeak: atPeak.map { $0 / timing.medianSeconds },
                gigabytesPerSecond: reading, shareOfBandwidth: reading / limits.readBandwidth,
                limit: limits.limit(computing: atPeak, bytes: bytes)))
    }

    /// Once everything is measured: the memory that it took.
    mutating func finish() {
        peakMemory = MachineInfo.status("VmHWM")
        anonymousMemory = MachineInfo.status("RssAnon")
        largePages = MachineInfo.status("FilePmdMapped", in: "smaps_rollup")
    }

    // MARK: - As a table

    private static let columns: [(title: String, width: Int)] = [
        ("GOP/s", 8), ("of peak", 9), ("GB/s", 7), ("of bandwidth", 16), ("limit", 0),
    ]

    /// Lines that end with a line end.
    var table: String {
        let bf16 = limits.bf16Peak.map { String(format: "bf16 peak %.0f GOP/s, ", $0) } ?? ""
        var lines = [
            "\(cpu), \(isa), \(threads) threads",
            String(
                format: "int8 peak %.0f GOP/s, \(bf16)f32 peak %.0f GOP/s, "
                    + "read bandwidth %.1f GB/s, opened in %.2f s",
                limits.int8Peak, limits.floatPeak, limits.readBandwidth, loadSeconds), "",
            line(
                [("", 22), ("seconds (best-worst)", 28), ("tokens/s", 10)] + Self.columns),
        ]
        for row in rows {
            let timing = row.timing
            let seconds = String(
                format: "%.3f (%.3f-%.3f)", timing.medianSeconds, timing.bestSeconds,
                timing.worstSeconds)
            lines.append(
                line(
                    [
                        (row.name, 22), (seconds, 28), (text(row.tokensPerSecond, "%.2f"), 10),
                    ]
                        + columns(
                            rate: row.gigaOperationsPerSecond, ofPeak: row.shareOfPeak,
                            reading: row.gigabytesPerSecond, ofBandwidth: row.shareOfBandwidth,
                            bandwidth: timing.readBandwidth, limit: row.limit)))
        }
        if let peakMemory, let anonymousMemory {
            lines.append("")
            let memory = String(
                format: "peak memory %.2f GB resident, %.2f GB anonymous now",
                Double(peakMemory) / 1e9, Double(anonymousMemory) / 1e9)
            let pages = largePages.map {
                String(format: ", %.2f GB of files in pages of 2 MB", Double($0) / 1e9)
            }
            lines.append(memory + (pages ?? ""))
        }
        for row in rows where row.timing.stages != nil {
            lines += ["", stages(of: row)]
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Where the time of a row went: each stage next to the limits that it has. Products in integers
    /// are held against the int8 peak, those of bf16 against theirs, other operations against that of
    /// f32; bytes, where a stage streams through them, against the read bandwidth of main memory, which
    /// what lies in a cache may exceed.
    private func stages(of row: Row) -> String {
        let entries = row.timing.stages ?? []
        let limits = limits.beside(row.timing)
        let total = entries.reduce(0) { $0 + $1.seconds }
        var lines = [
            line([(row.name + ", by stage", 28), ("seconds", 10), ("share", 9)] + Self.columns)
        ]
        for entry in entries.sorted(by: { $0.seconds > $1.seconds }) where entry.seconds > 0 {
            let peak = limits.peak(of: entry.stage)
            let rate = Double(entry.operations) / entry.seconds / 1e9
            let reading = Double(entry.bytes) / entry.seconds / 1e9
            let computes = entry.operations > 0, reads = entry.bytes > 0
            lines.append(
                line(
                    [
                        ("  " + entry.stage.name, 28),
                        (String(format: "%.3f", entry.seconds), 10),
                        (String(format: "%.1f %%", 100 * entry.seconds / total), 9),
                    ]
                        + columns(
                            rate: computes ? rate : nil,
                            ofPeak: computes && peak > 0 ? rate / peak : nil,
                            reading: reads ? reading : nil,
                            ofBandwidth: reads ? reading / limits.readBandwidth : nil,
                            limit: limits.limit(
                                operations: entry.operations, at: peak, bytes: entry.bytes))))
        }
        return lines.joined(separator: "\n")
    }

    /// - Parameter bandwidth: the one of the share, where it is not that of the machine's line.
    private func columns(
        rate: Double?, ofPeak: Double?, reading: Double?, ofBandwidth: Double?,
        bandwidth: Double? = nil, limit: String?
    ) -> [(String, Int)] {
        let cells = [
            text(rate, "%.0f"), text(ofPeak.map { $0 * 100 }, "%.0f %%"), text(reading, "%.1f"),
            text(ofBandwidth.map { $0 * 100 }, "%.0f %%") + text(bandwidth, " of %.1f"),
            limit ?? "",
        ]
        return zip(cells, Self.columns).map { ($0, $1.width) }
    }

    private func text(_ value: Double?, _ format: String) -> String {
        value.map { String(format: format, $0) } ?? ""
    }

    /// Cells side by side, each padded to its width, or apart if it is wider; nothing behind the last
    /// word.
    private func line(_ cells: [(String, Int)]) -> String {
        let padded = cells.map { $0 + String(repeating: " ", count: max(1, $1 - $0.count)) }
        let whole = padded.joined()
        return String(
            whole[..<(whole.lastIndex { $0 != " " }.map(whole.index(after:)) ?? whole.startIndex)])
    }
}
