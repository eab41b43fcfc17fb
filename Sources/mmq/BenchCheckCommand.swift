import ArgumentParser
import MMQStudy

/// `mmq bench-check`: what a bench folder holds and what it lacks.
struct BenchCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-check",
        abstract: "Say what a bench folder holds, what is missing, and how many samples there are.",
        discussion: """
            Exits with 2 if nothing could be read, or if something that is there (or was asked for by \
            name) could not be read, with 0 otherwise.
            """)

    @Argument(help: "The bench folder.")
    var bench: String

    @OptionGroup var domains: DomainOptions

    @Option(help: "Splits to look for, separated by commas (default: train,val).")
    var split: String?

    @OptionGroup var outside: OutsideOptions

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() throws {
        var report: ProgressReport?
        var label = ""
        let check = try BenchCheck(
            bench: bench, domains: try domains.chosen() ?? Domain.allCases,
            splits: (split ?? "train,val").split(separator: ",").map(String.init),
            allowsOutside: outside.allowOutside
        ) { domain, split, done, total in
            if label != "\(domain.rawValue) \(split)" {
                report?.clear()
                label = "\(domain.rawValue) \(split)"
                report = ProgressReport(label)
            }
            report?.update(Double(done) / Double(max(1, total)), done: done, unit: "questions")
        }
        report?.clear()
        if json {
            try Diagnostics.printJSON(check)
        } else {
            for entry in check.entries { print(Self.text(entry)) }
        }
        let named = try split != nil && domains.chosen() != nil
        let problems = check.entries.filter { $0.problem != nil }
        if problems.count == check.entries.count
            || problems.contains(where: { named || !$0.isAbsent })
        {
            throw ExitCode(2)
        }
    }

    private static func text(_ entry: BenchCheck.Entry) -> String {
        let head = "\(entry.domain.rawValue) \(entry.split) (\(entry.domain.dataSet)): "
        if let problem = entry.problem { return head + problem }
        var text = head + "\(entry.questions) questions, \(entry.samples) samples"
        if entry.missing > 0 { text += ", \(entry.missing) without their picture" }
        for file in entry.missingFiles.prefix(3) { text += "\n    missing: \(file)" }
        return text
    }
}
