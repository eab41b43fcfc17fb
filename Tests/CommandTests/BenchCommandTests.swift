import Foundation
import Support
import Testing

/// `mmq bench` through the binary: what it adds up, not how long it took.
@Suite struct BenchCommandTests {
    @Test(arguments: [GoldenModel.llava, .blip])
    func stagesAddUpToTheWhole(_ golden: GoldenModel) throws {
        let folder = try TemporaryFolder()
        let model = try golden.convert(in: folder, type: "q8_0")
        let result = try expectExit(
            0,
            [
                "bench", "--model", model, "-p", "20", "-n", "4", "--batch", "2", "--image",
                golden.picture(), "--repetitions", "1", "--stages", "--json",
            ])
        let rows = try #require(result.object()["rows"] as? [[String: Any]])
        #expect(
            rows.compactMap { $0["name"] as? String } == ["vision", "prompt 20", "decode 4 x 2"])
        for row in rows {
            let name = try #require(row["name"] as? String)
            let timing = try #require(row["timing"] as? [String: Any])
            let whole = try #require(timing["median_seconds"] as? Double)
            let stages = try #require(timing["stages"] as? [[String: Any]])
            let parts = stages.compactMap { $0["seconds"] as? Double }.reduce(0, +)
            #expect(parts > 0 && parts <= whole, "\(name): \(parts) of \(whole) s")
            let names = stages.compactMap { $0["stage"] as? String }
            #expect(Set(names).count == names.count)
            #expect(
                Set(names).isSuperset(of: ["norms", "attention (f32)", "activation"]), "\(name)")
            guard let rate = row["gop_per_second"] as? Double else { continue }
            // What the row's rate counts: the decoder's products, each named by its shape.
            let products = stages.filter { ($0["stage"] as? String)?.contains(" x ") ?? false }
            let operations = products.compactMap { $0["operations"] as? Double }.reduce(0, +)
            #expect(abs(operations - rate * 1e9 * whole) < 1e-6 * operations, "\(name)")
        }
    }

    /// Operations and bytes of the stages that are no products, from the model's shape: three layers
    /// of 64, heads of 16, 4 for queries and 2 for keys, 96 neurons.
    @Test func stagesKnowWhatTheyDo() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q8_0")
        let result = try expectExit(
            0,
            [
                "bench", "--model", model, "-p", "20", "-n", "1", "--repetitions", "1", "--stages",
                "--json",
            ])
        let rows = try #require(result.object()["rows"] as? [[String: Any]])
        let timing = try #require(rows.first?["timing"] as? [String: Any])
        let stages = try #require(timing["stages"] as? [[String: Any]])
        func amounts(_ name: String) -> [Int?] {
            let stage = stages.first { $0["stage"] as? String == name } ?? [:]
            return [stage["operations"] as? Int, stage["bytes"] as? Int]
        }
        let (layers, tokens, hidden, neurons, queries, keys) = (3, 20, 64, 96, 64, 32)
        let pairs = tokens * (tokens + 1) / 2
        #expect(amounts("attention (f32)") == [layers * pairs * queries * 4, 0])
        #expect(amounts("rotary positions") == [0, layers * tokens * (queries + keys) * 8])
        #expect(amounts("activation") == [0, layers * tokens * neurons * 12])
        #expect(amounts("residual additions") == [0, 2 * layers * tokens * hidden * 12])
        // The final norm sees one row.
        #expect(amounts("norms") == [0, (2 * layers * tokens + 1) * hidden * 8])
    }

    /// Two answers of four tokens behind twenty: what a run reads is every weight at each step, and
    /// the keys and values of each position in front, its own too: f16, three layers of 32.
    @Test func stepsBehindAPromptReadIt() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q8_0")
        func row(_ behind: [String]) throws -> (
            row: [String: Any], bytes: Double, bandwidth: Double
        ) {
            let result = try expectExit(
                0,
                ["bench", "--model", model, "-p", "4", "-n", "4", "--batch", "2"] + behind
                    + ["--repetitions", "2", "--stages", "--json"])
            let report = try result.object()
            let bandwidth = try #require(report["read_bandwidth_gb_per_second"] as? Double)
            #if os(Linux)
                #expect(report["file_bytes_in_large_pages"] is Int)
            #endif
            let row = try #require((report["rows"] as? [[String: Any]])?.last)
            let timing = try #require(row["timing"] as? [String: Any])
            let seconds = try #require(timing["median_seconds"] as? Double)
            let rate = try #require(row["gb_per_second"] as? Double)
            return (row, rate * 1e9 * seconds, bandwidth)
        }
        let position = 3 * 32 * 4
        let near = try row([]), far = try row(["--behind", "20"])
        #expect(far.row["name"] as? String == "decode 4 x 2 behind 20")
        #expect(near.row["name"] as? String == "decode 4 x 2")
        // Behind eight tokens it is twelve less for each of eight.
        #expect(abs(far.bytes - near.bytes - Double(12 * 8 * position)) < 0.5)
        let timing = try #require(far.row["timing"] as? [String: Any])
        let stages = try #require(timing["stages"] as? [[String: Any]])
        let attention = stages.first { $0["stage"] as? String == "attention (f32)" }
        let seen = 2 * (21 + 22 + 23 + 24)
        #expect(attention?["bytes"] as? Int == seen * position)
        #expect(attention?["operations"] as? Int == seen * 3 * 64 * 4)
        let products = stages.filter { ($0["stage"] as? String)?.contains(" x ") ?? false }
        let weights = products.compactMap { $0["bytes"] as? Double }.reduce(0, +)
        #expect(abs(far.bytes - weights - Double(seen * position)) < 0.5)
        // A model that a cache holds is not read in turn with the runs.
        #expect(timing["read_bandwidth_gb_per_second"] == nil)
        let bandwidth = far.bandwidth
        let reading = try #require(far.row["gb_per_second"] as? Double)
        let share = try #require(far.row["share_of_read_bandwidth"] as? Double)
        #expect(bandwidth > 0 && abs(share * bandwidth - reading) < 1e-6 * reading)

        let refused = try expectExit(
            2, ["bench", "--model", model, "-p", "4", "-n", "4", "--behind", "100000"])
        #expect(refused.errors.contains("--behind 100000"))
    }

    @Test func fewAnswersAreTimedTogether() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q8_0")
        let result = try expectExit(
            0,
            [
                "bench", "--model", model, "-p", "4", "-n", "2", "--few", "--repetitions", "1",
                "--json",
            ])
        let report = try result.object()
        let rows = try #require(report["rows"] as? [[String: Any]])
        #expect(
            rows.compactMap { $0["name"] as? String }
                == [
                    "prompt 4", "decode 2", "decode 2 x 2", "decode 2 x 4", "decode 2 x 8",
                    "decode 2 x 16",
                ])
        for row in rows {
            #expect(["compute", "memory"].contains(row["limit"] as? String))
        }
        // One token's operations, twice sixteen times.
        let rates = try rows.map { row -> Double in
            let timing = try #require(row["timing"] as? [String: Any])
            return try #require(timing["median_seconds"] as? Double)
                * #require(row["gop_per_second"] as? Double)
        }
        #expect(abs(rates[5] / rates[1] - 16) < 1e-9)
        // Scalar kernels have no peaks.
        let isScalar = report["isa"] as? String == "scalar"
        for name in ["int8_peak_gop_per_second", "f32_peak_gop_per_second"] {
            let peak = try #require(report[name] as? Double)
            #expect(isScalar ? peak == 0 : peak > 0)
        }
        // So few columns are multiplied in f32, whatever the weights' type.
        let floatPeak = try #require(report["f32_peak_gop_per_second"] as? Double)
        for row in rows where !isScalar {
            let share = try #require(row["share_of_peak"] as? Double)
            #expect(abs(share * floatPeak / (row["gop_per_second"] as? Double ?? 0) - 1) < 1e-9)
        }
    }

    /// Titles wider than their column too.
    @Test func titlesKeepApartFromColumns() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q4_0")
        let result = try expectExit(
            0,
            [
                "bench", "--model", model, "-p", "1000", "-n", "1", "--counting", "--stages",
                "--repetitions", "1",
            ])
        #expect(result.output.contains("prompt 1000, counted, by stage seconds"))
    }

    @Test func withoutStagesThereAreNone() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q4_0")
        let result = try expectExit(
            0, ["bench", "--model", model, "-p", "8", "-n", "1", "--repetitions", "1"])
        #expect(result.output.contains("prompt 8"))
        #expect(!result.output.contains("by stage"))
    }
}
