import Foundation
import MMQBase
import MMQModels
import MMQStudy

extension ReportPage {
    func writeFacts() {
        let facts = document.facts
        section("facts", "The run", "") {
            var list: [(String, String)] = [
                ("study", foreign(facts.file) + ", " + PageText.size(facts.bytes)),
                ("report made", PageText.escaped(document.made)),
            ]
            if let changed = facts.changed {
                list.insert(("last changed", PageText.escaped(changed)), at: 1)
            }
            list.append(
                (
                    "model",
                    facts.fingerprint.map { "<code>\(PageText.escaped($0))</code>" } ?? "none"
                ))
            if let model = facts.model {
                let types = model.weights.map {
                    "\($0.file) \($0.type): \(PageText.whole($0.tensors)) tensors, "
                        + PageText.size($0.bytes)
                }
                list.append(("weights", PageText.escaped(types.joined(separator: "; "))))
            } else if facts.fingerprint != nil {
                list.append(("weights", "types are shown with <code>--model DIR</code>"))
            }
            let modules = facts.modules.map {
                "\($0.name) \(PageText.whole($0.layers)) × \(PageText.whole($0.neurons))"
            }
            if !modules.isEmpty {
                list.append(("modules", PageText.escaped(modules.joined(separator: ", "))))
            }
            list.append(("layout", "report \(document.version)"))
            let items = list.map { "<dt>\($0.0)</dt><dd>\($0.1)</dd>" }
            add("<dl class=\"facts\">\(items.joined())</dl>")
            writeSamples(facts)
            writeRedo(facts)
        }
        add("</main>")
    }

    private func writeSamples(_ facts: ReportFacts) {
        if !facts.passes.isEmpty {
            fold(
                "Counted samples",
                PageTable(
                    caption: "Counting passes",
                    head: [
                        "domain", "split", "prompt", "annotations", "samples", "vision tokens",
                        "without picture", "missing frames",
                    ], labels: 4,
                    rows: facts.passes.map {
                        [
                            $0.domain.rawValue, $0.split, $0.form.rawValue, $0.bench,
                            PageText.whole($0.samples), PageText.whole($0.visionTokens),
                            PageText.whole($0.skipped), PageText.whole($0.missingFrames),
                        ]
                    }))
        }
        if !facts.answers.isEmpty {
            fold(
                "Answers",
                PageTable(
                    caption: "Sets of answers",
                    head: [
                        "domain", "split", "mask", "annotations", "options", "neurons off",
                        "answered", "without answer",
                    ], labels: 5,
                    rows: facts.answers.map {
                        [
                            $0.domain.rawValue, $0.split, $0.setting, $0.bench, $0.options,
                            PageText.whole($0.neuronsOff), PageText.whole($0.answered),
                            PageText.whole($0.unanswered),
                        ]
                    }))
        }
        if !facts.lensPasses.isEmpty {
            fold(
                "Lens and deviation",
                PageTable(
                    caption: "Passes of the lens and of the deviation",
                    head: [
                        "measured", "domain", "split", "mask", "annotations", "options",
                        "samples", "without picture",
                    ], labels: 6,
                    rows: facts.lensPasses.map {
                        [
                            $0.kind.rawValue, $0.domain.rawValue, $0.split, $0.setting, $0.bench,
                            $0.options, PageText.whole($0.samples), PageText.whole($0.skipped),
                        ]
                    }))
        }
    }

    private func writeRedo(_ facts: ReportFacts) {
        let commands = RedoCommands(document).lines
        guard !commands.isEmpty else { return }
        add("<h3>How to redo it</h3>")
        let lines = commands.map { PageText.escaped($0) }.joined(separator: "\n")
        add("<pre tabindex=\"0\"><code>\(lines)</code></pre>")
        add(
            "<p class=\"note\">DIR of --model is the converted model, DIR of --bench the folder of "
                + "the data sets. Results do not depend on threads, batches or interruptions.</p>")
    }
}

/// The commands that would make a study anew.
struct RedoCommands {
    private let document: ReportDocument
    private let study: String

    init(_ document: ReportDocument) {
        self.document = document
        study = "--study " + ReportPage.quoted(document.facts.file)
    }

