import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// A golden checkpoint with a study in which every module's neurons were identified.
struct GenerationFixture {
    let folder: TemporaryFolder
    let bench = Golden.folder + "/bench"
    let model: any VisionLanguageModel
    private let counted: String

    init(_ checkpoint: String, type: StoredType = .q8_0) throws {
        folder = try TemporaryFolder()
        let path = folder.path + "/model"
        try Converter(
            checkpoint: Golden.folder + "/" + checkpoint + "/checkpoint",
            options: ConversionOptions(type: type, visionType: type)
        ).convert(to: path)
        model = try ModelFiles(folder: path).open()
        counted = folder.path + "/counted.sqlite"
        let study = try Study(path: counted, access: .writing)
        let plan = try CountingPlan(study: study, model: model, bench: bench, goal: .samples(2))
        for domain in [Domain.rs, .com] { _ = try ResumableRun(plan.step(domain)).run() }
        // Tiny modules: at the study's own rates hardly any neuron would be found.
        let settings = Identification.Settings(topRate: 0.5, filterRate: 0.2, activationBar: 0.4)
        for module in model.modules {
            try study.save(study.identify(module: module.name, settings: settings))
        }
    }

    /// A fresh study with the counts and neuron sets.
    func study(_ name: String) throws -> Study {
        let path = folder.path + "/" + name + ".sqlite"
        // Nobody has it open, so all of it is in this one file.
        try FileManager.default.copyItem(atPath: counted, toPath: path)
        return try Study(path: path, access: .writing)
    }

    func settings(_ names: [String]? = nil) throws -> [MaskSetting] {
        try names?.map { try MaskSetting(name: $0, of: model.architecture) }
            ?? MaskSetting.standard(of: model.architecture)
    }

    func plan(
        _ settings: [String]? = nil, samples: Int = 3, batch: Int = 1,
        options: AnswerOptions = AnswerOptions(seed: 7, maxTokens: 6), shard: Shard? = nil,
        replaces: Bool = false
    ) throws -> GenerationPlan.Settings {
        GenerationPlan.Settings(
            domains: [.rs, .com], masks: try self.settings(settings), samples: samples,
            batch: batch, options: options, shard: shard, replaces: replaces)
    }

    /// Makes the first question of a copy of the bench too long for any model.
    @discardableResult
    static func lengthenFirst(of bench: String) throws -> BenchSample {
        let file = URL(fileURLWithPath: bench + "/rs/USGS_split_val_questions.json")
        let text = try String(contentsOf: file, encoding: .utf8)
        // The first question of one picture.
        let walk = try BenchSplit(bench: bench, domain: .rs, split: "val", form: .full)
        guard case .sample(let sample)? = try walk.next() else {
            throw InputError(.badInput, file: bench, "no sample")
        }
        let picture = URL(fileURLWithPath: sample.pictures[0]).deletingPathExtension()
            .lastPathComponent
        let pattern = #"("img_id": \#(picture), [^}]*"question": ")"#
        let long = String(repeating: "many words ", count: 3000)
        let changed = text.replacingOccurrences(
            of: pattern, with: "$1" + long, options: .regularExpression)
        #expect(changed != text)
        try Data(changed.utf8).write(to: file)
        return sample
    }

    /// Everything that a study holds of answers.
    static func answers(_ study: Study) throws -> [String: [StoredAnswer]] {
        var all: [String: [StoredAnswer]] = [:]
        for set in try study.answerSets() {
            all["\(set.domain) \(set.setting) \(set.mask.count)"] = try study.answers(
                domain: set.domain, split: set.split, setting: set.setting)
        }
        return all
    }

    @discardableResult
    func run(
        _ study: Study, _ plan: GenerationPlan.Settings, domain: Domain = .rs, bench: String? = nil,
        interrupted: @escaping () -> Bool = { false },
        tell: @escaping (RunEvent) -> Void = { _ in }
    ) throws -> GenerationPlan.Result {
        let plan = try GenerationPlan(
            study: study, model: model, bench: bench ?? self.bench, settings: plan)
        return try ResumableRun(plan.step(domain), interrupted: interrupted, tell: tell).run()
            .result
    }
}

@Suite struct GenerationTests {
    static let checkpoints = ["llava-next/hub-f16", "instructblip/hub-f32"]

