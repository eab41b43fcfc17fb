import ArgumentParser
import MMQBase
import MMQStudy

/// Shows on stderr what a run tells: pictures that are not there, samples that cannot be taken, how
/// far it has come.
struct RunDisplay {
    /// What the bar is called.
    let label: String
    /// What a sample is called in front of its number, and what befell it behind.
    var sample: String
    var refusal = " left out"
    /// What the run does so many of.
    var unit = "samples"

    /// A run over a domain.
    init(_ domain: Domain) {
        label = "\(domain.rawValue) \(domain.dataSet)"
        sample = "\(domain.rawValue) sample"
    }

    /// A run over a domain under a mask setting.
    init(_ domain: Domain, setting: String) {
        label = "\(domain.rawValue) \(domain.dataSet), \(setting)"
        sample = "\(label): sample"
    }

    /// Answers to a domain's questions.
    static func answers(_ domain: Domain) -> RunDisplay {
        var display = RunDisplay(domain)
        display.refusal = ": no answer"
        display.unit = "answers"
        return display
    }

    /// Runs a step to its end.
    func follow<Step: RunStep>(
        _ step: Step, _ interrupt: InterruptFlag
    ) throws -> (outcome: RunOutcome, result: Step.Result) {
        let report = ProgressReport(label)
        defer { report.clear() }
        return try ResumableRun(step, interrupted: { interrupt.isRaised }) { event in
            guard case .progress(let progress) = event else {
                report.clear()
                return note(event)
            }
            report.update(
                progress.fraction, from: progress.startFraction, done: progress.done, unit: unit)
        }.run()
    }

    /// Says what is left out.
    func note(_ event: RunEvent) {
        switch event {
        case .missing(let files):
            let names = files.map { shown($0, lines: false) }
            Diagnostics.note("missing picture: \(names.joined(separator: " or "))")
        case .refused(let position, let reason):
            Diagnostics.note("\(sample) \(position)\(refusal): \(reason)")
        case .progress: break
        }
    }
}

/// Runs one after the other, until one is interrupted, and what came of them.
struct RunSeries<Result: Encodable> {
    let results: [Result]
    let isInterrupted: Bool

    /// Runs `run` over all `items`.
    ///
    /// - Parameters:
    ///   - study: taken away again if it is new and an error left it empty; nil if nothing is stored.
    ///   - underWay: what is finished after Ctrl-C.
    ///   - interrupt: of a command that has several series; nil for one of its own.
    ///   - plan: made once, when the study is open.
    init<Plan, Item>(
        over items: [Item], study: Study?, underWay: String = "sample",
        interrupt: InterruptFlag? = nil, plan: () throws -> Plan,
        run: (Plan, Item, InterruptFlag) throws -> (outcome: RunOutcome, result: Result)
    ) throws {
        let interrupt = interrupt ?? .finishing(underWay)
        var results: [Result] = []
        var outcome = RunOutcome.reached
        do {
            let plan = try plan()
            for item in items where outcome != .interrupted {
                let ended = try run(plan, item, interrupt)
                results.append(ended.result)
                outcome = ended.outcome
            }
        } catch {
            study?.discardIfNewAndEmpty()
            throw error
        }
        self.results = results
        isInterrupted = outcome == .interrupted
    }

    /// Runs `run` over all mask settings of all domains.
    init<Plan>(
        over domains: [Domain], settings: [MaskSetting], study: Study, plan: () throws -> Plan,
        run: (Plan, (domain: Domain, setting: MaskSetting), InterruptFlag) throws -> (
            outcome: RunOutcome, result: Result
        )
    ) throws {
        let items = domains.flatMap { domain in
            settings.map { (domain: domain, setting: $0) }
        }
        try self.init(over: items, study: study, plan: plan, run: run)
    }

    /// Prints the results, as one JSON document or as text.
    func show(json: Bool, separator: String = "\n", _ text: (Result) -> String) throws {
        if json {
            try Diagnostics.printJSON(results)
        } else {
            print(results.map(text).joined(separator: separator))
        }
    }
}

extension InterruptFlag {
    /// For a run that ends with what is under way.
    static func finishing(_ underWay: String) -> InterruptFlag {
        InterruptFlag(note: "Finishing the \(underWay) under way; Ctrl-C again stops at once.")
    }
}
