import Foundation
import MMQStudy

/// A plan as text for reading.
struct OutlookText {
    let outlook: Outlook
    /// Samples of each domain that are wanted; nil where another goal is set.
    let samples: Int?

    var text: String {
        let settings = outlook.entries.compactMap(\.setting)
        var table = TextTable(
            ["domain", "left to do", "done", "samples", "tower passes", "prompts", "time"])
        for total in outlook.totals {
            let entries = outlook.entries.filter { $0.domain == total.domain }
            let left = entries.filter { $0.left > 0 }
            table.add([
                total.domain.rawValue,
                settings.isEmpty
                    ? (left.isEmpty ? "nothing" : "counting")
                    : "\(left.count) of \(entries.count) settings",
                String(entries.reduce(0) { $0 + $1.done }), String(total.samples),
                String(total.towerPasses), String(total.prompts), Self.time(total.seconds),
            ])
        }
        var lines = [table.text]
        let seconds = outlook.totals.reduce(0) { $0 + $1.seconds }
        if let speed = outlook.speed {
            lines.append("")
            lines.append(
                "about \(Self.time(seconds)) on this machine, reckoned from one sample: "
                    + (settings.isEmpty
                        ? String(format: "%.3g s each", speed.prompt)
                        : String(
                            format: "towers %.3g s, prompt %.3g s, %.3g s a token, %.1f tokens an "
                                + "answer", speed.tower, speed.prompt, speed.token, speed.tokens)))
        } else {
            lines.append(
                outlook.entries.contains { $0.left > 0 }
                    ? "\nthe model can take none of the samples that are left"
                    : "\nnothing is left to do")
        }
        if let samples, !settings.isEmpty {
            let widths = [samples / 4, samples, samples * 4].filter { $0 > 0 }.map {
                String(format: "%d: ±%.1f", $0, 100 * Outlook.halfWidth(samples: $0))
            }
            lines.append(
                "95 % interval of a score of 50 by samples, in points: "
                    + widths.joined(separator: ", "))
        }
        return lines.joined(separator: "\n")
    }

    /// A time in its two largest units.
    static func time(_ seconds: Double) -> String {
        let total = Int(min(seconds, 1e9).rounded(.up))
        if total < 60 { return "\(total) s" }
        if total < 3_600 { return "\(total / 60) min \(total % 60) s" }
        if total < 86_400 { return "\(total / 3_600) h \(total / 60 % 60) min" }
        return "\(total / 86_400) d \(total / 3_600 % 24) h"
    }
}
