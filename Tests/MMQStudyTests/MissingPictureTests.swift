import Foundation
import GRDB
import MMQBase
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQStudy

/// Pictures that are not there when a bench is counted, and are later.
@Suite struct MissingPictureTests {
    private let folder: TemporaryFolder
    private let model: any VisionLanguageModel
    private let bench: String
    /// Of samples in the middle of the order.
    private let pictures: [String]

    init() throws {
        folder = try TemporaryFolder()
        model = try LensFixture.model(in: folder)
        bench = folder.path + "/bench"
        try FileManager.default.copyItem(atPath: LensFixture.bench, toPath: bench)
        let walk = try BenchSplit(bench: bench, domain: .rs, split: "train", form: .simple)
        var there: [String] = []
        while let item = try walk.next() {
            if case .sample(let sample) = item { there += sample.pictures }
        }
        pictures = Array(there[1...2])
        try #require(there.count > 4)
    }

    private func away<T>(_ pictures: [String], _ body: () throws -> T) throws -> T {
        for picture in pictures {
            try FileManager.default.moveItem(atPath: picture, toPath: picture + ".away")
        }
        defer {
            for picture in pictures {
                try? FileManager.default.moveItem(atPath: picture + ".away", toPath: picture)
            }
        }
        return try body()
    }

    private func count(
        _ study: Study, _ goal: CountingPlan.Goal, shard: Shard? = nil, stopAfter: Int = .max
    ) throws -> PassState {
        let plan = try CountingPlan(
            study: study, model: model, bench: bench, goal: goal, shard: shard)
        var done = 0
        return try ResumableRun(
            plan.step(.rs), interrupted: { done >= stopAfter },
            tell: { if case .progress = $0 { done += 1 } }
        ).run().result
    }

    private func study(_ name: String) throws -> Study {
        try Study(path: folder.path + "/" + name, access: .writing)
    }

    @Test func areCountedWhenTheyAreThere() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let whole = try study("whole")
        let expected = try count(whole, .samples(1000))
        #expect(expected.missing.isEmpty)

        let later = try study("later")
        let without = try away(pictures) { try count(later, .samples(1000)) }
        #expect(without.missing.count == 2)
        #expect(without.samples == expected.samples - 2)
        #expect(without.skipped == expected.skipped + 2)
        // Still not there: nothing changes, and the neurons found from these counts stay.
        try LensFixture.identify(later, model)
        #expect(try away(pictures) { try count(later, .samples(1000)) } == without)
        #expect(try later.identification(module: "lang") != nil)
        // One of two.
        let half = try away([pictures[1]]) { try count(later, .samples(1000)) }
        #expect(half.missing.count == 1)
        #expect(half.samples == expected.samples - 1)
        let found = try count(later, .samples(1000))
        #expect(found.missing.isEmpty)
        #expect(found.samples == expected.samples)
        #expect(found.skipped == expected.skipped)
        #expect(found.visionTokens == expected.visionTokens)
        // To the bit, the strongest activations and where they were too.
        #expect(
            try later.digest(of: StudyItem(found)) == whole.digest(of: StudyItem(expected)))
        for positions in Positions.allCases {
            #expect(
                try later.counts(domain: .rs, split: "train", positions: positions)
                    == whole.counts(domain: .rs, split: "train", positions: positions))
        }
        let blocks = try [whole, later].map {
            try $0.passCounts(#require(try $0.pass(domain: .rs, split: "train"))).samples
        }
        #expect(blocks[0] == blocks[1])
    }

    /// Between the two samples that a run goes back to.
    @Test func areCountedOnceThroughAnInterruption() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let whole = try study("whole")
        let expected = try count(whole, .samples(1000))
        let stopped = try study("stopped")
        _ = try away(pictures) { try count(stopped, .samples(1000)) }
        let half = try count(stopped, .samples(1000), stopAfter: 1)
        #expect(half.missing.count == 1)
        let found = try count(stopped, .samples(1000))
        #expect(found.missing.isEmpty && found.samples == expected.samples)
        #expect(
            try stopped.counts(domain: .rs, split: "train")
                == whole.counts(domain: .rs, split: "train"))
    }

    /// A part does not go back: others would have to pass by what it found. Together they do.
    @Test func partsLeaveThemToTheWhole() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let whole = try study("whole")
        _ = try count(whole, .samples(1000))
        var studies: [Study] = []
        for number in 1...2 {
            let part = try #require(Shard(number, of: 2))
            let study = try study("part-\(number)")
            studies.append(study)
            let without = try away(pictures) { try count(study, .samples(1000), shard: part) }
            #expect(without.missing.count == 2)
            #expect(try count(study, .samples(1000), shard: part) == without)
        }
        // An older mmq kept only how many there were; which they are must be the same.
        func merge(secondMissing places: String, _ name: String) throws {
            try DatabaseQueue(path: studies[1].path).write {
                try $0.execute(sql: "UPDATE pass SET missing = ?", arguments: [places])
            }
            _ = try StudyMerge(studies.map(\.path), output: folder.path + "/" + name).run()
        }
        let places = try #require(
            DatabaseQueue(path: studies[1].path).read {
                try String.fetchOne($0, sql: "SELECT missing FROM pass")
            })
        try merge(secondMissing: "[]", "older")
        #expect(throws: InputError.self) { try merge(secondMissing: "[0, 1]", "others") }
        try DatabaseQueue(path: studies[1].path).write {
            try $0.execute(sql: "UPDATE pass SET missing = ?", arguments: [places])
        }
        let merged = folder.path + "/merged"
        _ = try StudyMerge(studies.map(\.path), output: merged).run()
        let study = try Study(path: merged, access: .writing)
        #expect(try count(study, .samples(1000)).missing.isEmpty)
        #expect(
            try study.counts(domain: .rs, split: "train")
                == whole.counts(domain: .rs, split: "train"))
    }

    @Test func areLookedThroughWhenTheyAreThere() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        func look(_ name: String) throws -> [LensSample] {
            let study = try study(name)
            let plan = try LensPlan(study: study, model: model, bench: bench, samples: 1000)
            let none = try MaskSetting(name: "none", of: model.architecture)
            let pass = try ResumableRun(plan.step(.rs, none)).run().result
            return try (0..<pass.cursor).compactMap { try study.lensSample(pass, place: $0) }
        }
        let expected = try look("whole")
        #expect(try away(pictures) { try look("later") }.count == expected.count - 2)
        #expect(try look("later") == expected)
    }

    /// What was asked for is there: a sample more would be another result.
    @Test func areLeftWhereTheGoalIsReached() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let study = try study("goal")
        let without = try away(pictures) { try count(study, .samples(3)) }
        #expect(without.missing.count == 2)
        #expect(try count(study, .samples(3)) == without)
        // Taken further, the run goes back first.
        let further = try count(study, .samples(4))
        #expect(further.missing.count == 1)
        #expect(further.cursor == without.cursor)
    }

    @Test func arePlanned() throws {
        let study = try study("planned")
        _ = try away(pictures) { try count(study, .samples(1000)) }
        let plan = try CountingPlan(
            study: study, model: model, bench: bench, goal: .samples(1000))
        #expect(try plan.outlook([.rs]).entries.map(\.left) == [2])
    }
}
