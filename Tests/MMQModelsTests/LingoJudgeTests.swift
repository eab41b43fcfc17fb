import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQModels

/// The judge against transformers' `DebertaV2ForSequenceClassification`, from checkpoint to logit.
@Suite struct LingoJudgeTests {
    private static let variants = ["buckets", "v3", "plain"]

    private struct Case {
        let question: String
        let reference: String
        let answer: String
        let ids: [Int32]
        let logit: Double
    }

    private static func cases(_ variant: String) throws -> (type: StoredType, cases: [Case]) {
        let json = try Golden.json("lingo-judge/\(variant)/cases.json")
        let cases = try #require(json["cases"]?.array).map { value in
            Case(
                question: try #require(value["question"]?.text),
                reference: try #require(value["reference"]?.text),
                answer: try #require(value["answer"]?.text),
                ids: try #require(value["ids"]?.array).map { Int32(try #require($0.integer)) },
                logit: try #require(value["logit"]?.double))
        }
        return (try #require(StoredType(rawValue: json["type"]?.text ?? "")), cases)
    }

    private static func convert(
        _ variant: String, _ type: StoredType, to folder: String
    ) throws -> LingoJudge {
        let converter = try JudgeConverter(
            checkpoint: Golden.path("lingo-judge/\(variant)/checkpoint"),
            options: ConversionOptions(type: type))
        try converter.convert(to: folder)
        return try LingoJudge.open(folder)
    }

    /// Ids identical, logits within 1e-3 (they are nearer: the bound here is a tenth of that), in
    /// the type that the checkpoint is stored in and in f32.
    @Test(arguments: variants)
    func agreesWithTheReference(_ variant: String) throws {
        let (stored, cases) = try Self.cases(variant)
        #expect(cases.contains { $0.logit > 0.5 } && cases.contains { $0.logit < -0.5 })
        #expect(cases.contains { $0.ids.count == LingoJudge.maximumTokens })
        for type in Set([stored, .f32]) {
            let folder = try TemporaryFolder()
            let judge = try Self.convert(variant, type, to: folder("judge"))
            for item in cases {
                let ids = judge.ids(
                    question: item.question, reference: item.reference, answer: item.answer)
                #expect(ids == item.ids, "\(variant) \(item.question.debugDescription)")
            }
            let logits = try cases.map {
                try judge.logit(question: $0.question, reference: $0.reference, answer: $0.answer)
            }
            assertClose(
                logits, cases.map(\.logit), tolerance: 1e-4, "\(variant) logits, \(type.rawValue)")
        }
    }

    /// Layer by layer, every fifth token.
    @Test(arguments: variants)
    func agreesInEveryLayer(_ variant: String) throws {
        let (stored, cases) = try Self.cases(variant)
        let expected = try Golden.tensors("lingo-judge/\(variant)/expected.safetensors")
        let folder = try TemporaryFolder()
        let judge = try Self.convert(variant, stored, to: folder("judge"))
        for index in [0, 18] {
            let ids = cases[index].ids
            var states: [[Float]] = []
            _ = try judge.logit(ids: ids) { x in
                states.append(
                    stride(from: 0, to: ids.count, by: 5).flatMap { t in x[t..<t + 1].values })
            }
            #expect(states.count == judge.config.layers + 1)
            for (layer, state) in states.enumerated() {
                assertClose(
                    state, try expected.floats("\(index).hidden.\(layer)"), tolerance: 1e-4,
                    "\(variant) case \(index) layer \(layer)")
            }
        }
    }

    /// Quantized weights cost some accuracy, not the verdicts that are clear.
    @Test func runsQuantized() throws {
        let (_, cases) = try Self.cases("v3")
        let folder = try TemporaryFolder()
        let judge = try Self.convert("v3", .q8_0, to: folder("judge"))
        for item in cases {
            let logit = try judge.logit(
                question: item.question, reference: item.reference, answer: item.answer)
            #expect(abs(Double(logit) - item.logit) < 0.3)
        }
    }

    /// Every distance falls into the bucket that transformers puts it into.
    @Test func sortsDistancesIntoBuckets() throws {
        let tables = try #require(try Golden.json("lingo-judge/positions.json")["tables"]?.array)
        #expect(tables.count == 7)
        for table in tables {
            let buckets = try #require(table["buckets"]?.integer)
            let maximum = try #require(table["maximum"]?.integer)
            for (distance, value) in try #require(table["positions"]?.array).enumerated() {
                let expected = try #require(value.integer)
                for sign in [1, -1] {
                    let bucket = LingoJudgeConfig.bucket(
                        sign * distance, buckets: buckets, maximum: maximum)
                    #expect(bucket == sign * expected, "\(sign * distance) of \(buckets)")
                }
            }
        }
    }

