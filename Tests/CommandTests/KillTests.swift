import Foundation
import Support
import Testing

/// Processes killed at random moments lose nothing and leave nothing half done.
@Suite(.serialized) struct KillTests {
    /// A bench of many aerial pictures (the committed ones, over and over): a pass that takes long
    /// enough to be committed several times.
    private func makeBench(_ count: Int, in folder: TemporaryFolder) throws -> String {
        let rs = folder("bench/rs")
        try FileManager.default.createDirectory(
            atPath: rs + "/Data", withIntermediateDirectories: true)
        func write(_ name: String, _ list: [[String: Any]]) throws {
            let data = try JSONSerialization.data(withJSONObject: [name: list])
            try data.write(to: URL(fileURLWithPath: "\(rs)/USGS_split_train_\(name).json"))
        }
        for i in 0..<count {
            try FileManager.default.copyItem(
                atPath: "\(goldenBench)/rs/Data/\(i % 12).png", toPath: "\(rs)/Data/\(i).png")
        }
        try write(
            "questions",
            (0..<count).map {
                [
                    "id": $0, "img_id": $0, "type": "count", "answers_ids": [$0], "active": true,
                    "question": "How many roads and buildings are in part \($0) of the area?",
                ]
            })
        try write(
            "images",
            (0..<count).map {
                ["id": $0, "original_name": "\($0).tif", "questions_ids": [$0], "active": true]
            })
        try write(
            "answers",
            (0..<count).map {
                ["id": $0, "question_id": $0, "answer": "\($0 % 4)", "active": true]
            })
        return folder("bench")
    }

    private func exported(_ study: String, in folder: TemporaryFolder) throws -> Data {
        let output = folder("exported")
        try? FileManager.default.removeItem(atPath: output)
        try expectExit(0, ["export", "--study", study, "--output", output, "--name", "m"])
        return try Data(contentsOf: URL(fileURLWithPath: output + "/m/activation/rs.safetensors"))
    }

