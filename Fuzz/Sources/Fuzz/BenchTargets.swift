import Foundation
import MMQBase
import MMQFormats
import MMQModels
import MMQReport
import MMQStudy

extension Targets {
    /// The bench of the tests, of which annotations are damaged.
    private static func bench(_ files: [String], _ domains: [Domain]) throws -> Target {
        let folders = FolderCases()
        try folders.add("study/bench", files: files)
        return folders.target { chosen, choice in
            for domain in domains {
                attempt { try walk(chosen.folder, domain, choice % 2 == 0 ? "train" : "val") }
            }
        }
    }

    private static func walk(_ bench: String, _ domain: Domain, _ split: String) throws {
        let walk = try BenchSplit(bench: bench, domain: domain, split: split, form: .full)
        for _ in 0..<100 {
            guard try walk.next() != nil else { break }
        }
    }

    static func csv() throws -> Target {
        let whole = try bench(["med/train.csv"], [.med])
        return Target {
            let cases = try JSONValue(
                parsing: Golden.bytes("study/csv.json"), file: "study/csv.json")
            let texts = (cases.array ?? []).compactMap { $0["text"]?.bytes }
            return try whole.seeds()
                + texts.enumerated().map { Seed("case-\($0)", [0] + $1) }
        } run: {
            try whole.run($0)
        }
    }

    static func jsonLines() throws -> Target {
        try bench(["ad/train/train.jsonl", "doc/validation.jsonl"], [.ad, .doc])
    }

    static func benchJSON() throws -> Target {
        try bench(
            [
                "rs/USGS_split_train_answers.json", "rs/USGS_split_train_questions.json",
                "vqav2/v2_OpenEnded_mscoco_train2014_questions.json",
                "vqav2/v2_OpenEnded_mscoco_val2014_questions.json",
                "vqav2/v2_mscoco_train2014_annotations.json",
                "vqav2/v2_mscoco_val2014_ansdict.json",
            ], [.rs, .com])
    }

    static func mask() -> Target {
        let modules = [
            ModuleShape(name: "lang", layers: 2, neurons: 40),
            ModuleShape(name: "vision", layers: 3, neurons: 9),
        ]
        return Target {
            [
                Seed("small", text: #"{"lang": [[12, 39], []], "vision": [[0], [1, 2.0], [8]]}"#),
                Seed("golden", try Golden.bytes("llava-next/hub-f16/mask.json")),
                Seed(
                    "kinds",
                    text: #"{"lang": [{"neurons": [3], "kind": "scale=0.5"}, "#
                        + #"[4, {"neuron": 5, "kind": "mean@rs"}, "#
                        + #"{"neuron": 6, "kind": "add=-1"}]]}"#),
                Seed(
                    "numbers",
                    text:
                        #"{"lang": [{"neurons": [3, 12], "scale": [0.5, 0], "shift": [0, 0.25]}, "#
                        + #"{"neurons": [1, 2], "scale": 1e30}]}"#),
            ]
        } run: { input in
            attempt {
                // As with a study: what means and deviations come to is not a file's matter.
                _ = try NeuronMask(json: Data(input), modules: modules, file: "mask") { _, _ in
                    { intervention, neurons in
                        let again = try Intervention(intervention.word)
                        precondition(again == intervention)
                        return LayerMask(
                            neurons, scales: neurons.map { _ in 0 },
                            shifts: neurons.map { _ in 0.5 })
                    }
                }
            }
            let mask = try NeuronMask(json: Data(input), modules: modules, file: "mask")
            for module in modules {
                precondition(mask.count(module: module.name) <= module.layers * module.neurons)
            }
        }
    }

    /// Lists of masks, as `--masks` takes them, over a study with neuron sets.
    static func maskList() throws -> Target {
        let path = Scratch.path("masks.sqlite")
        try Scratch.write(Golden.bytes("study/whole.sqlite"), to: path)
        let study = try Study(path: path, access: .updating)
        return Target {
            [
                "none,lang,all,random", "matrix-lang,random-lang*4",
                "lang@rs:mean@com,vision:scale=0.5",
                "wide/lang:add=-1,matched-lang#3@com,random#2:mean",
                "matrix,default/all:scale=1e-3",
            ].map { Seed($0.replacingOccurrences(of: "/", with: " "), text: $0) }
        } run: { input in
            let text = String(decoding: input, as: UTF8.self)
            // Thousands of controls take as long as their number says, and whoever asks for them is
            // trusted.
            let behind: ArraySlice<ArraySlice<UInt8>> = input.split(separator: UInt8(ascii: "*"))
                .dropFirst()
            guard input.count <= 400,
                behind.allSatisfy({ $0.prefix { (0x30...0x39).contains($0) }.count <= 2 })
            else { return }
            _ = MaskSetting.set(of: text)
            _ = MaskSetting.sorted([text, "none"]) { $0 }
            for architecture in Architectures.all {
                attempt {
                    let settings = try MaskSetting.list(
                        text, of: architecture, domains: [.rs, .com])
                    for setting in settings.prefix(20) {
                        let again = try MaskSetting(name: setting.name, of: architecture)
                        precondition(again == setting, "\(setting.name) names another setting")
                        attempt { _ = try setting.neurons(of: .rs, in: study, seed: 1) }
                    }
                }
            }
        }
    }

    /// Answers from elsewhere, scored: the first byte is the domain.
    static func answers() throws -> Target {
        let path = Scratch.path("answers.jsonl")
        let lines = [
            #"{"index":0,"question":"q","question_id":"a","segment_id":"s","ground_truth":["red car","a car"],"answer":"a car."}"#,
            #"{"index":1,"ground_truth":"B","answer":["B: yes"],"choices":["A: no","B: yes","C: x","D: y"],"type":"t"}"#,
            #"{"index":2,"ground_truth":{"answer":"42m2","type":"area"},"answer":"about 40m2","attributes":{"type":"area"}}"#,
            #"{"index":3,"ground_truth":{"answers":[{"answer":"two","answer_id":1,"answer_confidence":"yes"},{"answer":"don't","answer_id":2,"answer_confidence":"no"}],"answer_type":"number"},"answer":"2, the dont."}"#,
            #"{"index":4,"ground_truth":["Héllo 1,000"],"answer":"hello 1000"}"#,
            #"{"index":5,"problem":"no picture","ground_truth":["x"],"answer":""}"#,
        ]
        return Target {
            lines.enumerated().map { number, line in
                Seed("line-\(number)", [UInt8(number % 5)] + Array((line + "\n").utf8))
            } + [Seed("all", [4] + Array(lines.joined(separator: "\n").utf8))]
        } run: { input in
            guard let first = input.first else { return }
            let domain = Domain.allCases[Int(first) % Domain.allCases.count]
            try Scratch.write(Array(input.dropFirst()), to: path)
            attempt { _ = try AnswerFiles.answers(path) }
            let read = try ScoredAnswer.read(path: path, domain: domain)
            let evaluator = Evaluator(
                judge: ExactJudge(), resampling: Resampling(draws: 20, seed: 1))
            _ = try evaluator.scores(of: read.answers)
        }
    }
}