    /// Python's rules, not Swift's: final sigma, dotted I, ASCII separators as white space.
    @Test func lowersAndStripsAsPython() {
        #expect(
            PythonText("ΟΔΟΣ Σ ΑΣ. ΑΣ\u{301} Σ.Α").lowered().string == "οδος σ ας. ας\u{301} σ.α")
        #expect(
            Array(PythonText("İẞÉ").lowered().string.unicodeScalars) == [
                "i", "\u{307}", "\u{DF}", "\u{E9}",
            ])
        #expect(PythonText("\u{1C}\u{3000} a b \u{85}\n\u{2028}").stripped().string == "a b")
        #expect(PythonText("\u{200B}a\u{FEFF}").stripped().string == "\u{200B}a\u{FEFF}")
        #expect(PythonText(" \t").stripped().string == "")
    }

    // MARK: What is refused

    private static func config(_ changes: [String: String]) throws -> LingoJudgeConfig {
        let path = try Golden.path("lingo-judge/v3/checkpoint/config.json")
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        var object = try #require(
            try JSONSerialization.jsonObject(with: data) as? [String: Any])
        for (key, value) in changes {
            object[key] = try JSONSerialization.jsonObject(
                with: Data(value.utf8), options: .fragmentsAllowed)
        }
        let bytes = [UInt8](try JSONSerialization.data(withJSONObject: object))
        return try LingoJudgeConfig(
            json: JSONValue(parsing: bytes, file: "config.json"), file: "config.json")
    }

    @Test(arguments: [
        ("relative_attention", "false"), ("share_att_key", "false"),
        ("position_biased_input", "true"), ("pos_att_type", #"["c2p"]"#),
        ("conv_kernel_size", "3"), ("hidden_act", "\"relu\""), ("pooler_hidden_act", "\"tanh\""),
        ("pooler_hidden_size", "32"), ("embedding_size", "32"), ("num_attention_heads", "5"),
        ("position_buckets", "2"), ("max_relative_positions", "100"),
        ("id2label", #"{"0": "A", "1": "B"}"#), ("model_type", "\"bert\""),
        ("hidden_size", "9223372036854775807"), ("num_hidden_layers", "100000"),
    ])
    func refusesOtherModels(_ key: String, _ value: String) throws {
        let error = #expect(throws: InputError.self) { try Self.config([key: value]) }
        #expect(error?.file == "config.json")
        #expect(error?.item == key || error?.item == "num_attention_heads", "\(error as Any)")
    }

    @Test func takesTheHubsSpelling() throws {
        let plain = try Self.config([:])
        #expect(try Self.config(["pos_att_type": "\"p2c|c2p\""]) == plain)
        #expect(plain.positionBuckets == 256 && plain.maximumDistance == 512 && plain.span == 256)
    }

    /// A tensor too many, one too few, one of another shape: found before anything is written.
    @Test func refusesOtherTensors() throws {
        let source = try Golden.path("lingo-judge/plain/checkpoint")
        let folder = try TemporaryFolder()
        for name in try FileManager.default.contentsOfDirectory(atPath: source) {
            try FileManager.default.copyItem(atPath: source + "/" + name, toPath: folder(name))
        }
        let config = try String(contentsOfFile: folder("config.json"), encoding: .utf8)
        func code(_ from: String, _ to: String) throws -> (InputError.Code, String)? {
            try #require(config.contains(from))
            try folder.write("config.json", text: config.replacingOccurrences(of: from, with: to))
            do {
                try JudgeConverter(checkpoint: folder.path, options: ConversionOptions(type: .f32))
                    .convert(to: folder("out"))
                return nil
            } catch let error as InputError {
                #expect(!FileManager.default.fileExists(atPath: folder("out")))
                return (error.code, error.item ?? "")
            }
        }
        let more = try #require(
            try code("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"))
        #expect(more.0 == .missingTensor && more.1.contains("layer.2"))
        let less = try #require(
            try code("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"))
        #expect(less.0 == .extraTensor && less.1.contains("layer.1"))
        let wide = try #require(
            try code("\"intermediate_size\": 96", "\"intermediate_size\": 100"))
        #expect(wide.0 == .badShape)
        let short = try #require(try code("\"vocab_size\": 304", "\"vocab_size\": 200"))
        #expect(short.0 == .badShape)
        #expect(try code("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 2") == nil)
        let inspection = try Inspection(path: folder("out"))
        #expect(inspection.architecture == "deberta-v2" && inspection.problems == [])
        #expect(inspection.files.first?.unknownKeys == [])
        #expect(try Inspection(path: folder.path).problems == [])
    }

    /// A cut or changed file is an error, never a crash.
    @Test func refusesBrokenFiles() throws {
        let folder = try TemporaryFolder()
        _ = try Self.convert("plain", .f32, to: folder("judge"))
        let path = folder("judge") + "/judge-f32.gguf"
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        // The last bytes are padding.
        for length in stride(from: 0, to: bytes.count - 32, by: bytes.count / 40) {
            let cut = try folder.write("cut.gguf", Array(bytes[..<length]))
            #expect(throws: InputError.self) { try LingoJudge.open(cut) }
        }
        #expect(throws: InputError.self) { try LingoJudge.open(folder("missing")) }
        #expect(throws: InputError.self) { try LingoJudge.open(folder.path) }
        // Broken metadata opens or throws, whatever byte is changed.
        var random = SeededRandom(seed: 7)
        for _ in 0..<60 {
            var changed = bytes
            changed[Int(random.next() % 4000)] ^= UInt8(1 + random.next() % 255)
            let file = try folder.write("changed.gguf", changed)
            do {
                let judge = try LingoJudge.open(file)
                _ = try? judge.logit(question: "x", reference: "y", answer: "z")
            } catch is InputError {}
        }
    }
}
