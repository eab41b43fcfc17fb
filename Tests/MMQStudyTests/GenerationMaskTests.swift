import Foundation
import MMQBase
import MMQModels
import Support
import Testing

@testable import MMQStudy

@Suite struct GenerationMaskTests {
    private let llava: any Architecture
    private let blip: any Architecture

    init() throws {
        llava = try #require(Architectures.all.first { $0.name == "llava-next" })
        blip = try #require(Architectures.all.first { $0.name == "instructblip" })
    }

    @Test func settingsAreThoseOfTheOfficialCode() throws {
        func table(_ architecture: any Architecture) -> [String] {
            MaskSetting.standard(of: architecture).map {
                "\($0.name): \($0.modules.joined(separator: " "))\($0.isRandom ? " by chance" : "")"
            }
        }
        #expect(
            table(llava) == [
                "none: ", "lang: lang", "vision: vision mmproj", "mmproj: mmproj",
                "all: lang vision mmproj", "random: lang vision mmproj by chance",
            ])
        #expect(
            table(blip) == [
                "none: ", "lang: lang", "encoder: encoder", "qformer: qformer query",
                "encoder+qformer: encoder qformer query", "all: lang encoder qformer query",
                "random: lang encoder qformer query by chance",
            ])
    }

    @Test func settingsHaveNames() throws {
        for architecture in [llava, blip] {
            for setting in MaskSetting.standard(of: architecture) {
                #expect(try MaskSetting(name: setting.name, of: architecture) == setting)
            }
        }
        let vision = try MaskSetting(name: "random-vision", of: llava)
        #expect(vision.name == "random-vision")
        #expect(vision.modules == ["vision", "mmproj"])
        #expect(vision.isRandom)
        #expect(try MaskSetting(name: "random-all", of: llava).name == "random")
        for name in ["", "encoder", "None", "random-none", "random-random", "random-", "lang,"] {
            let error = #expect(throws: InputError.self) {
                try MaskSetting(name: name, of: llava)
            }
            #expect(error?.problem.contains("none, lang, vision, mmproj, all, random") == true)
        }
    }

    @Test func aSettingHasOneNameHoweverItIsSpelt() throws {
        for (spelt, name) in [
            ("lang", "lang"), ("lang:zero", "lang"), ("lang@med", "lang@med"),
            ("all:mean", "all:mean"),
            ("vision@doc:scale=0.50", "vision@doc:scale=0.5"), ("lang:scale=0", "lang"),
            ("lang@ad:mean@com", "lang@ad:mean@com"), ("all:add=-1.0", "all:add=-1"),
            ("random-all", "random"), ("random-all#3", "random#3"),
            ("random-lang#12@rs:mean", "random-lang#12@rs:mean"),
            ("random-lang#12", "random-lang#12"), ("matched", "matched"),
            ("matched-vision#2:mean", "matched-vision#2:mean"),
            ("default/lang", "lang"), ("wide/lang@med:mean", "wide/lang@med:mean"),
            ("top-rate=0.03/all", "top-rate=0.03/all"), ("lang#1", nil), ("none:mean", nil),
            ("none@ad", nil),
            ("x/none", nil), ("lang@sky", nil), ("lang:soft", nil), ("lang:mean@sky", nil),
            ("lang:scale=nan", nil),
            ("lang:add=inf", nil), ("random#0", nil), ("random#-1", nil), ("random#", nil),
            ("random*3", nil),
            ("/lang", nil), ("a b/lang", nil), ("../lang", nil), ("-x/lang", nil),
            ("random-matched", nil),
            ("matrix", nil), ("lang@", nil), ("lang:", nil),
        ] as [(String, String?)] {
            if let name {
                let setting = try MaskSetting(name: spelt, of: llava)
                #expect(setting.name == name)
                #expect(try MaskSetting(name: name, of: llava) == setting)
            } else {
                let error = #expect(throws: InputError.self) {
                    try MaskSetting(name: spelt, of: llava)
                }
                #expect(error?.code == .badInput, "\(spelt)")
            }
        }
        let wide = try SetName("wide")
        #expect(try MaskSetting(name: "lang", of: llava, set: wide).name == "wide/lang")
        #expect(try MaskSetting(name: "none", of: llava, set: wide).name == "none")
        #expect(try MaskSetting(name: "narrow/lang", of: llava, set: wide).name == "narrow/lang")
        #expect(try MaskSetting(name: "default/lang", of: llava, set: wide).name == "lang")
        for (control, real) in [
            ("random", "all"), ("random#4", "all"), ("random-lang#4", "lang"),
            ("matched-vision#1:mean", "vision:mean"), ("wide/matched#2@ad", "wide/all@ad"),
            ("lang", "lang"),
        ] {
            #expect(try MaskSetting(name: control, of: llava).real.name == real)
        }
    }

    @Test func listsStandForManySettings() throws {
        func names(_ list: String, _ domains: [Domain] = [.rs, .com]) throws -> [String] {
            try MaskSetting.list(list, of: llava, domains: domains).map(\.name)
        }
        #expect(try names("none, lang,lang:zero") == ["none", "lang"])
        #expect(try names("random*3") == ["random#1", "random#2", "random#3"])
        #expect(try names("random-lang*2:mean") == ["random-lang#1:mean", "random-lang#2:mean"])
        #expect(try names("matched*2@ad") == ["matched#1@ad", "matched#2@ad"])
        #expect(try names("matrix-lang") == ["none", "lang@rs", "lang@com"])
        #expect(
            try names("wide/matrix-lang:mean") == [
                "none", "wide/lang@rs:mean", "wide/lang@com:mean",
            ])
        #expect(
            try names("matrix", [.rs]) == [
                "none", "lang@rs", "vision@rs", "mmproj@rs", "all@rs",
            ])
        for list in [
            "", "lang,", "matrix@ad", "matrix*2", "matrix#1", "matrix-encoder", "random*0",
            "lang*2", "random*10001",
        ] {
            #expect(throws: InputError.self) { try names(list) }
        }
        // Among medical questions the neurons of medicine are the domain's own.
        let own = try MaskSetting(name: "lang@med:mean", of: llava)
        #expect(own.on(.med).name == "lang:mean")
        #expect(own.on(.ad).name == "lang@med:mean")
    }

    private func llavaPrompt(_ prompt: String) -> String? {
        ChatTemplate.vicuna.around(llava.studyTurn(prompt, as: .current))
    }

    /// The strings that the official get_template makes of the official prompts.
    @Test func templatesAreTheOfficialStrings() {
        let plain = Domain.rs.prompt(question: "How many?", options: nil, form: .full)
        #expect(
            llavaPrompt(plain)
                == "A chat between a curious user and an artificial intelligence assistant. The "
                + "assistant gives helpful, detailed, and polite answers to the user's questions. "
                + "USER: <image>\nQuestion: How many?\nAnswer the question using a single word or "
                + "phrase. ASSISTANT:")
        #expect(blip.studyTurn(plain, as: .current) == "Question: How many? Short Answer:")
        let medical = Domain.med.prompt(question: "What?", options: "['A:x', 'B:y']", form: .full)
        #expect(
            blip.studyTurn(medical, as: .current)
                == "Question: What?\n\nOptions: ['A:x', 'B:y']\n\n"
                + "Answer with the option's letter from the given choices directly.")
        #expect(
            llavaPrompt(medical)?.contains("USER: <image>\nQuestion: What?\nContext: N/A\n") == true
        )
        let driving = Domain.ad.prompt(question: "Why?", options: nil, form: .full)
        #expect(
            blip.studyTurn(driving, as: .current) == String(driving.dropFirst("<image>\n".count)))
        // As Python's replace has it: code point by code point.
        #expect(
            blip.studyTurn(
                "a\r\nAnswer the question using a single word or phrase.", as: .current)
                == "a\r Short Answer:")
        // As transformers 4.41 let it pass.
        #expect(
            blip.studyTurn(plain, as: .june2024) == "<image>\nQuestion: How many? Short Answer:")
        #expect(llava.studyAnswer(" a b\n") == " a b\n")
        #expect(blip.studyAnswer(" a b\n") == "a b")
    }

    /// Settings come in one order whatever the models, unknown ones last as they came.
    @Test func settingsOfAllModelsHaveOneOrder() {
        let names = [
            "x", "random", "all", "encoder+qformer", "qformer", "encoder", "mmproj", "vision",
            "random-lang", "lang", "none",
        ]
        #expect(
            MaskSetting.sorted(names, by: { $0 }) == [
                "none", "lang", "vision", "mmproj", "encoder", "qformer", "encoder+qformer", "all",
                "random", "random-lang", "x",
            ])
        let several = [
            "none", "lang", "lang:mean", "lang:scale=0.5", "lang@ad", "lang@med", "all", "random",
            "random#1",
            "random#2", "random#10", "matched#1", "wide/lang", "wide/all", "!", "?",
        ]
        #expect(
            MaskSetting.sorted(several.dropLast(2).reversed() + ["!", "?"], by: { $0 }) == several)
    }

    /// A study knows its model's architecture by the fingerprint, without one by the modules.
    @Test func studiesKnowTheirArchitecture() throws {
        func name(_ fingerprint: String?, _ modules: [String]) -> String? {
            Architectures.first(fingerprint: fingerprint, modules: modules)?.name
        }
        for architecture in [llava, blip] {
            let modules = architecture.modules.map(\.name)
            for fingerprint in [nil, "imported", "m"] {
                #expect(name(fingerprint, modules) == architecture.name)
            }
            #expect(name(architecture.modelType + "-0123", ["lang"]) == architecture.name)
        }
        #expect(name("instructblip-0123", ["lang", "vision", "mmproj"]) == "instructblip")
        #expect(name("imported", ["lang"]) == "llava-next")
        #expect(name(nil, []) == "llava-next")
        #expect(name(nil, ["lang", "ears"]) == nil)
        let folder = try TemporaryFolder()
        #expect(try study(folder).architecture()?.exportName == "llava")
    }

    private func study(_ folder: TemporaryFolder) throws -> Study {
        let study = try Study(path: folder.path + "/s.sqlite", access: .writing)
        let modules = [
            ModuleShape(name: "lang", layers: 3, neurons: 40),
            ModuleShape(name: "vision", layers: 1, neurons: 7),
            ModuleShape(name: "mmproj", layers: 1, neurons: 9),
        ]
        try study.bind(modules: modules, fingerprint: "m")
        let sets: [[[[Int]]]] = [
            [[[1, 5, 30], [], Array(0..<40)], [[2], [3], [4]]], [[[6]], [[]]],
            [[[0, 8]], [[1]]],
        ]
        for (module, neurons) in zip(modules, sets) {
            try study.save(
                Identification(
                    module: module, domains: [.rs, .com], split: "train", settings: .init(),
                    filterThreshold: 0, activationThreshold: 0, selected: 1, neurons: neurons))
        }
        return study
    }

    @Test func settingsTakeTheDomainsOwnNeurons() throws {
        let folder = try TemporaryFolder()
        let study = try study(folder)
        func off(_ name: String, _ domain: Domain) throws -> [String: [LayerMask]] {
            try MaskSetting(name: name, of: llava).neurons(of: domain, in: study, seed: 1)
        }
        #expect(try off("none", .rs).isEmpty)
        #expect(try off("lang", .com) == ["lang": [[2], [3], [4]]])
        #expect(try off("vision", .rs) == ["vision": [[6]], "mmproj": [[0, 8]]])
        #expect(try Set(off("all", .com).keys) == ["lang", "vision", "mmproj"])
        let error = #expect(throws: InputError.self) { try off("lang", .ad) }
        #expect(error?.item == "lang")
    }

    @Test func theControlHasAsManyNeuronsInEachLayer() throws {
        let folder = try TemporaryFolder()
        let study = try study(folder)
        let modules = try study.modules()
        for name in ["random", "random-lang", "random-vision"] {
            let setting = try MaskSetting(name: name, of: llava)
            var seen: Set<[LayerMask]> = []
            for domain in [Domain.rs, .com] {
                for seed in 0..<20 as Range<UInt64> {
                    let drawn = try setting.neurons(of: domain, in: study, seed: seed)
                    #expect(try setting.neurons(of: domain, in: study, seed: seed) == drawn)
                    let real = try study.mask(domain: domain, modules: setting.modules).layers
                    #expect(
                        drawn.mapValues { $0.map(\.count) } == real.mapValues { $0.map(\.count) })
                    // Neurons that there are, ascending, none twice: what a mask takes.
                    let mask = try NeuronMask(layers: drawn, modules: modules)
                    #expect(mask.layers == drawn)
                    seen.insert(try #require(drawn[setting.modules[0]]))
                }
            }
            #expect(seen.count > (name == "random-vision" ? 4 : 30))
        }
    }

    @Test func everyLayerAndSettingDrawsForItself() throws {
        let folder = try TemporaryFolder()
        let study = try study(folder)
        var (layers, settings, domains) = (0, 0, 0)
        for seed in 0..<20 as Range<UInt64> {
            func draw(_ name: String, _ domain: Domain = .com) throws -> [[Int]] {
                let off = try MaskSetting(name: name, of: llava)
                    .neurons(of: domain, in: study, seed: seed)
                return try #require(off["lang"]).map(\.neurons)
            }
            // One neuron of 40 in each of three layers.
            let drawn = try draw("random")
            if Set(drawn).count > 1 { layers += 1 }
            if try draw("random-lang") != drawn { settings += 1 }
            if try draw("random", .rs)[0].first != drawn[0].first { domains += 1 }
        }
        #expect(layers > 15)
        #expect(settings > 15)
        #expect(domains > 15)
    }

    @Test func drawsAreEven() {
        var counts = Array(repeating: 0, count: 11)
        for seed in 0..<20_000 as Range<UInt64> {
            let drawn = MaskSetting.draw(4, of: 11, seed: seedHash(seed, "even"))
            #expect(Set(drawn).count == 4)
            for index in drawn { counts[index] += 1 }
        }
        // Mean 7273, standard deviation 68: five of them.
        for count in counts { #expect(abs(count - 7273) < 340, "\(counts)") }
        #expect(MaskSetting.draw(0, of: 5, seed: 1).isEmpty)
        #expect(MaskSetting.draw(5, of: 5, seed: 1) == [0, 1, 2, 3, 4])
    }

    @Test func seedsDependOnEveryPart() {
        var seeds: Set<UInt64> = []
        for seed in 0..<3 as Range<UInt64> {
            for parts in [["a", "bc"], ["ab", "c"], ["a", "b"], ["b", "a"]] {
                seeds.insert(seedHash(seed, parts[0], parts[1]))
            }
        }
        #expect(seeds.count == 12)
    }
}
