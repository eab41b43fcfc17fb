import ArgumentParser
import MMQStudy

/// `mmq bench-check`: what a bench folder holds and what it lacks.
struct BenchCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-check",
        abstract: "Say what a bench folder holds, what is missing, and how many samples there are.",
        discussion: "Exits with 2 if nothing could be read, with 0 otherwise.")

    @Argument(help: "The bench folder.")
    var bench: String

    @OptionGroup var domains: DomainOptions

    @Option(help: "Splits to look for, separated by commas.")
    var split: String = "train,val"

    @OptionGroup var threading: ThreadOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() throws {
        var report: ProgressReport?
        var label = ""
        let check = try BenchCheck(
            bench: bench, domains: try domains.chosen() ?? Domain.allCases,
            splits: split.split(separator: ",").map(String.init)
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
        if check.entries.allSatisfy({ $0.problem != nil }) { throw ExitCode(2) }
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
