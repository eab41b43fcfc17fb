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

    @Test func withoutStagesThereAreNone() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.convert(in: folder, type: "q4_0")
        let result = try expectExit(
            0, ["bench", "--model", model, "-p", "8", "-n", "1", "--repetitions", "1"])
        #expect(result.output.contains("prompt 8"))
        #expect(!result.output.contains("by stage"))
    }
}
