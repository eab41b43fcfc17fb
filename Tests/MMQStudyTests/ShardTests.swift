import Foundation
import MMQBase
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// Parts of a bench, counted apart and put together.
@Suite struct ShardTests {
    private let bench = Golden.folder + "/study/bench"
    private let goals: [CountingPlan.Goal] = [.samples(3), .samples(100), .visionTokens(49)]

    @Test func namesOfShards() throws {
        #expect(Shard("3/16") == Shard(3, of: 16))
        #expect(Shard("3/16")?.description == "3/16")
        for text in [
            "", "1", "0/2", "3/2", "-1/2", "1/0", "1/2/3", "a/b", "1/ 2", "01/2", "+1/2",
            "1/99999999999999999999", "1/70000",
        ] {
            #expect(Shard(text) == nil, "\(text)")
        }
        for count in [1, 2, 7] {
            let shards = try (1...count).map { try #require(Shard($0, of: count)) }
            for position in 0..<20 { #expect(shards.count { $0.takes(position) } == 1) }
        }
    }

    @Test func slurmArrays() throws {
        func shard(_ id: String, count: String, min: String? = nil, step: String? = nil) throws
            -> Shard
        {
            var variables = ["SLURM_ARRAY_TASK_ID": id, "SLURM_ARRAY_TASK_COUNT": count]
            variables["SLURM_ARRAY_TASK_MIN"] = min
            variables["SLURM_ARRAY_TASK_STEP"] = step
            return try Shard(slurm: variables)
        }
        #expect(try shard("0", count: "8", min: "0", step: "1") == Shard(1, of: 8))
        #expect(try shard("8", count: "8", min: "1", step: "1") == Shard(8, of: 8))
        #expect(try shard("10", count: "3", min: "2", step: "4") == Shard(3, of: 3))
        for (id, count, min) in [
            ("x", "8", "0"), ("9", "8", "1"), ("1", "8", "2"), ("1", "0", "0"),
        ] {
            let error = #expect(throws: InputError.self) { try shard(id, count: count, min: min) }
            #expect(error?.item?.hasPrefix("SLURM_ARRAY_TASK_") == true)
        }
        #expect(throws: InputError.self) { try Shard(slurm: [:]) }
    }

    private func count(
        _ path: String, _ goal: CountingPlan.Goal, _ shard: Shard?, domains: [Domain],
        model: PixelModel = PixelModel(), bench: String? = nil, stopAfter: Int = .max
    ) throws {
        let plan = try CountingPlan(
            study: Study(path: path, access: .writing), model: model,
            bench: bench ?? self.bench, goal: goal, blocks: 3, shard: shard)
        for domain in domains {
            var counted = 0
            _ = try ResumableRun(
                plan.step(domain), interrupted: { counted >= stopAfter },
                tell: { if case .progress = $0 { counted += 1 } }
            ).run()
        }
    }

    /// Everything that a study holds of counts.
    private func contents(_ path: String) throws -> [PassState: [String]] {
        let study = try Study(path: path, access: .reading)
        #expect(try study.shards().isEmpty)
        return try study.passes().reduce(into: [:]) { found, pass in
            let held = try study.passCounts(pass)
            found[pass] = [
                "\(held.samples.sorted { $0.key < $1.key })", try study.digest(of: StudyItem(pass)),
            ]
        }
    }

    @Test(arguments: [nil, "is"] as [String?])
    func anyNumberOfShardsIsTheWhole(refused: String?) throws {
        let folder = try TemporaryFolder()
        let domains: [Domain] = [.ad, .med, .rs, .com]
        var model = PixelModel()
        model.refused = refused
        var random = SeededRandom(seed: 3)
        for (number, goal) in goals.enumerated() {
            let whole = folder("whole-\(number)")
            try count(whole, goal, nil, domains: domains, model: model)
            let expected = try contents(whole)
            for parts in [1, 2, 3, 8] {
                var shards: [String] = []
                for part in 1...parts {
                    let path = folder("\(number)-\(parts)-\(part)")
                    // Some are interrupted on the way.
                    for stop in [part % 3 + 1, Int.max] {
                        try count(
                            path, goal, Shard(part, of: parts), domains: domains, model: model,
                            stopAfter: stop)
                    }
                    shards.append(path)
                }
                shards.shuffle(using: &random)
                let output = folder("merged-\(number)-\(parts)")
                _ = try StudyMerge(shards, output: output).run()
                #expect(try contents(output) == expected, "\(goal), \(parts) parts")
                guard parts > 2 else { continue }
                // By twos, then again over the same.
                let half = folder("half-\(number)-\(parts)")
                let result = try StudyMerge(Array(shards[..<2]), output: half, partial: true).run()
                #expect(result.missing.count == domains.count)
                for _ in 0..<2 {
                    _ = try StudyMerge([half] + shards[2...], output: output).run()
                    #expect(try contents(output) == expected)
                }
                // A part that is there twice, and the same, is taken once.
                let copy = folder("copy-\(number)-\(parts)")
                try FileManager.default.copyItem(atPath: shards[2], toPath: copy)
                _ = try StudyMerge([copy, half] + shards[2...], output: output).run()
                #expect(try contents(output) == expected)
            }
        }
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let folder = try TemporaryFolder()
        let first = folder("first")
        try count(first, .samples(4), Shard(1, of: 2), domains: [.med])
        let output = folder("output")
        func expectRefusal(_ files: [String], _ words: [String], partial: Bool = false) {
            let error = #expect(throws: InputError.self, "\(words)") {
                try StudyMerge(files, output: output, partial: partial).run()
            }
            for word in words { #expect(error?.description.contains(word) == true, "\(word)") }
            #expect(error?.code.isFailure == false)
            #expect(!exists(output) && !exists(output + ".merging"))
        }
        expectRefusal([first], ["shard 2/2", "med"])
        let other = folder("other")
        try count(other, .samples(4), Shard(2, of: 2), domains: [.med], stopAfter: 0)
        expectRefusal([first, other], ["shard 2/2", "med"])
        try count(other, .samples(4), Shard(2, of: 2), domains: [.med], stopAfter: 1)
        expectRefusal([first, other], ["shard 2/2", "samples left"])
        for (name, goal, shard, word) in [
            ("goal", CountingPlan.Goal.samples(3), Shard(2, of: 2), "3 samples"),
            ("number", .samples(4), Shard(2, of: 3), "of 3"),
        ] {
            try count(folder(name), goal, shard, domains: [.med])
            expectRefusal([first, folder(name)], [folder(name), word])
        }
        var model = PixelModel()
        model.fingerprint = "pixels-2"
        try count(folder("model"), .samples(4), Shard(2, of: 2), domains: [.med], model: model)
        expectRefusal([first, folder("model")], [folder("model"), "pixels-2"])
        // The same part with other content.
        let twin = folder("twin")
        try FileManager.default.copyItem(atPath: first, toPath: twin)
        let study = try Study(path: twin, access: .updating)
        try study.write {
            try $0.execute(sql: "UPDATE block_count SET counts = zeroblob(length(counts))")
        }
        try study.close()
        expectRefusal([first, twin], [twin, "shard 1/2", "other content"], partial: true)
        // A whole study beside a part of the same.
        try count(folder("whole"), .samples(4), nil, domains: [.med])
        expectRefusal([first, folder("whole")], [first, "part"])
        try folder.write("cut", Array(try readSmallFile(first).prefix(9000)))
        expectRefusal([first, folder("cut")], [folder("cut")])
        // A study that holds something else is not replaced.
        try count(folder("rs"), .samples(2), nil, domains: [.rs])
        let error = #expect(throws: InputError.self) {
            try StudyMerge([folder("whole")], output: folder("rs")).run()
        }
        #expect(error?.code == .alreadyExists)
    }

    @Test func aShardStaysWhatItIs() throws {
        let folder = try TemporaryFolder()
        let path = folder("shard")
        try count(path, .samples(4), Shard(1, of: 2), domains: [.med])
        for shard in [nil, Shard(2, of: 2), Shard(1, of: 3)] {
            let error = #expect(throws: InputError.self) {
                try count(path, .samples(4), shard, domains: [.med])
            }
            #expect(error?.code == .mismatch && error?.description.contains("1/2") == true)
        }
        try count(path, .samples(4), Shard(1, of: 2), domains: [.med])
        try count(folder("whole"), .samples(4), nil, domains: [.med])
        #expect(throws: InputError.self) {
            try count(folder("whole"), .samples(4), Shard(1, of: 2), domains: [.med])
        }
        let study = try Study(path: path, access: .reading)
        let progress = try #require(try study.shards().first)
        #expect(progress.finished && progress.done == progress.total && progress.secondsLeft == 0)
    }
}

extension PassState: Hashable {
    /// By domain: a study has one pass for each.
    public func hash(into hasher: inout Hasher) { hasher.combine(domain) }
}
