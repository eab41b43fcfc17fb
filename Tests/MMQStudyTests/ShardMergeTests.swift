import Foundation
import MMQBase
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQStudy

/// Parts of answers, of the lens and of the deviation, put together: what one run over all makes.
@Suite struct ShardMergeTests {
    private let fixture: GenerationFixture
    private let domains: [Domain] = [.rs, .com]

    init() throws { fixture = try GenerationFixture("llava-next/hub-f16", type: .f16) }

    private func path(_ name: String) -> String { fixture.folder.path + "/" + name + ".sqlite" }

    /// Answers, looks and measures, each stopped on the way first if `stops`.
    private func fill(_ name: String, _ shard: Shard?, stops: Bool = false) throws {
        let study = try fixture.study(name)
        let mask = try MaskSetting(name: "lang", of: fixture.model.architecture)
        func run<Step: RunStep>(_ step: () throws -> Step) throws {
            for stop in stops ? [1, Int.max] : [Int.max] {
                var done = 0
                _ = try ResumableRun(
                    step(), interrupted: { done >= stop },
                    tell: { if case .progress(let progress) = $0 { done = progress.done } }
                ).run()
            }
        }
        var settings = try fixture.plan(["none", "lang", "random"], samples: 5)
        settings.shard = shard
        let answering = try GenerationPlan(
            study: study, model: fixture.model, bench: fixture.bench, settings: settings)
        let lens = try LensPlan(
            study: study, model: fixture.model, bench: fixture.bench, samples: 5, shard: shard)
        let deviation = try DeviationPlan(
            study: study, model: fixture.model, bench: fixture.bench, samples: 3, shard: shard)
        for domain in domains {
            try run { try answering.step(domain) }
            try run { try lens.step(domain) }
            try run { try lens.step(domain, mask) }
            try run { try deviation.step(domain, mask) }
        }
    }

    /// What a study holds: each item, how it was made and what is in it.
    private func contents(_ name: String) throws -> [String: String] {
        let study = try Study(path: path(name), access: .reading)
        #expect(try study.shards().isEmpty)
        var found: [String: String] = [:]
        for (item, samples, _) in try study.contents() {
            found[item.name] = "\(samples) \(try study.digest(of: item))"
        }
        for set in try study.storedAnswerSets() {
            found["how " + StudyItem(set).name] = "\(set.options) \(set.mask.count) \(set.bench)"
        }
        for pass in try study.lensPasses(.lens) {
            found["how " + StudyItem(pass).name] = "\(pass)"
            found["means " + StudyItem(pass).name] = "\(try study.lensSummary(pass))"
        }
        for pass in try study.lensPasses(.deviation) {
            found["how " + StudyItem(pass).name] = "\(pass)"
            found["means " + StudyItem(pass).name] = "\(try study.deviationSummaries(pass))"
        }
        found["sets"] = "\(try study.identificationRows())"
        return found
    }

    @Test func partsAreTheWhole() throws {
        // To the bit: with the same kernels all the time.
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        try fill("whole", nil)
        let expected = try contents("whole")
        // Of each domain counts, three answer sets, two lenses and a deviation.
        #expect(expected.keys.count { !$0.hasPrefix("how ") && !$0.hasPrefix("means ") } == 15)
        for parts in [2, 3] {
            let names = (1...parts).map { "\(parts)-\($0)" }
            for (number, name) in names.enumerated() {
                try fill(name, Shard(number + 1, of: parts), stops: number == 0)
            }
            let shards = names.map(path)
            for files in [shards, shards.reversed()] {
                _ = try StudyMerge(files, output: path("merged")).run()
                #expect(try contents("merged") == expected, "\(parts) parts")
            }
            guard parts > 2 else { continue }
            // By twos, with a part that is there twice.
            let half = path("half")
            let result = try StudyMerge(Array(shards[..<2]), output: half, partial: true).run()
            #expect(result.missing.count == 6 * domains.count)
            _ = try StudyMerge([half, shards[2], shards[2]], output: path("merged")).run()
            #expect(try contents("merged") == expected)
        }
    }

    @Test func partsWithOtherContentAreRefused() throws {
        for number in 1...2 { try fill("\(number)", Shard(number, of: 2)) }
        for (name, statement, item) in [
            ("answer", "UPDATE answer SET text = text || '.' WHERE text IS NOT NULL", "answers"),
            ("lens", "UPDATE lens_sample SET sums = zeroblob(length(sums))", "lens"),
            (
                "deviation", "UPDATE deviation_sample SET sums = zeroblob(length(sums))",
                "deviation"
            ),
        ] {
            try FileManager.default.copyItem(atPath: path("1"), toPath: path(name))
            let study = try Study(path: path(name), access: .updating)
            try study.write { try $0.execute(sql: statement) }
            try study.close()
            let error = #expect(throws: InputError.self) {
                try StudyMerge(
                    [path("1"), path(name), path("2")], output: path("merged")
                ).run()
            }
            #expect(error?.code == .mismatch && error?.file == path(name))
            #expect(error?.item?.contains(item) == true && !exists(path("merged")))
        }
        // A part that is not there.
        let error = #expect(throws: InputError.self) {
            try StudyMerge([path("1")], output: path("merged")).run()
        }
        for word in ["shard 2/2", "answers under lang", "lens under none", "deviation under lang"] {
            #expect(error?.description.contains(word) == true, "\(word)")
        }
    }
}
