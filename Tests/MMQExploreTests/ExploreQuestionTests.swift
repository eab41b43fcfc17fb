import MMQBase
import MMQModels
import Testing

@testable import MMQExplore

/// What a page may ask, and what it is turned into.
@Suite struct ExploreQuestionTests {
    private let modules = [ModuleShape(name: "lang", layers: 2, neurons: 8)]

    private func question(_ json: String) throws -> ExploreQuestion {
        try ExploreQuestion(json: Array(json.utf8))
    }

    @Test func whatIsLeftOutHasAMeaning() throws {
        let question = try question(#"{"picture": "a", "prompt": "Why?", "mask": null}"#)
        #expect(question.mask == nil)
        #expect(question.maxTokens == 64)
        #expect(!question.isRaw && !question.wantsLens && question.keep.isEmpty)
    }

    @Test func neuronsBecomeAMaskFile() throws {
        let question = try question(
            """
            {"picture": "a", "prompt": "", "mask": {"kind": "scale=0.5", "neurons": [
            {"module": "lang", "layer": 1, "neuron": 7}, {"module": "lang", "layer": 1, "neuron": 2},
            {"module": "lang", "layer": 1, "neuron": 7}]}}
            """)
        let masked = try question.mask?.document(modules)
        let document = try #require(masked)
        #expect(
            document.jsonLine == #"{"lang": [[], {"neurons": [2, 7], "kind": "scale=0.5"}]}"#)
        let mask = try NeuronMask(document: document, modules: modules, file: "mask")
        #expect(mask.count() == 2)
    }

    @Test(arguments: [
        ("[]", "a JSON object"), ("{}", "picture"), (#"{"picture": "a"}"#, "prompt"),
        (#"{"picture": "a", "prompt": "b", "max_tokens": 4096}"#, "max_tokens"),
        (#"{"picture": "a", "prompt": "b", "max_tokens": 1.5}"#, "max_tokens"),
        (#"{"picture": "a", "prompt": "b", "raw": "yes"}"#, "raw"),
        (#"{"picture": "a", "prompt": "b", "masks": "lang"}"#, "masks"),
        (#"{"picture": "a", "prompt": "b", "mask": 3}"#, "mask"),
        (#"{"picture": "a", "prompt": "b", "mask": {"neurons": [{"module": "lang"}]}}"#, "layer"),
        (#"{"picture": "a", "prompt": "b", "keep": [1]}"#, "keep"), ("{\"picture\": ", "request"),
    ])
    func whatIsWrongIsNamed(_ json: String, _ word: String) {
        let error = #expect(throws: InputError.self) { try question(json) }
        #expect("\(String(describing: error))".contains(word))
    }

    @Test(arguments: [("lang", 2, 0), ("lang", 0, 8), ("vit", 0, 0)])
    func neuronsOfOtherModelsAreRefused(_ module: String, _ layer: Int, _ neuron: Int) throws {
        let question = try question(
            """
            {"picture": "a", "prompt": "", "mask": {"neurons": [
            {"module": "\(module)", "layer": \(layer), "neuron": \(neuron)}]}}
            """)
        #expect(throws: InputError.self) { try question.mask?.document(modules) }
    }
}
