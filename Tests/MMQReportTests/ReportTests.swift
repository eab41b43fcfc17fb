import Foundation
import MMQBase
import MMQFormats
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQReport
@testable import MMQStudy

/// A study of a golden model with something in every section.
enum ReportFixture {
    /// - Parameter sweep: also sets of other rates, with answers under one of them.
    static func study(
        _ path: String, _ model: any VisionLanguageModel, answers: Bool = true, sweep: Bool = false
    ) throws -> Study {
        do {
            let study = try Study(path: path, access: .writing)
            for domain in [Domain.rs, .com] {
                let counting = try CountingPlan(
                    study: study, model: model, bench: LensFixture.bench, goal: .samples(4))
                _ = try ResumableRun(counting.step(domain)).run()
                let lens = try LensPlan(
                    study: study, model: model, bench: LensFixture.bench, samples: 2)
                _ = try ResumableRun(lens.step(domain)).run()
            }
            let settings = Identification.Settings(
                topRate: 0.2, filterRate: 0.5, activationBar: 0.4)
            for module in model.modules {
                try study.save(study.identify(module: module.name, settings: settings))
            }
            let deviation = try DeviationPlan(
                study: study, model: model, bench: LensFixture.bench, samples: 2)
            _ = try ResumableRun(
                deviation.step(.rs, MaskSetting(name: "lang", of: model.architecture))
            ).run()
            if answers {
                try add(to: study, [("none", 15), ("lang", 5), ("od<d&\"'", 9)])
            }
            if sweep {
                for rate in [0.4, 0.6] {
                    var settings = settings
                    settings.topRate = rate
                    for module in model.modules {
                        try study.save(
                            study.identify(module: module.name, settings: settings),
                            set: SetName("top-rate=\(rate)"))
                    }
                }
                try add(to: study, [("top-rate=0.4/lang", 3), ("lang:mean", 8), ("lang@com", 7)])
            }
        }
        return try Study(path: path, access: .reading)
    }

    /// Answers whose scores are known: `none` has 15 of 20 right, `lang` 5 of 20.
    private static func add(to study: Study, _ answers: [(String, Int)]) throws {
        for (setting, right) in answers {
            for (domain, truth) in [
                (Domain.rs, JSONValue.string("yes")), (.doc, .array([.string("yes")])),
                (.ad, .string("yes")),
            ] {
                try study.replace(
                    AnswerSet(
                        domain: domain, split: "val", setting: setting, model: "m", bench: "b",
                        options: "{}", mask: ["lang": [[1, 2], [], [3]]]),
                    answers: (0..<20).map {
                        StoredAnswer(
                            position: $0, index: $0, question: "q", groundTruth: truth,
                            attributes: ["type": $0 % 2 == 0 ? "presence" : "comp"],
                            text: $0 < right ? "yes" : "no")
                    })
            }
        }
    }
}

/// Says that everything is right.
private struct Yes: AnswerJudge {
    let name = "yes"
    func score(question: String, reference: String, answer: String) -> Float { 1 }
}