    #if os(Linux)
        /// A process that is killed while OpenMP starts leaves an empty file named by its number, which
        /// another process gets later: that one reads it, and died.
        @Test(arguments: ["", "0x7f0000000000-cafe0000-libomp.so"])
        func whatAKilledProcessLeftInSharedMemoryIsNoHarm(_ left: String) throws {
            let folder = try TemporaryFolder()
            let model = try GoldenModel.llava.convert(in: folder)
            let registration = "/dev/shm/__KMP_REGISTERED_LIB_$$_$(id -u)"
            let result = try Command.shell(
                "printf %s '\(left)' > \(registration); echo \(registration); exec \"$@\"",
                GoldenModel.llava.trace(
                    model, to: folder("trace"),
                    // Many tokens: work that is really split.
                    prompt: GoldenModel.llava.prompt
                        + String(repeating: " How many trees are there?", count: 25))
                    + ["--threads", "2"])
            #expect(result.code == 0, "\(result.errors)")
            let path = try #require(
                result.output.split(separator: "\n").first { $0.hasPrefix("/dev/shm/") })
            #expect(!FileManager.default.fileExists(atPath: String(path)))
        }
    #endif

    /// Reading a mapped file that another program shortened is SIGBUS: said, and survived.
    @Test(arguments: ["language-f16.gguf", "vision-f16.gguf"])
    func aShortenedModelIsNamed(_ file: String) throws {
        let folder = try TemporaryFolder()
        // A name that a terminal would obey: C1 and a mark that turns the direction.
        let model = folder("é\u{9b}31m\u{202e}")
        try FileManager.default.moveItem(
            atPath: GoldenModel.llava.convert(in: folder), toPath: model)
        let whole = try Data(contentsOf: URL(fileURLWithPath: model + "/" + file))
        let bench = try makeBench(1500, in: folder)
        let activation = [
            "activation", "--model", model, "--bench", bench, "--study", folder("study"),
            "--domain", "rs", "--samples", "1500",
        ]
        let result = try Command.shell(
            """
            "$@" & pid=$!
            sleep 1
            : > "\(model)/\(file)"
            wait $pid
            """, activation)
        #expect(result.code == 1)
        #expect(result.errors.contains("é?31m?/\(file): cannot be read"), "\(result.errors)")
        // The study holds what was committed, and goes on with the whole file.
        try whole.write(to: URL(fileURLWithPath: model + "/" + file))
        try expectExit(0, activation)
        #expect(try !exported(folder("study"), in: folder).isEmpty)
    }

    /// One that has nothing to do with a file ends the process, which says where it came from.
    @Test func aSignalOfAnotherProcessIsTold() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let result = try Command.shell(
            """
            "$@" & pid=$!
            sleep 1
            kill -BUS $pid
            wait $pid
            """,
            [
                "activation", "--model", model, "--bench", makeBench(1500, in: folder), "--study",
                folder("study"), "--domain", "rs", "--samples", "1500",
            ])
        #expect(result.code == 128 + 7)
        #expect(result.errors.contains("SIGBUS, sent by process"), "\(result.errors)")
    }

    @Test func countsSurviveKills() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder)
        let bench = try makeBench(220, in: folder)
        func activation(_ study: String) -> [String] {
            [
                "activation", "--model", model, "--bench", bench, "--study", study, "--domain",
                "rs", "--samples", "200",
            ]
        }
        let clock = ContinuousClock()
        let start = clock.now
        try expectExit(0, activation(folder("whole")))
        let whole = clock.now - start
        let seconds =
            Double(whole.components.seconds) + Double(whole.components.attoseconds) * 1e-18
        let expected = try exported(folder("whole"), in: folder)

        var random = SeededRandom(seed: 20)
        var killed = 0
        for round in 0..<3 {
            let study = folder("study\(round)")
            // First while the study is being made, then anywhere.
            for attempt in 0..<8 {
                let delay =
                    attempt < 4
                    ? Double(random.uniform()) * 0.06
                    : Double(random.uniform()) * min(seconds, 1.2)
                let result = try Command.run(activation(study), killAfter: delay)
                if result.code == 0 { break }
                #expect(result.code == -SIGKILL, "\(result.errors)")
                killed += 1
            }
            try expectExit(0, activation(study))
            #expect(try exported(study, in: folder) == expected, "round \(round)")
        }
        #expect(killed >= 6)
    }

    @Test func aKilledConversionLeavesNoModel() throws {
        let folder = try TemporaryFolder()
        let golden = GoldenModel.blip
        let output = folder("model")
        let arguments = ["convert", golden.checkpoint, "--output", output, "--type", "q4_0"]
        let whole = try golden.convert(in: folder, type: "q4_0", visionType: "q8_0", name: "whole")
        var random = SeededRandom(seed: 21)
        var unfinished = 0
        for _ in 0..<25 {
            let result = try Command.run(
                arguments, killAfter: Double(random.uniform()) * 0.05)
            let names = (try? FileManager.default.contentsOfDirectory(atPath: output)) ?? []
            let models = names.filter { $0.hasSuffix(".gguf") }
            if result.code != 0 { unfinished += 1 }
            // Whatever has its final name is whole.
            for name in models {
                #expect(
                    try Data(contentsOf: URL(fileURLWithPath: "\(output)/\(name)"))
                        == Data(contentsOf: URL(fileURLWithPath: "\(whole)/\(name)")))
            }
            if !models.isEmpty { try FileManager.default.removeItem(atPath: output) }
        }
        #expect(unfinished >= 5)
        // What a killed run left is no obstacle to the next.
        try? FileManager.default.removeItem(atPath: output)
        var left: [String] = []
        // A busy machine may need longer to begin.
        var reach = 0.04
        while left.isEmpty {
            _ = try Command.run(arguments, killAfter: Double(random.uniform()) * reach)
            reach *= 1.1
            left = (try? FileManager.default.contentsOfDirectory(atPath: output)) ?? []
        }
        try expectExit(0, arguments + ["--force"])
        let names = try FileManager.default.contentsOfDirectory(atPath: output)
        #expect(names.sorted() == ["language-q4_0.gguf", "vision-q8_0.gguf"])
        try expectExit(0, ["inspect", output])
    }
}
