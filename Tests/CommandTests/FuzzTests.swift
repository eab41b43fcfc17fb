import Foundation
import Support
import Testing

/// Files with random damage: every command ends by itself, with an exit code of its own.
///
/// MMQ_FUZZ_ROUNDS and MMQ_FUZZ_SEED make it longer and other.
@Suite struct FuzzTests {
    private let rounds: Int
    private let seed: UInt64

    init() {
        let variables = ProcessInfo.processInfo.environment
        rounds = variables["MMQ_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 12
        seed = variables["MMQ_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1
    }

    /// Damages some bytes, mostly where the format's own numbers stand.
    private func damage(
        _ data: Data, header: Int, using random: inout SeededRandom
    ) -> Data {
        var bytes = [UInt8](data)
        let limit = min(bytes.count, random.next() % 6 == 0 ? bytes.count : header)
        guard limit > 0 else { return data }
        func place(_ random: inout SeededRandom) -> Int {
            Int.random(in: 0..<limit, using: &random)
        }
        switch random.next() % 5 {
        case 0, 1:
            for _ in 0..<(1 + random.next() % 4) {
                bytes[place(&random)] ^= 1 << UInt8(random.next() % 8)
            }
        case 2:
            bytes[place(&random)] = [0, 0xFF, 0x7F, 0x80, 0x30, 0x39, 0x22][Int(random.next() % 7)]
        case 3:
            let pattern: [UInt8] = [
                [0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0x7F], [0, 0, 0, 0x80],
                [0, 0, 1, 0],
            ][Int(random.next() % 5)]
            let start = place(&random)
            for (i, byte) in pattern.enumerated() where start + i < bytes.count {
                bytes[start + i] = byte
            }
        default:
            let start = place(&random)
            if random.next() % 2 == 0 {
                bytes.removeSubrange(start..<min(bytes.count, start + Int(random.next() % 40)))
            } else {
                bytes.removeSubrange(start...)
            }
        }
        return Data(bytes)
    }

    /// The bytes at the start of a file that are not weights.
    private func header(_ name: String, _ data: Data) -> Int {
        if name.hasSuffix(".gguf") { return min(data.count, 24_000) }
        if name.hasSuffix(".safetensors") {
            return 8
                + Int(
                    data.prefix(3).enumerated().reduce(0) {
                        $0 | Int($1.element) << (8 * $1.offset)
                    })
        }
        return data.count
    }

    private func expectOwnExit(_ arguments: [String], _ what: String) throws -> Int32 {
        let result = try Command.run(arguments)
        #expect(
            (0...2).contains(result.code),
            "\(what): mmq \(arguments[0]): \(result.code) \(result.errors.prefix(600))")
        if result.code == 2 { #expect(!result.errors.isEmpty) }
        return result.code
    }

    @Test(arguments: [GoldenModel.llava, .blip], ["f16", "q4_0"])
    func damagedModels(_ golden: GoldenModel, _ type: String) throws {
        let folder = try TemporaryFolder()
        let model = try golden.convert(
            in: folder, type: type, visionType: type == "f16" ? type : "q8_0")
        let names = try FileManager.default.contentsOfDirectory(atPath: model).sorted()
        var random = SeededRandom(seed: seed &* 1000 &+ UInt64(type.utf8.count))
        for round in 0..<rounds {
            let name = names[Int(random.next() % UInt64(names.count))]
            let file = URL(fileURLWithPath: model + "/" + name)
            let whole = try Data(contentsOf: file)
            try damage(whole, header: header(name, whole), using: &random).write(to: file)
            let what = "\(golden.testDescription) \(type) \(name) seed \(seed) round \(round)"
            let trace = golden.trace(model, to: folder("trace"))
            if try expectOwnExit(trace, what) != 0 {
                #expect(try !folder.entries().contains("trace"), "\(what)")
            }
            if round % 4 == 0 { _ = try expectOwnExit(["inspect", model], what) }
            if round % 4 == 1 {
                let ask = ["--image", golden.picture(), "--max-tokens", "5", "Why?"]
                _ = try expectOwnExit(["ask", "--model", model] + ask, what)
            }
            try whole.write(to: file)
            try? FileManager.default.removeItem(atPath: folder("trace"))
        }
    }

    @Test(arguments: [
        GoldenModel.llava, .blip, GoldenModel("llava-next", "shards-bf16"),
        GoldenModel("llava-next", "plain-f32"),
        GoldenModel("instructblip", "hub-f32"),
    ])
    func damagedCheckpoints(_ golden: GoldenModel) throws {
        let copy = try CheckpointCopy(golden)
        let names = try FileManager.default.subpathsOfDirectory(atPath: copy.path).sorted()
            .filter { !$0.hasSuffix("tokenizer") || $0.contains(".") }
        var random = SeededRandom(seed: seed &* 77 &+ UInt64(golden.variant.utf8.count))
        for round in 0..<rounds {
            let name = names[Int(random.next() % UInt64(names.count))]
            let whole = try copy.data(name)
            try copy.write(name, damage(whole, header: header(name, whole), using: &random))
            let what = "\(golden.testDescription) \(name) seed \(seed) round \(round)"
            let output = copy.folder("output")
            if try expectOwnExit(
                ["convert", copy.path, "--output", output, "--type", "q8_0"], what) == 0
            {
                _ = try expectOwnExit(golden.trace(output, to: copy.folder("trace")), what)
                try FileManager.default.removeItem(atPath: output)
            } else {
                #expect(!FileManager.default.fileExists(atPath: output), "\(what)")
            }
            if round % 5 == 0 { _ = try expectOwnExit(["inspect", copy.path], what) }
            try copy.write(name, whole)
        }
    }

    @Test func damagedPictures() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let pictures = [
            GoldenModel.llava.picture("small"), GoldenModel.llava.picture("wide"),
            goldenBench + "/vqav2/train2014/COCO_train2014_000000000101.jpg",
        ]
        var random = SeededRandom(seed: seed &+ 5)
        for round in 0..<rounds {
            let source = pictures[round % pictures.count]
            let whole = try Data(contentsOf: URL(fileURLWithPath: source))
            let damaged = damage(whole, header: 200, using: &random)
            let picture = try folder.write("picture", [UInt8](damaged))
            _ = try expectOwnExit(
                ["ask", "--model", model, "--image", picture, "--max-tokens", "1", "Why?"],
                "\(source) seed \(seed) round \(round)")
        }
    }
}
