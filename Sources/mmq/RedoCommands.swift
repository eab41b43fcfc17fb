import Foundation
import MMQImage
import MMQModels
import MMQReport
import MMQStudy

/// The commands that would make a study anew, and those that fill the gaps of its report.
struct RedoCommands {
    private let document: ReportDocument
    private let study: String

    init(_ document: ReportDocument) {
        self.document = document
        study = "--study " + shellWord(document.facts.file)
    }

    /// What a page says about the command line.
    static func words(for document: ReportDocument) -> ReportCommands {
        let commands = RedoCommands(document)
        return ReportCommands(
            filling: commands.filling, redo: commands.lines,
            redoNote:
                "DIR of --model is the converted model, DIR of --bench the folder of the data "
                + "sets. Results do not depend on threads, batches or interruptions.")
    }

    private var common: String { "--model DIR --bench DIR \(study)\(opening)" }

    /// A study is one of a model, of what it rounds activations to and of whose pictures it takes.
    private var opening: String {
        guard let fingerprint = document.facts.fingerprint else { return "" }
        let activations = Activations(fingerprint: fingerprint)
        let compatibility = Compatibility(fingerprint: fingerprint)
        return (activations == .int8 ? "" : " --activations \(activations.rawValue)")
            + (compatibility == .current ? "" : " --compat \(compatibility.rawValue)")
    }

    /// The sets that the page shows, if they have a name.
    private var set: String {
        document.set == SetName.usual.name ? "" : " --set " + shellWord(document.set)
    }

    /// What fills the gaps of the page.
    private var filling: [ReportCommands.Gap: String] {
        let report = "mmq report \(study) --output FILE.html"
        var filling: [ReportCommands.Gap: String] = [
            .counts: "mmq activation \(common)", .neurons: "mmq identify \(study)",
            .blocks: "mmq activation \(common) --again", .moreDraws: "mmq stability \(study)\(set)",
            .moments: "mmq activation \(common) --again",
            .momentModel: "\(report) --model DIR --bench DIR",
            .momentPictures: "\(report) --model DIR --bench DIR",
            .sweep: "mmq identify \(study) --sweep top-rate=0.003,0.01,0.03,0.1",
            .sweepAnswers: "mmq generate \(common) --set NAME",
            .answers: "mmq generate \(common)", .matrix: "mmq generate \(common) --masks matrix",
            .controls: "mmq generate \(common) --masks 'all,random*20'",
            .lens: "mmq logit-lens \(common)",
            .deviations: "mmq deviation \(common)",
            .pictures: "\(report) --model DIR --image FILE --prompt TEXT",
            .comparisons: "\(report) --compare OTHER_STUDY", .weights: "--model DIR",
            .pictureOfLens: "--model, --image and --prompt",
        ]
        for module in document.facts.modules {
            filling[.neuronsOf(module: module.name)] =
                "mmq identify \(study) -d \(shellWord(module.name))"
        }
        return filling
    }

    /// One command a line, in the order in which they run.
    var lines: [String] { counting + identifying + answering + looking }

    private func named(_ domains: [Domain]) -> String {
        "--domain " + domains.map(\.rawValue).joined(separator: ",")
    }

    private func split(_ name: String, _ usual: String) -> String {
        name == usual ? "" : " --split " + shellWord(name)
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
        return grouped(passes) {
            "\($0.split) \($0.samples) \($0.bench == PassState.imported) \($0.blocks) \($0.apart) "
                + "\($0.keepTop)"
        }
        .compactMap { group in
            guard let first = group.first else { return nil }
            let domains = named(group.map(\.domain))
            guard first.bench != PassState.imported else {
                return "mmq import \(study) DIR   # counts of "
                    + group.map(\.domain.rawValue).joined(separator: ", ")
            }
            return "mmq activation \(common) \(domains)\(split(first.split, "train")) "
                + "--samples \(first.samples)"
                + (first.blocks == CountingPlan.usualBlocks || first.blocks == 1
                    ? "" : " --blocks \(first.blocks)")
                + (first.apart || first.blocks == 1 ? "" : " --no-positions")
                + (first.keepTop == CountingPlan.usualKeepTop || first.blocks == 1
                    ? "" : " --keep-top \(first.keepTop)")
        }
    }

    private var identifying: [String] {
        let groups = grouped(document.facts.found) {
            "\($0.set) \($0.split) \($0.domains) \($0.settings)"
        }
        return groups.compactMap { group in
            guard let first = group.first else { return nil }
            var text = "mmq identify \(study)\(split(first.split, "train"))"
            // Without -d: all modules.
            if group.count < document.facts.modules.count {
                text += group.map { " -d " + shellWord($0.module) }.joined()
            }
            if first.set != SetName.usual.name { text += " --set " + shellWord(first.set) }
            let counted = document.facts.passes.filter { $0.split == first.split }.map(\.domain)
            if Set(counted) != Set(first.domains) { text += " " + named(first.domains) }
            let usual = Identification.Settings()
            if first.settings.rule != usual.rule {
                text += " --rule \(first.settings.rule.rawValue)"
            }
            if first.settings.positions != usual.positions {
                text += " --positions \(first.settings.positions.rawValue)"
            }
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
                text += " --masks " + shellWord(settings.joined(separator: ","))
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
                + "\(split(first.split, "train")) --masks \(shellWord(first.setting)) "
                + "--samples \(first.samples)"
        }
    }
}
