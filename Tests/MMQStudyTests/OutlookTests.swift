import Foundation
import MMQBase
import MMQImage
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQStudy

/// A plan says what the run with the same options does then, and changes nothing.
@Suite struct OutlookTests {
    private let bench = Golden.folder + "/study/bench"

    // MARK: - Counting

    /// Pixels counted, with the number of times.
    private final class CountedModel: CountingModel {
        var pixels = PixelModel()
        var calls = 0
        var fingerprint: String { pixels.fingerprint }
        var visionModule: String { pixels.visionModule }
        var modules: [ModuleShape] { pixels.modules }

        func visionTokens(size: @autoclosure () throws -> PixelSize, prompt: String) throws -> Int {
            try pixels.visionTokens(size: size(), prompt: prompt)
        }

        func count(
            image: RGBImage, prompt: String, moments: MomentRequest?
        ) throws -> SampleCounts {
            calls += 1
            return try pixels.count(image: image, prompt: prompt, moments: moments)
        }
    }

    private func counting(
        _ path: String, _ access: Study.Access, _ goal: CountingPlan.Goal, _ shard: Shard?,
        _ model: any CountingModel
    ) throws -> CountingPlan {
        try CountingPlan(
            study: Study(path: path, access: access), model: model, bench: bench, goal: goal,
            shard: shard)
    }

    /// Samples that a run counts, stopped after some.
    private func count(_ plan: CountingPlan, _ domain: Domain, stopAfter: Int = .max) throws -> Int
    {
        var (done, refused) = (0, 0)
        _ = try ResumableRun(
            plan.step(domain), interrupted: { done - refused >= stopAfter },
            tell: {
                if case .progress(let progress) = $0 { done = progress.done }
                if case .refused = $0 { refused += 1 }
            }
        ).run()
        return done - refused
    }

    @Test(arguments: [nil, Shard(1, of: 2), Shard(2, of: 3), Shard(5, of: 5)])
    func countingIsPlannedAsItIsDone(shard: Shard?) throws {
        let folder = try TemporaryFolder()
        let goals: [CountingPlan.Goal] = [.samples(3), .samples(100), .visionTokens(49)]
        for (number, goal) in goals.enumerated() {
            for refusesFirst in [false, true] {
                let model = CountedModel()
                let path = folder("\(number) \(refusesFirst)")
                for (place, domain) in [Domain.med, .rs].enumerated() {
                    let what = "\(goal) \(domain) \(refusesFirst)"
                    if refusesFirst { model.pixels.refused = try firstPrompt(domain, shard) }
                    var counted = 0
                    // At the beginning, on the way, and when nothing is left.
                    for stop in [1, Int.max, 0] {
                        let before = try? Data(contentsOf: URL(fileURLWithPath: path))
                        model.calls = 0
                        let outlook = try counting(path, .planning, goal, shard, model)
                            .outlook([domain])
                        let entry = try #require(outlook.entries.first)
                        #expect(entry.done == counted, "\(what)")
                        #expect((outlook.speed != nil) == (entry.left > 0), "\(what)")
                        #expect(model.calls == (entry.left > 0 ? 1 : 0), "\(what)")
                        #expect((try? Data(contentsOf: URL(fileURLWithPath: path))) == before)
                        #expect(exists(path) == (place > 0 || stop != 1))
                        let step = try counting(path, .writing, goal, shard, model)
                        let now = try count(step, domain, stopAfter: stop)
                        #expect(stop == 1 ? now <= entry.left : now == entry.left, "\(what)")
                        counted += now
                        if stop == 0 { #expect(entry.left == 0 && now == 0, "\(what)") }
                    }
                }
            }
        }
    }

    private func firstPrompt(_ domain: Domain, _ shard: Shard?) throws -> String? {
        let samples = try BenchSplit(bench: bench, domain: domain, split: "train", form: .simple)
        while let item = try samples.next() {
            if case .sample(let sample) = item, shard?.takes(sample.position) ?? true {
                return sample.prompt
            }
        }
        return nil
    }

    @Test func whatCountingRefusesItsPlanRefuses() throws {
        let folder = try TemporaryFolder()
        let model = CountedModel()
        let path = folder("study")
        let run = try counting(path, .writing, .samples(3), Shard(1, of: 2), model)
        _ = try count(run, .med)
        for (goal, shard) in [
            (CountingPlan.Goal.samples(3), nil), (.samples(3), Shard(2, of: 2)),
            (.samples(2), Shard(1, of: 2)),
        ] {
            let error = #expect(throws: InputError.self) {
                try counting(path, .planning, goal, shard, model).outlook([.med])
            }
            #expect(error?.code == .mismatch)
        }
        let none = try Study(path: folder("none"), access: .planning)
        #expect(try none.passes().isEmpty && none.model() == nil)
        #expect(!exists(folder("none")))
    }

    // MARK: - Answers

    @Test(arguments: [nil, Shard(1, of: 2), Shard(3, of: 4)])
    func answersArePlannedAsTheyAreGiven(shard: Shard?) throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let study = try fixture.study("study")
        let path = fixture.folder.path + "/study.sqlite"
        var settings = try fixture.plan(["none", "lang", "all", "random"], samples: 5)
        settings.domains = [.rs]
        settings.shard = shard
        func outlook() throws -> Outlook {
            try GenerationPlan(
                study: Study(path: path, access: .planning), model: fixture.model,
                bench: fixture.bench, settings: settings
            ).outlook()
        }
        let plan = try GenerationPlan(
            study: study, model: fixture.model, bench: fixture.bench, settings: settings)
        for stop in [3, Int.max, 0] {
            let outlook = try outlook()
            let left = outlook.entries.reduce(0) { $0 + $1.left }
            let total = try #require(outlook.totals.first)
            #expect(total.prompts == left && (outlook.speed != nil) == (left > 0))
            var given = 0
            let result = try ResumableRun(
                plan.step(.rs), interrupted: { given >= stop },
                tell: { if case .progress(let progress) = $0 { given = progress.done } }
            ).run().result
            #expect(result.held == outlook.entries.reduce(0) { $0 + $1.done })
            if stop == 3 {
                #expect(left > result.answered && result.answered == 3)
            } else {
                #expect(result.answered == left && result.towerPasses == total.towerPasses)
            }
            if stop == 0 { #expect(left == 0) }
        }
        // Another part, or the whole, is not to be had in this study.
        settings.shard = shard == nil ? Shard(1, of: 2) : nil
        let error = #expect(throws: InputError.self) { try outlook() }
        #expect(error?.code == .mismatch)
    }

    /// A prompt that does not fit is left to do, but takes no pass; the next one tells the speed.
    @Test func answersThatCannotBeGiven() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let bench = fixture.folder.path + "/bench"
        try FileManager.default.copyItem(atPath: fixture.bench, toPath: bench)
        let settings = try fixture.plan(["none", "lang"], samples: 3)
        func plan() throws -> GenerationPlan {
            try GenerationPlan(
                study: fixture.study(UUID().uuidString), model: fixture.model, bench: bench,
                settings: settings)
        }
        let whole = try #require(try plan().outlook().totals.first)
        #expect(whole.prompts == 6 && whole.samples == 3)
        try GenerationFixture.lengthenFirst(of: bench)
        let outlook = try plan().outlook()
        let total = try #require(outlook.totals.first)
        #expect(total.prompts == 4 && total.samples == 3 && outlook.speed != nil)
        #expect(outlook.entries.filter { $0.domain == .rs }.allSatisfy { $0.left == 3 })
    }
}
