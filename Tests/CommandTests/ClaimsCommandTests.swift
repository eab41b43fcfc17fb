import Foundation
import Support
import Testing

/// Claims from the command line: masks of every kind, every set on every bench, controls, stability,
/// sets side by side, and what is refused.
@Suite struct ClaimsCommandTests {
    private func study(_ folder: TemporaryFolder) throws -> (given: [String], study: [String]) {
        let model = try GoldenModel.llava.convert(in: folder)
        let study = ["--study", folder("s.sqlite")]
        let given = ["--model", model, "--bench", Golden.folder + "/bench"] + study
        try expectExit(
            0, ["activation"] + given + ["--domain", "rs,com", "--samples", "6", "--blocks", "3"])
        try expectExit(
            0,
            ["identify"] + study + [
                "--top-rate", ".3", "--filter-rate", ".3", "--activation-bar", ".4",
            ])
        return (given, study)
    }

    @Test func fromCountsToClaims() throws {
        let folder = try TemporaryFolder()
        let (given, study) = try study(folder)
        try expectExit(
            0,
            ["identify"] + study + [
                "--rule", "difference", "--positions", "text", "--set", "words",
            ])
        let sweep = try expectExit(
            0, ["identify"] + study + ["-d", "lang", "--sweep", "top-rate=0.1,0.5"])
        #expect(sweep.output.contains("top-rate=0.5 lang: 144 of 288"))
        let masks =
            "matrix-lang,lang:mean,all:add=-0.5,random-lang*3,matched-lang*2,words/lang,top-rate=0.5/lang"
        let answering =
            ["generate"] + given + [
                "--domain", "rs,com", "--samples", "3", "--greedy", "--max-tokens", "4", "--masks",
                masks,
            ]
        let plan = try expectExit(0, answering + ["--plan"]).output
        #expect(plan.contains("12 of 12 settings") && plan.contains("95 %"))
        try expectExit(0, answering)
        let again = try expectExit(0, answering + ["--plan"]).output
        #expect(again.contains("0 of 12 settings") && again.contains("nothing is left"))
        let text = try expectExit(0, ["evaluate"] + study).output
        for word in [
            "every set on every bench, lang", "specificity", "Holm", "could show",
            "effects among those of as many neurons drawn by chance", "3 random", "2 matched",
            "words/lang", "lang:mean", "all:add=-0.5",
        ] {
            #expect(text.contains(word), "\(word) in \(text)")
        }
        #expect(!text.contains("random-lang#1"))
        let only = try expectExit(0, ["evaluate", "--set", "words"] + study).output
        #expect(only.contains("words/lang") && only.contains("none") && !only.contains("lang:mean"))
        let stability = try expectExit(0, ["stability", "--draws", "5"] + study).output
        #expect(stability.contains("halves alike") && stability.contains("lang, rule dape"))
        // Out, and in again: the same answers, masks and sets.
        try expectExit(0, ["export", "--output", folder("out")] + study)
        for file in [
            "answers/rs/words/lang.jsonl", "answers/rs/lang@com.jsonl",
            "answers/rs/lang:mean.mask.json",
            "blocks/rs.safetensors", "mask/words/lang.json", "mask/top-rate=0.5/lang.json",
        ] {
            #expect(FileManager.default.fileExists(atPath: folder("out/llava/" + file)), "\(file)")
        }
        try expectExit(0, ["import", "--study", folder("t.sqlite"), folder("out")])
        try expectExit(0, ["export", "--output", folder("back"), "--study", folder("t.sqlite")])
        for file in [
            "answers/com/words/lang.jsonl", "answers/com/all:add=-0.5.mask.json",
            "answers/rs/matched-lang#2.mask.json", "mask/words/lang.json", "mask/lang.json",
        ] {
            #expect(
                try Data(contentsOf: URL(fileURLWithPath: folder("out/llava/" + file)))
                    == Data(contentsOf: URL(fileURLWithPath: folder("back/llava/" + file))),
                "\(file)")
        }
        // A mask that a run used can be asked with.
        let asked = [
            "ask", "--model", given[1], "--image", GoldenModel.llava.picture(), "--max-tokens", "6",
            "--json", "Why?",
        ]
        func tokens(_ more: [String]) throws -> [Int] {
            try #require(expectExit(0, asked + more).object()["tokens"] as? [Int])
        }
        for name in ["lang:mean", "all:add=-0.5"] {
            let setting = name.replacingOccurrences(of: ":", with: "@com:")
            #expect(
                try tokens(["--mask", folder("out/llava/answers/com/\(name).mask.json")])
                    == tokens(["--mask", setting] + study), "\(name)")
        }
        #expect(try tokens(["--mask", "none"] + study) == tokens([]))
    }

    @Test func whatIsRefused() throws {
        let folder = try TemporaryFolder()
        let (given, study) = try study(folder)
        let answering = ["generate"] + given + ["--domain", "rs", "--samples", "1", "--masks"]
        for (masks, word) in [
            ("ears", "ears"), ("lang@sky", "sky"), ("lang@ad", "ad"), ("lang:mean@doc", "doc"),
            ("lang:scale=nan", "nan"), ("lang:add=inf", "inf"), ("lang:scale=1e99", "1e99"),
            ("lang:soft", "soft"), ("random*0", "*"), ("none:mean", "none"), ("wide/lang", "wide"),
            ("a b/lang", "wide|ab/lang|identify"), ("matrix@rs", "matrix"), ("lang#2", "#"),
            ("random#3*2", "not both"), ("random@rs*2", "in front of '@'"),
            ("random@rs#2", "in front of '@'"),
        ] {
            let result = try expectExit(2, answering + [masks])
            #expect(
                word.split(separator: "|").contains { result.errors.contains($0) },
                "\(masks): \(result.errors)")
        }
        // No study is made for settings that there are not.
        let looking = ["logit-lens"] + given[..<4] + ["--study", folder("new"), "--domain", "rs"]
        for (masks, word) in [("ears", "ears"), ("", "no such setting"), ("none,", "no such")] {
            try expectRefusal(looking + ["--masks", masks], naming: [word])
            #expect(!FileManager.default.fileExists(atPath: folder("new")), "\(masks)")
        }
        for blocks in ["0", "1", "257", "-2", "many"] {
            try expectRefusal(
                ["activation"] + given + ["--domain", "rs", "--blocks=" + blocks],
                naming: ["--blocks"])
        }
        try expectRefusal(
            ["activation"] + given + ["--domain", "rs", "--samples", "7", "--blocks", "4"],
            naming: ["3 blocks"])
        try expectRefusal(["identify", "--rule", "best"] + study, naming: ["best"])
        try expectRefusal(["identify", "--sweep", "top-rate=2"] + study, naming: ["top-rate"])
        try expectRefusal(["identify", "--set", "../x"] + study, naming: ["../x"])
        try expectRefusal(["stability", "--set", "other"] + study, naming: ["other"])
        let picture = ["--image", GoldenModel.llava.picture(), "--max-tokens", "1", "Why?"]
        try expectRefusal(
            ["ask", "--model", given[1], "--mask", "lang"] + study + picture, naming: ["lang@med"])
        // Sets of another model.
        let other = try GoldenModel.blip.convert(in: folder, name: "blip")
        try expectRefusal(
            ["ask", "--model", other, "--mask", "lang@rs"] + study + picture, naming: ["shapes"])
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path)
                .filter { $0.hasSuffix(".lock") }.isEmpty)
    }
}
