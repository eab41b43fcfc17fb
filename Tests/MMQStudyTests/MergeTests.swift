import Foundation
import MMQBase
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// What shards leave behind when they are stopped, and what a merge may replace.
@Suite struct MergeTests {
    private let folder: TemporaryFolder
    private let bench = Golden.folder + "/study/bench"

    init() throws { folder = try TemporaryFolder() }

    private func count(
        _ name: String, _ shard: Shard? = nil, samples: Int = 4, model: PixelModel = PixelModel(),
        bench: String? = nil, domain: Domain = .med
    ) throws {
        let plan = try CountingPlan(
            study: Study(path: folder(name), access: .writing), model: model,
            bench: bench ?? self.bench, goal: .samples(samples), blocks: 3, shard: shard)
        _ = try ResumableRun(plan.step(domain)).run()
    }

    private func parts(_ count: Int) throws -> [String] {
        try (1...count).map { part in
            try self.count("part-\(part)", Shard(part, of: count))
            return folder("part-\(part)")
        }
    }

    private func merge(_ names: [String], _ output: String, partial: Bool = false) throws {
        _ = try StudyMerge(names, output: folder(output), partial: partial).run()
    }

    @Test func overlapsAreTakenApartWhereTheyCanBe() throws {
        let parts = try parts(4)
        try merge(parts, "whole")
        try merge(Array(parts[..<2]), "first two", partial: true)
        try merge(Array(parts[1..<3]), "middle two", partial: true)
        let digest = try digest("whole")
        for files in [
            // A part beside a merge that holds it too, in any order.
            [parts[0], folder("first two"), parts[2], parts[3]],
            [parts[3], parts[1], parts[2], folder("first two")],
            // Two merges that overlap, and the parts that one of them leaves.
            [folder("middle two"), folder("first two"), parts[2], parts[3]],
        ] {
            try merge(files, "again")
            #expect(try self.digest("again") == digest)
        }
        let error = #expect(throws: InputError.self) {
            try merge([folder("first two"), folder("middle two"), parts[3]], "again")
        }
        #expect(error?.description.contains("overlap") == true)
    }

    private func digest(_ name: String) throws -> String {
        let study = try Study(path: folder(name), access: .reading)
        return try study.digest(of: StudyItem(try #require(try study.passes().first)))
    }

    @Test func onlyAnEarlierMergeIsReplaced() throws {
        let parts = try parts(3)
        try merge(Array(parts[..<2]), "output", partial: true)
        // More parts than before, then the same again.
        for _ in 0..<2 { try merge(parts, "output") }

        func expectKept(_ files: [String], _ words: [String], partial: Bool = false) throws {
            let before = try readSmallFile(folder("output"))
            let error = #expect(throws: InputError.self, "\(words)") {
                try merge(files, "output", partial: partial)
            }
            #expect(error?.code == .alreadyExists)
            for word in words { #expect(error?.description.contains(word) == true, "\(word)") }
            #expect(try readSmallFile(folder("output")) == before)
            #expect(!exists(folder("output.merging")))
        }
        try expectKept(Array(parts[..<2]), ["med", "more samples"], partial: true)
        try count("less", samples: 2)
        try expectKept([folder("less")], ["med", "more samples"])
        var model = PixelModel()
        model.fingerprint = "pixels-2"
        try count("model", model: model)
        try expectKept([folder("model")], ["pixels-1"])
        // Neuron sets that were found in the merged study.
        try count("rs", samples: 2, domain: .rs)
        try merge(parts + [folder("rs")], "output")
        let study = try Study(path: folder("output"), access: .updating)
        try study.save(study.identify(module: "lang"))
        try study.close()
        try expectKept(parts + [folder("rs")], ["neuron sets"])
    }

    @Test func anotherMergeUnderWayIsNotTouched() throws {
        let parts = try parts(2)
        let target = folder("output.merging")
        do {
            let writer = try Study(path: target, access: .writing)
            let error = #expect(throws: InputError.self) { try merge(parts, "output") }
            #expect(error?.code == .locked)
            #expect(exists(target))
            try writer.close()
        }
        // What a merge left that was killed is no hindrance.
        try count("output.merging", domain: .rs)
        try merge(parts, "output")
        #expect(!exists(target))
    }

    /// A machine without a picture takes the next one: it ends elsewhere than the others.
    @Test func partsThatEndElsewhereAreRefused() throws {
        let copy = folder("bench")
        try FileManager.default.copyItem(atPath: bench, toPath: copy)
        let split = try BenchSplit(bench: copy, domain: .med, split: "train", form: .simple)
        guard case .sample(let sample)? = try split.next() else {
            Issue.record("the bench has no samples")
            return
        }
        try FileManager.default.removeItem(atPath: try #require(sample.pictures.first))
        try count("part-1", Shard(1, of: 2), samples: 2)
        try count("part-2", Shard(2, of: 2), samples: 2, bench: copy)
        let error = #expect(throws: InputError.self) {
            try merge([folder("part-1"), folder("part-2")], "output")
        }
        #expect(error?.description.contains("ends at another sample") == true)
        // The place alone tells it too: answers have no other.
        let study = try Study(path: folder("part-2"), access: .reading)
        let other = try Study(path: folder("part-1"), access: .reading)
        let ends = try [study, other].map { try $0.shards().first?.cursor }
        #expect(ends[0] != ends[1] && !ends.contains(nil))
    }
}