@Suite struct ReportTests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    @Test func numbersAreThoseOfTheOtherCommands() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let study = try ReportFixture.study(folder.path + "/a.sqlite", model)
        let other = try ReportFixture.study(
            folder.path + "/b.sqlite", LensFixture.model("llava-next/hub-f16", .q4_0, in: folder))
        let resampling = Resampling(draws: 300, seed: 7)
        let document = try ReportDocument(
            study, others: [other], model: .init(model), judge: Yes(),
            options: ReportOptions(resampling: resampling))

        let expected = try Evaluator(judge: Yes(), resampling: resampling)
            .scores(of: study.scoredAnswers().answers)
        #expect(document.scores.scores == expected)
        #expect(document.scores.scores.contains { $0.domain == .ad && $0.score?.value == 1 })
        let none = try #require(expected.first { $0.domain == .rs && $0.setting == "none" })
        #expect(none.score?.value == 0.75)
        let lang = try #require(expected.first { $0.domain == .rs && $0.setting == "lang" })
        #expect(lang.change?.difference == -0.5)

        #expect(document.lens.map(\.pass) == (try study.lensPasses(.lens)))
        for summary in document.lens {
            #expect(summary == (try study.lensSummary(summary.pass)))
        }
        let pass = try #require(try study.lensPasses(.deviation).first)
        #expect(document.deviations.map(\.pass) == [pass])
        #expect(document.deviations.first?.masks == (try study.deviationSummaries(pass)))

        let comparison = try StudyComparison(study, other, judge: Yes())
        #expect(try json(document.comparisons.map(\.comparison)) == json([comparison]))
        #expect(document.comparisons.first?.file == "b.sqlite")

        #expect(document.facts.passes == (try study.passes()))
        #expect(document.facts.fingerprint == model.fingerprint)
        #expect(document.facts.model?.weights.contains { $0.type == "F16" } == true)
        #expect(document.facts.answers.count == 9)
        #expect(document.facts.answers.allSatisfy { $0.answered == 20 && $0.neuronsOff == 3 })
        // The document survives its JSON.
        let again = try JSONDecoder().decode(
            ReportDocument.self, from: Data(json(document).utf8))
        #expect(try json(again) == json(document))
    }

    @Test func neuronsAreThoseOfIdentify() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let study = try ReportFixture.study(folder.path + "/a.sqlite", model, answers: false)
        let document = try ReportDocument(study)
        #expect(document.modules.map(\.module) == model.modules)
        for shown in document.modules {
            let found = try #require(try study.identification(module: shown.module.name))
            #expect(shown.isIdentified)
            #expect(shown.domains == found.domains)
            #expect(shown.counts == found.neurons.map { $0.map(\.count) })
            let sets = found.neurons.map { layers in
                Set(layers.enumerated().flatMap { layer, list in list.map { [layer, $0] } })
            }
            #expect(sets.contains { !$0.isEmpty })
            for (row, one) in sets.enumerated() {
                for (column, two) in sets.enumerated() {
                    #expect(shown.shared[row][column] == one.filter(two.contains).count)
                }
            }
            #expect(shown.belonging == sets[0].union(sets[1]).count)

            // Entropies another way: ln S - (Σ p ln p) / S.
            let counts = try found.domains.map { domain in
                try #require(
                    try study.counts(domain: domain, split: "train")
                        .first { $0.shape == shown.module })
            }
            var entropies: [Double] = []
            var dropped = 0
            for neuron in 0..<shown.module.layers * shown.module.neurons {
                let p = counts.map { Double($0.counts[neuron]) / Double($0.tokens) }
                let sum = p.reduce(0, +)
                if (p.max() ?? 0) > found.filterThreshold {
                    entropies.append(
                        log(sum) - p.reduce(0) { $0 + ($1 > 0 ? $1 * log($1) : 0) } / sum)
                } else {
                    dropped += 1
                }
            }
            entropies.sort()
            let histogram = try #require(shown.entropies)
            #expect(histogram.dropped == dropped)
            #expect(histogram.bins.reduce(0, +) == entropies.count)
            let selected = min(found.selected, entropies.count)
            #expect(histogram.selected.reduce(0, +) == selected)
            #expect(abs((histogram.threshold ?? -1) - entropies[selected - 1]) < 1e-12)
            #expect(abs(histogram.limit - log(2)) < 1e-15)
            // Every neuron of a set is among those up to the threshold.
            for neuron in sets[0].union(sets[1]) {
                let flat = neuron[0] * shown.module.neurons + neuron[1]
                let p = counts.map { Double($0.counts[flat]) / Double($0.tokens) }
                let sum = p.reduce(0, +)
                let entropy = log(sum) - p.reduce(0) { $0 + ($1 > 0 ? $1 * log($1) : 0) } / sum
                #expect(entropy <= entropies[selected - 1] + 1e-12)
            }
            let step = histogram.limit / Double(histogram.bins.count)
            for (bin, count) in histogram.bins.enumerated() {
                let range = entropies.filter {
                    $0 > Double(bin) * step + 1e-9 && $0 < Double(bin + 1) * step - 1e-9
                }
                #expect(range.count <= count)
            }
        }
    }

    @Test func stabilityIsThatOfItsCommand() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let study = try ReportFixture.study(folder("a.sqlite"), model, answers: false)
        let document = try ReportDocument(study)
        // Only the decoder sees both.
        let expected = model.modules.flatMap { module -> [(String, Positions)] in
            let kinds: [Positions] =
                module == model.decoderModule ? [.all, .image, .text] : [.all]
            return kinds.map { (module.name, $0) }
        }
        #expect(document.stability.map(\.module) == expected.map(\.0))
        #expect(document.stability.map(\.positions) == expected.map(\.1))
        let page = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        for shown in document.stability {
            let found = try #require(shown.found)
            var settings = Identification.Settings(
                topRate: 0.2, filterRate: 0.5, activationBar: 0.4)
            settings.positions = shown.positions
            let whole = try study.stability(module: shown.module, settings: settings)
            #expect(
                found.draws == 100 && found.domains.map(\.halves) == whole.domains.map(\.halves))
            #expect(found.domains.map(\.neurons) == whole.domains.map(\.neurons))
            let counts = found.curve.map(\.blocks)
            #expect(counts == [1, 2, 4])
            #expect(found.curve == whole.curve.filter { counts.contains($0.blocks) })
            #expect(found.domains.allSatisfy { $0.kept.isEmpty })
            for entry in whole.domains {
                #expect(page.contains("<td>\(PageText.number(entry.halves?.mean, 3))</td>"))
            }
        }
        #expect(page.contains("lang, positions of the text: by pictures counted"))
    }

    @Test func fewerDrawsOfManyNeurons() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let study = try Study(path: folder("a.sqlite"), access: .writing)
        let wide = ModuleShape(name: "lang", layers: 32, neurons: 11_008)
        try study.bind(modules: [wide], fingerprint: "f")
        try study.save(
            Identification(
                module: wide, domains: Domain.allCases, split: "train", settings: .init(),
                filterThreshold: 0, activationThreshold: 0, selected: 0,
                neurons: Domain.allCases.map { _ in Array(repeating: [], count: 32) }))
        #expect(ReportStability.draws([try ModuleNeurons(wide, in: study)]) == 20)
        // Sets without counts.
        let document = try ReportDocument(study)
        #expect(document.stability.allSatisfy { $0.found == nil && $0.missing != nil })
        let commands = ReportCommands(filling: [.counts: "count it"])
        let page = String(
            decoding: try ReportPage(document, commands: commands).html(), as: UTF8.self)
        #expect(
            page.contains("counts behind the neuron sets are not in this study: <code>count it"))
    }

    @Test func countsWithoutBlocksSayWhatMakesThem() throws {
        let folder = try TemporaryFolder()
        let path = folder("old.sqlite")
        try FileManager.default.copyItem(
            atPath: Golden.folder + "/study/whole.sqlite", toPath: path)
        let study = try Study(path: path, access: .updating)
        for module in try study.modules() {
            try study.save(
                study.identify(
                    module: module.name,
                    settings: .init(topRate: 0.2, filterRate: 0.5, activationBar: 0.4)))
        }
        let document = try ReportDocument(study)
        #expect(!document.stability.isEmpty && document.stability.allSatisfy { $0.found == nil })
        let commands = ReportCommands(filling: [.blocks: "count again", .neurons: "find"])
        let page = String(
            decoding: try ReportPage(document, commands: commands).html(), as: UTF8.self)
        #expect(
            page.contains(
                "not counted in blocks of pictures: <code>count again</code>, then <code>find"))
    }

    @Test func sweepsAreSetsSideBySide() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let study = try ReportFixture.study(folder("a.sqlite"), model, sweep: true)
        let document = try ReportDocument(study, judge: Yes())
        let sweep = try #require(document.sweeps.first)
        #expect(document.sweeps.count == 1 && sweep.rate == .topRate)
        #expect(sweep.values == [0.2, 0.4, 0.6])
        #expect(sweep.sets == [["default"], ["top-rate=0.4"], ["top-rate=0.6"]])
        #expect(sweep.modules.map(\.module) == model.modules)
        for module in sweep.modules {
            for (place, names) in sweep.sets.enumerated() {
                let found = try #require(
                    try study.identification(
                        module: module.module.name, set: SetName(names[0])))
                #expect(module.selected[place] == found.selected)
                #expect(
                    module.neurons.map { $0[place] }
                        == found.neurons.map { $0.reduce(0) { $0 + $1.count } })
            }
        }
        // Under one name alone nothing changes along the rate.
        #expect(Set(sweep.effects.map(\.setting)) == ["lang"])
        #expect(Set(sweep.effects.map(\.domain)) == [.rs, .doc, .ad])
        for effect in sweep.effects {
            let wanted = ["lang", "top-rate=0.4/lang"].map { setting in
                document.scores.scores.first {
                    $0.domain == effect.domain && $0.form == effect.form && $0.setting == setting
                }?.change
            }
            #expect(effect.changes == wanted + [nil])
        }
        let rs = try #require(sweep.effects.first { $0.domain == .rs })
        #expect(abs((rs.changes[1]?.difference ?? 0) + 0.6) < 1e-12)
        let page = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        #expect(page.contains("lang, official: change of the score"))
        #expect(page.contains("top-rate <small>rule dape, filter-rate 0.5, activation-bar 0.4"))
        try TagStack.check(page)
    }

    /// Answers with neurons off and with neurons held at their mean are neighbours.
    @Test func zeroStandsBesideMean() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let study = try ReportFixture.study(
            folder("a.sqlite"), LensFixture.model(in: folder), sweep: true)
        let document = try ReportDocument(study)
        let settings = document.scores.scores.filter { $0.domain == .rs && $0.form == .official }
            .map(\.setting)
        let zero = try #require(settings.firstIndex(of: "lang"))
        #expect(settings[zero + 1] == "lang:mean" && settings.contains("lang@com"))
        let page = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        #expect(page.contains("held at their mean"))
    }

    @Test func setsWithANameAreShownOnRequest() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let path = folder("a.sqlite")
        _ = try ReportFixture.study(path, model, answers: false)
        let wide = try SetName("wide")
        do {
            let study = try Study(path: path, access: .updating)
            for module in model.modules {
                try study.save(
                    study.identify(
                        module: module.name,
                        settings: .init(topRate: 0.6, filterRate: 0.2, activationBar: 0.4)),
                    set: wide)
            }
        }
        let study = try Study(path: path, access: .reading)
        let usual = try ReportDocument(study, others: [study])
        let named = try ReportDocument(study, others: [study], options: .init(set: wide))
        #expect(usual.set == "default" && named.set == "wide")
        #expect(named.modules.allSatisfy { $0.settings.topRate == 0.6 })
        for module in model.modules {
            let found = try #require(try study.identification(module: module.name, set: wide))
            let shown = try #require(named.modules.first { $0.module == module })
            #expect(shown.counts == found.neurons.map { $0.map(\.count) })
            let compared = named.comparisons[0].comparison.neurons
                .filter { $0.module == module.name }
            #expect(compared.map(\.first) == shown.counts.map { $0.reduce(0, +) })
        }
        #expect(named.modules.map(\.counts) != usual.modules.map(\.counts))
        let pages = try [named, usual].map {
            String(decoding: try ReportPage($0).html(), as: UTF8.self)
        }
        #expect(pages[0].contains("under the name wide") && !pages[1].contains("under the name"))
        let error = #expect(throws: InputError.self) {
            try ReportDocument(study, options: .init(set: SetName("wdie")))
        }
        #expect(error?.code == .mismatch && error?.description.contains("default, wide") == true)
    }

    @Test func withoutAJudgeDrivingScoresAreSaidToBeMissing() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let study = try ReportFixture.study(
            folder.path + "/a.sqlite", LensFixture.model(in: folder))
        let document = try ReportDocument(study)
        #expect(!document.scores.isJudged)
        let driving = document.scores.scores.filter { $0.domain == .ad }
        #expect(driving.count == 6)
        #expect(driving.allSatisfy { $0.score == nil && $0.missing != nil })
        let page = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        #expect(page.contains("needs Lingo-Judge: give its folder with --judge"))
        #expect(page.contains("75.0"))
    }

    @Test func answersThatCannotBeScoredLeaveTheRest() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        let study = try Study(path: path, access: .writing)
        for (domain, truth) in [
            (Domain.rs, JSONValue.string("yes")), (.com, .string("not the annotators' records")),
        ] {
            try study.replace(
                AnswerSet(
                    domain: domain, split: "val", setting: "none", model: "m", bench: "b",
                    options: "", mask: [:]),
                answers: [
                    StoredAnswer(position: 0, index: 0, groundTruth: truth, text: "yes"),
                    StoredAnswer(
                        position: 1, index: 1, groundTruth: truth, text: nil, problem: "broken"),
                ])
        }
        let document = try ReportDocument(study)
        #expect(document.scores.scores.allSatisfy { $0.domain == .rs })
        #expect(document.scores.scores.first?.score?.value == 1)
        #expect(document.scores.unanswered == 2)
        #expect(document.scores.problems.count == 1)
        let page = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        #expect(page.contains("com: not scored"))
    }

    @Test func emptySectionsSayWhatFillsThem() throws {
        let folder = try TemporaryFolder()
        let study = try Study(path: folder.path + "/empty.sqlite", access: .writing)
        let gaps: [ReportCommands.Gap] = [
            .counts, .neurons, .answers, .lens, .pictures, .deviations, .comparisons,
        ]
        let commands = ReportCommands(
            filling: Dictionary(uniqueKeysWithValues: gaps.map { ($0, "do \"\($0)\"") }),
            redo: ["first <\"", "second"], redoNote: "a & b")
        let document = try ReportDocument(study)
        let page = String(
            decoding: try ReportPage(document, commands: commands).html(), as: UTF8.self)
        for gap in gaps {
            #expect(page.contains("<code>do &quot;\(gap)&quot;</code>"), "\(gap)")
        }
        #expect(page.contains("</code>, then <code>"))
        #expect(page.contains("<code>first &lt;&quot;\nsecond</code></pre>"))
        #expect(page.contains("<p class=\"note\">a &amp; b</p>"))
        #expect(!page.contains("nan"))
        #expect(!page.contains("<svg viewBox=\"0 0 360"))
        // Without words of a command line: gaps, but no commands.
        let plain = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        #expect(plain.contains("Nothing was counted yet:") && !plain.contains("<code>"))
        #expect(!plain.contains("How to redo it"))
    }

    @Test func anotherArchitectureIsRefused() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let one = try Study(path: folder.path + "/a.sqlite", access: .writing)
        let two = try Study(path: folder.path + "/b.sqlite", access: .writing)
        let blip = try LensFixture.model("instructblip/new-f16", in: folder)
        try LensFixture.identify(one, LensFixture.model(in: folder))
        try LensFixture.identify(two, blip)
        #expect(throws: InputError.self) { try ReportDocument(one, others: [two]) }
        // Neuron sets without counts: no entropies, but a page.
        let document = try ReportDocument(one)
        #expect(document.modules.allSatisfy { $0.isIdentified && $0.entropies == nil })
        let page = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        #expect(page.contains("counts behind the neuron sets are not in this study"))
    }
}
