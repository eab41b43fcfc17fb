import Foundation
import MMQFormats
import Support
import Testing

/// Results do not depend on threads, and every instruction set passes every golden.
@Suite struct SameResultTests {
    /// The instruction sets that the binary was built with and that this machine has.
    static let instructionSets: [String] = {
        let folder = try? TemporaryFolder()
        return ["scalar", "avx2", "avxvnni", "avx512vnni", "avx512bf16", "neon", "i8mm"].filter {
            name in
            // Refused for its instruction set, or for the file that is not there?
            let result = try? Command.run(
                ["inspect", folder?("none") ?? "none"], environment: ["MMQ_ISA": name])
            return result.map { !$0.errors.contains("MMQ_ISA") } ?? false
        }
    }()

    @Test func scalarAlwaysRuns() {
        #expect(Self.instructionSets.contains("scalar"))
        #expect(Self.instructionSets.count > 1, "only the scalar kernels run on this machine")
    }

    @Test(
        arguments: [GoldenModel.llava, .blip, .llava15], ["f32", "f16", "q8_0", "q4_0", "iq4_nl"])
    func traceDoesNotDependOnThreads(_ golden: GoldenModel, _ type: String) throws {
        let folder = try TemporaryFolder()
        let model = try golden.convert(in: folder, type: type)
        // Many tokens: work that is really split.
        let arguments = golden.trace(
            model, to: folder("trace"), sites: "ids,pixels,image,hidden,logits,last-logits,counts",
            prompt: golden.prompt
                + String(
                    repeating: " How many trees are there?",
                    // The Q-Former's positions are few.
                    count: golden.namesPicture ? 25 : 3),
            picture: golden.picture(golden.namesPicture ? "wide" : "square"))
        var first: Data?
        for threads in ["1", "2", "3"] {
            try expectExit(0, arguments + ["--threads", threads])
            let bytes = try Data(contentsOf: URL(fileURLWithPath: folder("trace")))
            if let first { #expect(bytes == first, "\(threads) threads") }
            first = first ?? bytes
        }
    }

    /// An MLP takes 1,024 tokens at once: what fires in the second part is counted too, and a token's
    /// activations are those of a prompt that ends in the first.
    @Test func longPromptsAreCountedInParts() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "f16")
        func trace(_ questions: Int) throws -> SafetensorsFile {
            let file = folder("trace-\(questions)")
            let prompt =
                GoldenModel.llava.prompt
                + String(repeating: " How many trees are there?", count: questions)
            try expectExit(
                0,
                GoldenModel.llava.trace(
                    model, to: file, sites: "ids,counts,mlp:lang.0,mlp:lang.2", prompt: prompt))
            return try SafetensorsFile(path: file)
        }
        let (long, short) = try (trace(100), trace(60))
        let (tokens, fewer) = try (
            long.integers("input_ids").count, short.integers("input_ids").count
        )
        try #require(tokens > 1_024 && fewer < 1_024, "\(tokens) and \(fewer) tokens")
        let neurons = 96
        for layer in [0, 2] {
            let values = try long.floats("mlp:lang.\(layer)")
            let counted = try long.integers("lang_log")[layer * neurons..<(layer + 1) * neurons]
            let fired = (0..<neurons).map { neuron in
                stride(from: neuron, to: values.count, by: neurons).count { values[$0] > 0 }
            }
            #expect(Array(counted) == fired.map(Int64.init), "layer \(layer)")
            // Up to where the longer prompt goes on.
            let same = (fewer - 2) * neurons
            #expect(
                try short.floats("mlp:lang.\(layer)")[..<same].map(\.bitPattern)
                    == values[..<same].map(\.bitPattern), "layer \(layer)")
        }
    }

    @Test(arguments: GoldenModel.all)
    func everyInstructionSetPassesTheGoldens(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let cases = try Golden.json("\(golden.architecture)/\(golden.variant)/cases.json")
        let type = try #require(cases["type"]?.text)
        let model = try golden.convert(in: folder, type: type)
        for item in try #require(cases["cases"]?.array) {
            let name = try #require(item["name"]?.text)
            let expected = try SafetensorsFile(path: "\(golden.folder)/\(name).safetensors")
            let arguments = try golden.trace(
                model, to: folder("trace"), sites: "ids,image,last-logits,counts",
                prompt: #require(item["prompt"]?.text), picture: golden.picture(name))
            for isa in Self.instructionSets {
                for (more, prefix) in [([], ""), (["--mask", golden.mask], "masked.")] {
                    try expectExit(0, arguments + more, environment: ["MMQ_ISA": isa])
                    try compare(
                        SafetensorsFile(path: folder("trace")), expected, prefix: prefix,
                        what: "\(golden.testDescription) \(name) \(isa) \(prefix)")
                }
            }
        }
    }

    /// With the tolerances of GoldenLadderTests.
    private func compare(
        _ trace: SafetensorsFile, _ expected: SafetensorsFile, prefix: String, what: String
    ) throws {
        #expect(try trace.integers("input_ids") == expected.integers("input_ids"), "\(what) ids")
        assertClose(
            try trace.floats("last_logits"), try expected.floats(prefix + "last_logits"),
            tolerance: 5e-4, "\(what) last_logits")
        let names = trace.tensors.map(\.name)
        let modules = names.filter { $0.hasSuffix("_log") }.map { $0.dropLast(4) }
        #expect(modules.count >= 3)
        for module in modules {
            let log = try trace.integers(module + "_log")
            let wanted = try expected.integers(prefix + module + "_log")
            #expect(log == wanted, "\(what) \(module)_log")
            #expect(
                try trace.integers(module + "_len") == expected.integers(prefix + module + "_len"),
                "\(what) \(module)_len")
            assertClose(
                try trace.doubles(module + "_value"),
                try expected.doubles(prefix + module + "_value"), tolerance: 2e-3,
                "\(what) \(module)_value")
        }
    }
}
