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
        #expect(mask.isMasked(module: "lang", layer: 0) == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        #expect(mask.isMasked(module: "lang", layer: 1) == nil)
        #expect(mask.isMasked(module: "lang", layer: 2) == nil)
        #expect(mask.isMasked(module: "vision", layer: 0) == nil)
        #expect(mask.layers == ["lang": [[0, 9], []]])
        #expect(mask.count() == 2)
        #expect(mask.count(module: "vision") == 0)
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
