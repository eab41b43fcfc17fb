import Foundation
import MMQBase
import MMQStudy

/// Scores, matrices and chance as text for reading.
struct EvaluationText {
    private let found: Evaluation
    private let types: Bool
    /// Names are padded to the longest.
    private let width: Int

    init(_ found: Evaluation, types: Bool) {
        self.found = found
        self.types = types
        width = max(16, found.shownScores.map(\.setting.count).max() ?? 0)
    }

    var text: String {
        var lines: [String] = []
        var title = ""
        for score in found.shownScores {
            let next =
                "\(score.domain.rawValue) (\(score.domain.dataSet)), \(score.form.rawValue): "
            if title != next + score.metric {
                title = next + score.metric
                if !lines.isEmpty { lines.append("") }
                lines.append(title)
            }
            lines.append(row(score))
            if let average = score.average {
                lines.append("    " + line("mean of types", average))
            }
            if types {
                for group in score.groups {
                    lines.append(
                        "    " + line("\(group.kind): \(group.name)", group.score, width: 40))
                }
            }
        }
        for matrix in found.matrices { lines += [""] + self.matrix(matrix) }
        lines += controls
        return lines.joined(separator: "\n")
    }

    private func row(_ score: Score) -> String {
        guard let mean = score.score else {
            return "  \(pad(score.setting, width)) missing: \(score.missing ?? "no answers")"
        }
        var text = "  " + line(score.setting, mean)
        if let change = score.change {
            text += String(format: "   %+.2f", 100 * change.difference)
            text += " " + range(change.interval)
            text += " against \(change.against), \(size(change.pairs, change.clusters))"
            text += ", p \(probability(change.p))"
            if let holm = change.holm { text += ", Holm \(probability(holm))" }
            if change.p >= 0.05 {
                text +=
                    change.detectable.map { String(format: ", could show %.2f", 100 * $0) }
                    ?? ", could show nothing"
            }
        }
        return text
    }

    private func line(_ name: String, _ mean: MeanScore, width: Int? = nil) -> String {
        let number = String(format: "%6.2f", 100 * mean.value)
        return
            "\(pad(shown(name, lines: false), width ?? self.width)) \(number) \(range(mean.interval))  "
            + size(mean.samples, mean.clusters)
    }

    private func size(_ samples: Int, _ clusters: Int) -> String {
        "n = \(samples)" + (clusters == samples ? "" : " in \(clusters) groups")
    }

    /// A row for each domain's neurons, a column for each domain's questions.
    private func matrix(_ matrix: SetMatrix) -> [String] {
        var table = TextTable(
            ["neurons of"] + matrix.benches.map { "\($0.rawValue)" }
                + ["specificity", "95 % interval", "p", "Holm"])
        for row in matrix.rows {
            let cells = matrix.benches.indices.map { bench -> String in
                guard let change = row.changes[bench] else { return "-" }
                let mark = change.p < 0.05 ? "*" : " "
                return String(format: "%+.2f", 100 * change.difference) + mark
            }
            let own = row.specificity
            table.add(
                [row.domain.rawValue] + cells + [
                    own.map { String(format: "%+.2f", 100 * $0.value) } ?? "-",
                    own.map { range($0.interval) } ?? "-", own.map { number($0.p) } ?? "-",
                    own?.holm.map(number) ?? "-",
                ])
        }
        return [
            "every set on every bench, \(matrix.setting), \(matrix.form.rawValue): "
                + "difference to no mask (* p < 0.05)"
        ] + table.text.split(separator: "\n").map { "  " + $0 }
    }

    private var controls: [String] {
        guard !found.controls.isEmpty else { return [] }
        var table = TextTable([
            "domain", "form", "setting", "difference", "controls", "theirs: mean", "least",
            "greatest", "drops more than %", "p", "Holm",
        ])
        for test in found.controls {
            func points(_ value: Double) -> String { String(format: "%+.2f", 100 * value) }
            table.add([
                test.domain.rawValue, test.form.rawValue, test.setting, points(test.difference),
                "\(test.controls.count) \(test.control)",
                points(test.controls.reduce(0, +) / Double(test.controls.count)),
                points(test.controls.min() ?? 0), points(test.controls.max() ?? 0),
                TextTable.percent(test.percentile, 0), number(test.p),
                test.holm.map(number) ?? "-",
            ])
        }
        return ["", "effects among those of as many neurons drawn by chance"]
            + table.text.split(separator: "\n").map { "  " + $0 }
    }

    private func range(_ interval: Interval) -> String {
        String(format: "[%.2f, %.2f]", 100 * interval.low, 100 * interval.high)
    }

    private func number(_ p: Double) -> String {
        p < 0.0001 ? "< 0.0001" : String(format: "%.4f", p)
    }

    private func probability(_ p: Double) -> String {
        p < 0.0001 ? number(p) : "= " + number(p)
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