    @Test(arguments: checkpoints)
    func answersAreThoseOfTheModelUnderEachMask(_ checkpoint: String) throws {
        let fixture = try GenerationFixture(checkpoint)
        let study = try fixture.study("s")
        let options = AnswerOptions(temperature: 0, topK: 0, maxTokens: 6)
        let plan = try fixture.plan(samples: 2, batch: 3, options: options)
        for domain in plan.domains {
            let result = try fixture.run(study, plan, domain: domain)
            #expect(result.outcome == .reached)
            #expect(result.answered == 2 * plan.masks.count)
            #expect(result.samples == 2)
        }
        let architecture = fixture.model.architecture
        var differing = 0
        for domain in plan.domains {
            let walk = try BenchSplit(
                bench: fixture.bench, domain: domain, split: "val", form: .full)
            var samples: [BenchSample] = []
            while samples.count < 2, let item = try walk.next() {
                if case .sample(let sample) = item { samples.append(sample) }
            }
            for setting in plan.masks {
                let stored = try study.answers(
                    domain: domain, split: "val", setting: setting.name)
                #expect(stored.map(\.position) == samples.map(\.position))
                let set = try #require(
                    try study.answerSet(domain: domain, split: "val", setting: setting.name))
                #expect(Set(set.mask.keys) == Set(setting.modules))
                let mask =
                    setting.isRandom
                    ? try NeuronMask(layers: set.mask, modules: fixture.model.modules)
                    : try study.mask(domain: domain, modules: setting.modules)
                for (answer, sample) in zip(stored, samples) {
                    let expected = try fixture.model.generate(
                        image: sample.picture(), prompt: fixture.model.studyPrompt(sample.prompt),
                        options: GenerationOptions(maxTokens: 6, minTokens: 1), mask: mask)
                    #expect(answer.tokens == expected.tokens, "\(domain) \(setting.name)")
                    #expect(answer.text == architecture.studyAnswer(expected.text))
                    #expect(answer.promptTokens == expected.promptTokens)
                    #expect(answer.index == sample.index)
                    #expect(answer.question == sample.question)
                    #expect(answer.groundTruth == sample.answer)
                    #expect(answer.attributes == sample.attributes)
                    #expect(answer.problem == nil)
                    let plain = try study.answers(domain: domain, split: "val", setting: "none")
                    if plain.first(where: { $0.position == answer.position })?.tokens
                        != answer.tokens
                    {
                        differing += 1
                    }
                }
            }
        }
        // Masks do change answers, else this would show nothing.
        #expect(differing > 3)
    }

    @Test(arguments: checkpoints)
    func neitherBatchNorOrderNorStoppingTells(_ checkpoint: String) throws {
        let fixture = try GenerationFixture(checkpoint, type: .q4_0)
        let one = try fixture.study("one")
        for domain in [Domain.rs, .com] {
            try fixture.run(one, fixture.plan(), domain: domain)
        }
        let expected = try GenerationFixture.answers(one)
        #expect(try expected.values.joined().count == 2 * 3 * fixture.plan().masks.count)
        #expect(Set(expected.values.joined().map(\.tokens)).count > 5)

        let eight = try fixture.study("eight")
        for domain in [Domain.com, .rs] {
            try fixture.run(eight, fixture.plan(batch: 8), domain: domain)
        }
        #expect(try GenerationFixture.answers(eight) == expected)

        let pieces = try fixture.study("pieces")
        let names = try fixture.plan().masks.map(\.name)
        var rounds = 0
        // Settings in two parts and backwards, fewer samples first, stopped again and again.
        for (part, samples) in [(Array(names.suffix(3).reversed()), 1), (names, 3)] {
            for domain in [Domain.rs, .com] {
                var outcome = RunOutcome.interrupted
                while outcome == .interrupted {
                    var asked = 0
                    let result = try fixture.run(
                        pieces, fixture.plan(part, samples: samples, batch: 1 + rounds % 3),
                        domain: domain,
                        interrupted: {
                            asked += 1
                            return asked > 3
                        })
                    outcome = result.outcome
                    #expect(result.answered <= 3)
                    rounds += 1
                }
            }
        }
        #expect(rounds > 10)
        #expect(try GenerationFixture.answers(pieces) == expected)
        // Done is done.
        let again = try fixture.run(pieces, fixture.plan())
        #expect(again.answered == 0)
        #expect(again.towerPasses == 0)
        #expect(again.held == expected.values.joined().count / 2)
    }

    @Test func towersRunOncePerSampleAndMaskOfTheirs() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let study = try fixture.study("s")
        let shared = try fixture.run(study, fixture.plan(["none", "lang"], batch: 3))
        #expect(shared.answered == 6)
        #expect(shared.towerPasses == 3)
        let more = try fixture.run(
            study, fixture.plan(["none", "lang", "vision", "mmproj", "all"], batch: 2))
        #expect(more.answered == 9)
        // vision and all have the same neurons off in the towers, mmproj others.
        #expect(more.towerPasses == 6)
    }

    @Test func otherSeedsOtherAnswers() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        func answers(_ options: AnswerOptions, _ name: String) throws -> [[Int32]] {
            let study = try fixture.study(name)
            try fixture.run(study, fixture.plan(["none", "lang"], options: options))
            return try GenerationFixture.answers(study).sorted { $0.key < $1.key }
                .flatMap { $0.value.map(\.tokens) }
        }
        let first = try answers(AnswerOptions(seed: 1, maxTokens: 6), "1")
        #expect(try answers(AnswerOptions(seed: 1, maxTokens: 6), "again") == first)
        #expect(try answers(AnswerOptions(seed: 2, maxTokens: 6), "2") != first)
        #expect(first.count == 6)
    }

    /// A shard that is stopped before its first answer is no study that holds all of nothing.
    @Test func aShardThatBeginsSaysSo() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let study = try fixture.study("shard")
        for replaces in [false, true] {
            let options = AnswerOptions(seed: replaces ? 8 : 7, maxTokens: 2)
            let plan = try fixture.plan(
                options: options, shard: Shard(2, of: 3), replaces: replaces)
            _ = try fixture.run(study, plan, interrupted: { true })
            let sets = try study.answerSets()
            let rows = try study.shards()
            #expect(!sets.isEmpty && rows.map(\.item.setting) == sets.map(\.setting).sorted())
            #expect(
                rows.allSatisfy { $0.part == 2 && $0.done == 0 && !$0.finished && $0.total > 0 })
            // Going on, and again with nothing left.
            for _ in 0..<2 {
                _ = try fixture.run(study, fixture.plan(options: options, shard: Shard(2, of: 3)))
                let done = try study.shards()
                #expect(done.allSatisfy { $0.finished && $0.done == $0.total && $0.cursor != nil })
                #expect(done.map(\.total) == rows.map(\.total))
            }
        }
    }

    @Test func answersMadeInAnotherWayAreNotMixed() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let study = try fixture.study("s")
        try fixture.run(study, fixture.plan(["none", "all"], samples: 2))
        let before = try GenerationFixture.answers(study)
        func fails(_ plan: GenerationPlan.Settings, bench: String? = nil, _ words: String) {
            let error = #expect(throws: InputError.self) {
                try fixture.run(study, plan, bench: bench)
            }
            #expect(error?.code == .mismatch)
            #expect(error?.problem.contains(words) == true, "\(String(describing: error))")
        }
        let other = AnswerOptions(seed: 8, maxTokens: 6)
        fails(try fixture.plan(["none"], options: other), "options")
        let copy = fixture.folder.path + "/bench"
        try FileManager.default.copyItem(atPath: fixture.bench, toPath: copy)
        let file = URL(fileURLWithPath: copy + "/rs/USGS_split_val_answers.json")
        try (Data(contentsOf: file) + Data("\n".utf8)).write(to: file)
        fails(try fixture.plan(["none"]), bench: copy, "annotations")
        let settings = Identification.Settings(topRate: 0.3, filterRate: 0.2, activationBar: 0.4)
        try study.save(study.identify(module: "lang", settings: settings))
        fails(try fixture.plan(["none", "all"]), "neurons")
        #expect(try GenerationFixture.answers(study) == before)
        // What was made in the same way goes on beside it.
        #expect(try fixture.run(study, fixture.plan(["none"], samples: 3)).answered == 1)

        let result = try fixture.run(
            study, fixture.plan(["none", "all"], samples: 2, replaces: true))
        #expect(result.answered == 2)
        let set = try #require(
            try study.answerSet(domain: .rs, split: "val", setting: "all"))
        #expect(
            try set.mask == study.mask(domain: .rs, modules: ["lang", "vision", "mmproj"]).layers)
    }

    @Test func neuronsMustBeIdentified() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let path = fixture.folder.path + "/new.sqlite"
        let study = try Study(path: path, access: .writing)
        for name in ["vision", "all", "random"] {
            let error = #expect(throws: InputError.self) {
                try fixture.run(study, fixture.plan(["none", name]))
            }
            #expect(error?.code == .mismatch)
            #expect(error?.item == (name == "vision" ? "vision" : "lang"))
            #expect(error?.problem.contains("mmq identify -d") == true)
        }
        #expect(try study.answerSets().isEmpty)
        #expect(try fixture.run(study, fixture.plan(["none"], samples: 1)).answered == 1)
        // A study with answers is not thrown away.
        study.discardIfNewAndEmpty()
        #expect(FileManager.default.fileExists(atPath: path))
        let narrow = try fixture.study("narrow")
        let error = #expect(throws: InputError.self) {
            try GenerationPlan(
                study: narrow, model: fixture.model, bench: fixture.bench,
                settings: .init(domains: [.doc], masks: fixture.settings(["lang"])))
        }
        #expect(error?.problem.contains("doc") == true)
    }

    @Test(arguments: checkpoints)
    func aPromptThatDoesNotFitIsRecorded(_ checkpoint: String) throws {
        let fixture = try GenerationFixture(checkpoint)
        let copy = fixture.folder.path + "/bench"
        try FileManager.default.copyItem(atPath: fixture.bench, toPath: copy)
        let sample = try GenerationFixture.lengthenFirst(of: copy)

        let study = try fixture.study("s")
        var problems: [Int] = []
        let result = try fixture.run(
            study, fixture.plan(["none", "lang"], batch: 2), bench: copy,
            tell: { if case .refused(let place, _) = $0 { problems.append(place) } })
        #expect(result.problems == 2)
        #expect(result.answered == 4)
        #expect(problems == [sample.position, sample.position])
        let stored = try study.answers(domain: .rs, split: "val", setting: "lang")
        #expect(stored.count == 3)
        let failed = try #require(stored.first { $0.position == sample.position })
        #expect(failed.text == nil)
        #expect(failed.problem?.contains("context") == true)
        #expect(failed.tokens.isEmpty)
        #expect(stored.count { $0.text != nil } == 2)
        // It is not tried again.
        #expect(
            try fixture.run(study, fixture.plan(["none", "lang"]), bench: copy).problems == 0)
    }

    @Test func aBrokenPictureStopsTheRunButLosesNothing() throws {
        let fixture = try GenerationFixture("llava-next/hub-f16")
        let copy = fixture.folder.path + "/bench"
        try FileManager.default.copyItem(atPath: fixture.bench, toPath: copy)
        let walk = try BenchSplit(bench: copy, domain: .com, split: "val", form: .full)
        var pictures: [String] = []
        while let item = try walk.next() {
            if case .sample(let sample) = item { pictures += sample.pictures }
        }
        let good = try #require(FileManager.default.contents(atPath: pictures[2]))
        try Data(good.prefix(30)).write(to: URL(fileURLWithPath: pictures[2]))
        let study = try fixture.study("s")
        let plan = try fixture.plan(["none", "lang"], samples: 4, batch: 1)
        #expect(throws: InputError.self) {
            try fixture.run(study, plan, domain: .com, bench: copy)
        }
        #expect(try GenerationFixture.answers(study).values.joined().count == 4)
        try good.write(to: URL(fileURLWithPath: pictures[2]))
        #expect(try fixture.run(study, plan, domain: .com, bench: copy).answered == 4)
        let whole = try fixture.study("whole")
        try fixture.run(whole, plan, domain: .com)
        #expect(
            try GenerationFixture.answers(study) == GenerationFixture.answers(whole))

        // One that is not there is counted and passed over.
        try FileManager.default.removeItem(atPath: pictures[0])
        let less = try fixture.study("less")
        let result = try fixture.run(
            less, fixture.plan(["none"], samples: 1000), domain: .com, bench: copy)
        #expect(result.outcome == .exhausted)
        #expect(result.skipped == 1)
        #expect(result.answered == pictures.count - 1)
    }
}
