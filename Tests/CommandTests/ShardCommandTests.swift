import Foundation
import Support
import Testing

/// `--shard`, `mmq merge` and `mmq status`, through the binary.
@Suite struct ShardCommandTests {
    private func exported(_ study: String, in folder: TemporaryFolder) throws -> [String: Data] {
        let output = folder("exported")
        try? FileManager.default.removeItem(atPath: output)
        try expectExit(0, ["export", "--study", study, "--output", output, "--name", "m"])
        return try folder.entries(of: "exported/m/activation").reduce(into: [:]) {
            $0[$1] = try Data(contentsOf: URL(fileURLWithPath: output + "/m/activation/" + $1))
        }
    }

    @Test(arguments: [GoldenModel.llava, .blip, .llava15])
    func shardsMakeTheWhole(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.convert(in: folder, type: "q4_0", visionType: "q8_0")
        func activation(_ study: String, _ options: [String]) -> [String] {
            [
                "activation", "--model", model, "--bench", goldenBench, "--study", folder(study),
                "--domain", "rs,com", "--vision-tokens", "120",
            ] + options
        }
        try expectExit(0, activation("whole", []))
        // Nothing is made for a plan.
        let plan = try expectExit(0, activation("one", ["--shard", "1/2", "--plan", "--json"]))
        #expect(!FileManager.default.fileExists(atPath: folder("one")))
        let left = try #require(plan.object()["entries"] as? [[String: Any]])
            .reduce(into: [:]) { $0[$1["domain"] as? String ?? ""] = $1["left"] as? Int }
        try expectExit(0, activation("one", ["--shard", "1/2"]))
        // One of an array of Slurm's, from task 4 on.
        let slurm = try Command.run(
            activation("two", ["--shard", "slurm"]),
            environment: [
                "SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "4",
                "SLURM_ARRAY_TASK_STEP": "1", "SLURM_ARRAY_TASK_COUNT": "2",
            ])
        #expect(slurm.code == 0, "\(slurm.errors)")
        let merge = ["merge", folder("two"), folder("one"), "--output", folder("merged")]
        for _ in 0..<2 { try expectExit(0, merge) }
        #expect(try exported(folder("merged"), in: folder) == exported(folder("whole"), in: folder))

        let status = try expectExit(0, ["status", folder("one"), folder("merged"), "--json"])
        let lines = try #require(try status.json() as? [[String: Any]])
        #expect(lines.count == 4)
        let one = lines.filter { $0["shard"] as? String == "1/2" }
        #expect(one.count == 2)
        for line in one {
            let domain = try #require((line["item"] as? String)?.split(separator: " ").first)
            #expect(line["done"] as? Int == left[String(domain)], "\(domain)")
        }
        #expect(lines.allSatisfy { $0["finished"] as? Bool == true })

        try expectRefusal(
            ["merge", folder("one"), "--output", folder("none")], naming: ["shard 2/2", "rs"])
        try expectExit(0, ["merge", folder("one"), "--partial", "--output", folder("part")])
        try expectExit(
            0, ["merge", folder("part"), folder("two"), "--output", folder("merged")])
        #expect(try exported(folder("merged"), in: folder) == exported(folder("whole"), in: folder))
        try expectRefusal(
            ["merge", folder("one"), folder("two"), "--output", folder("one")],
            naming: [folder("one"), "input"])
        try expectRefusal(activation("one", []), naming: [folder("one"), "1/2"])
        for shard in ["0/2", "3/2", "2", "slurm"] {
            #expect(try Command.run(activation("new", ["--shard", shard])).code == 2)
        }
        #expect(!FileManager.default.fileExists(atPath: folder("new")))
        #expect(!FileManager.default.fileExists(atPath: folder("none")))
    }
}