    private var common: String { "--model DIR --bench DIR \(study)" }

    var lines: [String] { counting + identifying + answering + looking }

    private func named(_ domains: [Domain]) -> String {
        "--domain " + domains.map(\.rawValue).joined(separator: ",")
    }

    private func split(_ name: String, _ usual: String) -> String {
        name == usual ? "" : " --split " + ReportPage.quoted(name)
    }

    /// Values that share a key become one command, in the order of their first.
    private func grouped<Value>(
        _ values: [Value], by key: (Value) -> String
    ) -> [[Value]] {
        var keys: [String] = []
        var groups: [String: [Value]] = [:]
        for value in values {
            let key = key(value)
            if groups[key] == nil { keys.append(key) }
            groups[key, default: []].append(value)
        }
        return keys.compactMap { groups[$0] }
    }

    private var counting: [String] {
        let passes = document.facts.passes.filter { $0.form == .simple }
        return grouped(passes) { "\($0.split) \($0.samples) \($0.bench == PassState.imported)" }
            .compactMap { group in
                guard let first = group.first else { return nil }
                let domains = named(group.map(\.domain))
                guard first.bench != PassState.imported else {
                    return "mmq import \(study) DIR   # counts of "
                        + group.map(\.domain.rawValue).joined(separator: ", ")
                }
                return "mmq activation \(common) \(domains)\(split(first.split, "train")) "
                    + "--samples \(first.samples)"
            }
    }

    private var identifying: [String] {
        let found = document.modules.filter(\.isIdentified)
        let groups = grouped(found) { "\($0.split) \($0.domains) \($0.settings)" }
        return groups.compactMap { group in
            guard let first = group.first else { return nil }
            var text = "mmq identify \(study)\(split(first.split, "train"))"
            // Without -d: all modules.
            if group.count < document.modules.count {
                text += group.map { " -d " + ReportPage.quoted($0.module.name) }.joined()
            }
            let counted = document.facts.passes.filter { $0.split == first.split }.map(\.domain)
            if Set(counted) != Set(first.domains) { text += " " + named(first.domains) }
            let usual = Identification.Settings()
            if first.settings.topRate != usual.topRate {
                text += " --top-rate \(first.settings.topRate)"
            }
            if first.settings.filterRate != usual.filterRate {
                text += " --filter-rate \(first.settings.filterRate)"
            }
            if first.settings.activationBar != usual.activationBar {
                text += " --activation-bar \(first.settings.activationBar)"
            }
            return text
        }
    }

    private var answering: [String] {
        let sets = document.facts.answers
        return grouped(sets) { "\($0.split) \($0.options) \($0.answered + $0.unanswered)" }
            .compactMap { group in
                guard let first = group.first else { return nil }
                let domains = Domain.allCases.filter { domain in
                    group.contains { $0.domain == domain }
                }
                guard
                    let options = try? JSONDecoder().decode(
                        AnswerOptions.self, from: Data(first.options.utf8))
                else {
                    return "mmq import \(study) DIR   # answers of "
                        + domains.map(\.rawValue).joined(separator: ", ")
                }
                var settings: [String] = []
                for set in group where !settings.contains(set.setting) {
                    settings.append(set.setting)
                }
                var text = "mmq generate \(common) \(named(domains))\(split(first.split, "val"))"
                text += " --masks " + ReportPage.quoted(settings.joined(separator: ","))
                text += " --samples \(first.answered + first.unanswered)"
                text += " --max-tokens \(options.maxTokens) --seed \(options.seed)"
                return text
                    + (options.temperature == 0
                        ? " --greedy"
                        : " --temperature \(options.temperature) --top-k \(options.topK) "
                            + "--top-p \(options.topP)")
            }
    }

    private var looking: [String] {
        grouped(document.facts.lensPasses) {
            "\($0.kind.rawValue) \($0.split) \($0.setting) \($0.samples)"
        }.compactMap { group in
            guard let first = group.first else { return nil }
            let name = first.kind == .lens ? "logit-lens" : "deviation"
            return "mmq \(name) \(common) \(named(group.map(\.domain)))"
                + "\(split(first.split, "train")) --masks \(ReportPage.quoted(first.setting)) "
                + "--samples \(first.samples)"
        }
    }
}
