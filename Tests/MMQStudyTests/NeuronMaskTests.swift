import Foundation
import MMQBase
import MMQModels
import Testing

@Suite struct NeuronMaskTests {
    private let modules = [
        ModuleShape(name: "lang", layers: 2, neurons: 10),
        ModuleShape(name: "vision", layers: 1, neurons: 4),
    ]

    @Test func masksSayWhichNeuronsAreOff() throws {
        let mask = try NeuronMask(
            json: Data(#"{"lang": [[9, 0], []]}"#.utf8), modules: modules, file: "m.json")
        #expect(mask.layer(0, of: "lang")?.neurons == [0, 9])
        #expect(mask.layer(0, of: "lang")?.isOff == true)
        #expect(mask.layer(1, of: "lang") == nil)
        #expect(mask.layer(2, of: "lang") == nil)
        #expect(mask.layer(0, of: "vision") == nil)
        #expect(mask.layers == ["lang": [[0, 9], []]])
        #expect(mask.count() == 2)
        #expect(mask.count(module: "vision") == 0)
    }

    @Test func masksSayWhatBecomesOfNeurons() throws {
        func layer(_ text: String) throws -> LayerMask {
            let mask = try NeuronMask(
                json: Data("{\"vision\": [\(text)]}".utf8), modules: modules, file: "m.json")
            return try #require(mask.layer(0, of: "vision"))
        }
        let half = LayerMask([1, 3], scales: [0.5, 0.5], shifts: [-0.0, -0.0])
        #expect(try layer(#"{"neurons": [3, 1], "kind": "scale=0.5"}"#) == half)
        #expect(try layer(#"{"neurons": [1, 3], "scale": 0.5}"#) == half)
        #expect(
            try layer(#"[{"neuron": 3, "scale": 0.5}, {"neuron": 1, "kind": "scale=.5"}]"#) == half)
        let moved = try layer(#"{"neurons": [2, 0], "scale": [0, 2], "shift": [0.25, 0]}"#)
        #expect(moved.neurons == [0, 2])
        #expect(moved.scales == [2, 0])
        #expect(moved.shifts == [0, 0.25])
        let mixed = try layer(#"[2, {"neuron": 0, "scale": 2}]"#)
        #expect(mixed == LayerMask([0, 2], scales: [2, 0], shifts: [-0.0, 0]))
        // One thing has one form.
        for off in [
            "[0, 2]", #"[{"neuron": 2, "kind": "zero"}, 0]"#, #"{"neurons": [0, 2], "scale": 0}"#,
            #"{"neurons": [2, 0], "kind": "scale=0"}"#,
            #"{"neurons": [2, 0], "scale": 0, "shift": -0.0}"#,
        ] {
            #expect(try layer(off) == [0, 2], "\(off)")
        }
        for mask in [half, moved, mixed, [0, 2]] {
            #expect(try layer(mask.json) == mask, "\(mask.json)")
            let coded = try JSONEncoder().encode(mask)
            #expect(try JSONDecoder().decode(LayerMask.self, from: coded) == mask)
        }
        #expect(
            try String(decoding: JSONEncoder().encode(LayerMask(off: [2, 0])), as: UTF8.self)
                == "[0,2]")
        // Every float survives.
        let odd = LayerMask([0], scales: [0.1], shifts: [Float(1) / 3])
        #expect(try layer(odd.json) == odd)
        #expect(try JSONDecoder().decode(LayerMask.self, from: JSONEncoder().encode(odd)) == odd)
    }

    @Test func interventionsHaveOneWord() throws {
        for (word, canonical) in [
            ("zero", "zero"), ("mean", "mean"), ("mean@med", "mean@med"),
            ("scale=0.50", "scale=0.5"),
            ("scale=2.0", "scale=2"), ("scale=0", "zero"), ("scale=-0.0", "zero"),
            ("add=-1.5", "add=-1.5"),
            ("add=1e1", "add=10"), ("scale=+3", "scale=3"),
        ] {
            let intervention = try Intervention(word)
            #expect(intervention.word == canonical)
            #expect(try Intervention(canonical) == intervention)
        }
        for word in [
            "", "off", "Zero", "scale", "scale=", "scale=nan", "scale=inf", "scale=-infinity",
            "scale=1e39",
            "add=0x10", "add= 1", "add", "mean=1", "add=1,2", "scale=1e400",
        ] {
            let error = #expect(throws: InputError.self) { try Intervention(word) }
            #expect(
                error?.code == .badInput && error?.problem.contains("scale=F") == true, "\(word)")
        }
    }

    @Test(arguments: [
        (#"{"vision": [{"neurons": [1], "kind": "mean"}]}"#, ["layer 0", "a study", "mean"]),
        (
            #"{"vision": [{"neurons": [1], "kind": "soft"}]}"#,
            ["layer 0", "scale=F", "soft", "no such"]
        ),
        (#"{"vision": [{"neurons": [1], "kind": "scale=nan"}]}"#, ["scale=nan", "not a number"]),
        (#"{"vision": [{"neurons": [1], "scale": 1e39}]}"#, ["finite"]),
        (#"{"vision": [{"neurons": [1, 2], "scale": [1]}]}"#, ["each of 2 neurons"]),
        (#"{"vision": [{"neurons": [1], "scale": "1"}]}"#, ["finite"]),
        (#"{"vision": [{"neurons": [1]}]}"#, ["'kind', 'scale' or 'shift'"]),
        (#"{"vision": [{"neurons": [1], "kind": "zero", "scale": 1}]}"#, ["kind"]),
        (#"{"vision": [{"neurons": [1], "factor": 1}]}"#, ["factor"]),
        (#"{"vision": [{"scale": 1}]}"#, ["neurons"]),
        (#"{"vision": [[{"neurons": [1], "scale": 1}]]}"#, ["neuron"]),
        (#"{"vision": [[{"neuron": 1, "scale": 1}, 1]]}"#, ["1 twice"]),
        (#"{"vision": [[{"neuron": 4, "scale": 1}]]}"#, ["0..<4", "found 4"]),
        (#"{"vision": ["all"]}"#, ["layer 0", "a list of neurons"]),
    ])
    func wrongInterventionsNameTheirPlace(text: String, words: [String]) {
        wrongMasksNameTheirPlace(text: text, words: ["vision"] + words)
    }

    @Test(arguments: [
        (#"{"mmproj": [[]]}"#, ["mmproj", "lang, vision"]),
        (#"{"lang": [[]]}"#, ["lang", "2 layers", "found 1"]),
        (#"{"lang": [[], [10]]}"#, ["lang", "layer 1", "0..<10", "found 10"]),
        (#"{"lang": [[-1], []]}"#, ["layer 0", "found -1"]),
        (#"{"lang": [[3, 3], []]}"#, ["layer 0", "3 twice"]),
        (#"{"lang": [[1.5], []]}"#, ["layer 0", "integers", "1.5"]),
        (#"{"lang": [["1"], []]}"#, ["layer 0", "integers"]),
        (#"{"lang": [[true], []]}"#, ["layer 0", "integers"]),
        (#"{"lang": [[null], []]}"#, ["layer 0", "integers"]),
        (#"{"lang": [[1e30], []]}"#, ["layer 0", "integers"]),
        (#"{"lang": [1, 2]}"#, ["lang", "layer 0"]),
        (#"{"lang": null}"#, ["lang", "null"]),
        (#"[[1]]"#, ["m.json"]),
        (#"{"lang": [[1"#, ["m.json", "JSON"]),
        ("", ["m.json", "JSON"]),
    ])
    func wrongMasksNameTheirPlace(text: String, words: [String]) {
        let error = #expect(throws: InputError.self) {
            try NeuronMask(json: Data(text.utf8), modules: modules, file: "m.json")
        }
        let message = error.map { "\($0)" } ?? ""
        for word in words { #expect(message.contains(word), "\(message)") }
    }

    @Test func aFileThatIsNotThereIsAnError() {
        #expect(throws: InputError.self) { try NeuronMask(path: "/nowhere.json", modules: modules) }
    }
}
