import Foundation
import MMQBase
import Support
import Testing

@testable import MMQStudy

/// `export --format csv`: what the files say, against the study that they are of.
@Suite struct StudyTablesTests {
    private let folder: TemporaryFolder
    private let study: Study
    private let tables: [String: [[String]]]

    init() throws {
        folder = try TemporaryFolder()
        let path = folder.path + "/study.sqlite"
        try FileManager.default.copyItem(
            atPath: Golden.folder + "/study/whole.sqlite", toPath: path)
        study = try Study(path: path, access: .reading)
        let written = try StudyTables(
            study, to: folder.path + "/out", split: "val", answerSplit: "val"
        ).write(evaluator: Evaluator())
        tables = try Dictionary(
            uniqueKeysWithValues: written.files.map {
                (
                    ($0 as NSString).lastPathComponent,
                    Self.rows(try String(contentsOfFile: $0, encoding: .utf8))
                )
            })
    }

    /// Cells of a CSV text, as RFC 4180 has them.
    private static func rows(_ text: String) -> [[String]] {
        var rows: [[String]] = []
        var row: [String] = []
        var cell = ""
        var isQuoted = false
        let scalars = Array(text.unicodeScalars)
        var i = 0
        while i < scalars.count {
            let scalar = scalars[i]
            if isQuoted {
                if scalar == "\"", i + 1 < scalars.count, scalars[i + 1] == "\"" {
                    cell.unicodeScalars.append("\"")
                    i += 1
                } else if scalar == "\"" {
                    isQuoted = false
                } else {
                    cell.unicodeScalars.append(scalar)
                }
            } else if scalar == "\"" {
                isQuoted = true
            } else if scalar == "," || scalar == "\n" {
                row.append(cell)
                cell = ""
                if scalar == "\n" {
                    rows.append(row)
                    row = []
                }
            } else {
                cell.unicodeScalars.append(scalar)
            }
            i += 1
        }
        return rows
    }

    private func table(_ name: String) throws -> [[String]] {
        Array(try #require(tables[name + ".csv"]).dropFirst())
    }

    @Test func countsAreTheStudys() throws {
        var expected: [[String]] = []
        for domain in [Domain.rs, .com] {
            for entry in try study.counts(domain: domain, split: "val") {
                for layer in 0..<entry.shape.layers {
                    for neuron in 0..<entry.shape.neurons {
                        let i = layer * entry.shape.neurons + neuron
                        expected.append([
                            domain.rawValue, "val", "all", entry.shape.name, "\(layer)",
                            "\(neuron)", "\(entry.tokens)", "\(entry.counts[i])",
                            "\(entry.sums[i])",
                        ])
                    }
                }
            }
        }
        #expect(try table("counts") == expected)
        #expect(Set(expected.map { $0[8] }).count > 100)
    }

    @Test func neuronsAreTheSets() throws {
        var expected: [[String]] = []
        for module in try study.modules() {
            guard let found = try study.identification(module: module.name) else { continue }
            for (domain, layers) in zip(found.domains, found.neurons) {
                for (layer, neurons) in layers.enumerated() {
                    expected += neurons.map {
                        ["default", module.name, domain.rawValue, "\(layer)", "\($0)"]
                    }
                }
            }
        }
        #expect(try table("neurons") == expected)
        #expect(Set(expected.map { $0[3] }).count > 1)
    }

    @Test func answersAndScoresAreTheStudys() throws {
        let answers = try ["all", "lang", "none"].flatMap { setting in
            try study.answers(domain: .rs, split: "val", setting: setting).map { (setting, $0) }
        }
        let rows = try table("answers")
        #expect(rows.count == answers.count)
        for (setting, answer) in answers {
            let row = try #require(
                rows.first { $0[2] == setting && $0[3] == "\(answer.position)" })
            #expect(
                row[4...9] == [
                    "\(answer.index)", answer.question, answer.text ?? "", answer.problem ?? "",
                    "\(answer.tokens.count)", "\(answer.promptTokens)",
                ])
            #expect(row[10] == answer.groundTruth.jsonLine)
        }
        let scores = try Evaluator().evaluate(study.scoredAnswers(split: "val").answers).scores
        let written = try table("scores").filter { $0[4] == "all" }
        #expect(written.count == scores.count { $0.score != nil })
        for score in scores {
            guard let mean = score.score else { continue }
            let row = try #require(
                written.first {
                    $0[1] == score.setting && $0[2...3] == [score.form.rawValue, score.metric]
                })
            #expect(
                row[6...10] == [
                    "\(mean.samples)", "\(mean.value)", "\(mean.interval.low)",
                    "\(mean.interval.high)", "\(mean.clusters)",
                ])
            #expect(row[11] == score.change.map { "\($0.difference)" } ?? "")
            #expect(row[15] == score.change.map { "\($0.p)" } ?? "")
        }
    }

    @Test func lensIsTheSummary() throws {
        let rows = try table("lens")
        for pass in try study.lensPasses(.lens) {
            let summary = try study.lensSummary(pass)
            for (number, layer) in summary.layers.enumerated() {
                let row = try #require(
                    rows.first { $0[2] == pass.setting && $0[4] == "\(number)" && $0[5] == "image" }
                )
                let means = try #require(layer.image)
                #expect(
                    row[6...] == [
                        "\(summary.imagePositions)", "\(means.entropy)", "\(means.topProbability)",
                        "\(means.agreement)", "\(means.divergence)",
                    ])
            }
        }
        #expect(rows.count { $0[5] == "text" } == rows.count { $0[5] == "image" })
    }

    /// What separates cells and rows may stand in them; what is no number is an empty cell.
    @Test func anyTextIsACell() throws {
        let texts = ["plain", "a,b", "say \"so\"", "two\nlines", "car\rriage", "", "\"", "é, 漢"]
        let path = folder.path + "/any.csv"
        let writer = try CSVWriter(path: path, columns: ["text", "number"])
        for text in texts { try writer.add([.text(text), .number(.nan)]) }
        try writer.add([.none, .number(-0.1)])
        try writer.add([.integer(-7), .number(.infinity)])
        try writer.commit()
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(
            Self.rows(text) == [["text", "number"]] + texts.map { [$0, ""] } + [
                ["", "-0.1"], ["-7", ""],
            ])
        #expect(text.contains("\"say \"\"so\"\"\",\n"))
        #expect(text.contains("\nplain,\n"))
    }
}
