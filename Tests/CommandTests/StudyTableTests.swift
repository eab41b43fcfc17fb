import Foundation
import Support
import Testing

/// `mmq export --format csv` through the binary: which tables there are, of which rows. What they say
/// is held against the study in `StudyTablesTests`.
@Suite struct StudyTableTests {
    @Test func tablesHoldWhatTheStudyDoes() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let study = folder("study.sqlite")
        let bench = ["--model", model, "--bench", goldenBench, "--study", study]
        try expectExit(0, ["activation"] + bench + ["--domain", "rs,com"])
        try expectExit(0, ["identify", "--study", study, "--top-rate", "0.1"])
        try expectExit(
            0,
            ["generate"] + bench + [
                "--domain", "rs", "--masks", "none,lang", "--samples", "3", "--max-tokens", "3",
            ])
        let result = try expectExit(
            0, ["export", "--study", study, "--output", folder("out"), "--format", "csv"])
        let files = result.output.split(separator: "\n").map(String.init)
        let names = files.map { URL(fileURLWithPath: $0).lastPathComponent }
        // No lens was looked through: no table of it.
        #expect(names == ["counts.csv", "neurons.csv", "answers.csv", "scores.csv"])
        func lines(_ number: Int) throws -> [Substring] {
            try String(contentsOfFile: files[number], encoding: .utf8).split(separator: "\n")
        }
        let counts = try lines(0)
        #expect(
            counts[0] == "domain,split,positions,module,layer,neuron,tokens,fired,sum")
        // Two domains, 3 × 96 lang neurons three times (all, image, text), the towers' twice.
        #expect(counts.count { $0.hasPrefix("rs,train,all,lang,") } == 3 * 96)
        #expect(counts.count { $0.hasPrefix("com,train,image,lang,") } == 3 * 96)
        #expect(counts.count { $0.hasPrefix("com,train,text,lang,") } == 3 * 96)
        func fired(_ kind: String) -> Int {
            counts.filter { $0.hasPrefix("rs,train,\(kind),lang,") }
                .reduce(0) { $0 + (Int($1.split(separator: ",")[7]) ?? .min) }
        }
        #expect(fired("all") == fired("image") + fired("text"))
        #expect(fired("all") > 0)
        #expect(try lines(2).count == 1 + 2 * 3)
        #expect(try lines(3).contains { $0.hasPrefix("rs,none,official,") })
    }

    /// What the program leaves to Python it says word by word.
    @Test func parquetIsWrittenByPython() throws {
        try expectRefusal(
            ["export", "--study", "my study", "--output", "o", "--format", "parquet"],
            naming: ["python -m mmq export --study 'my study' --output o --format parquet"])
    }

    @Test func judgesOnlyForTables() throws {
        try expectRefusal(
            ["export", "--study", "s", "--output", "o", "--judge", "exact"], naming: ["csv"])
    }
}
