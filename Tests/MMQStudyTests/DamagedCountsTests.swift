import Foundation
import GRDB
import MMQBase
import StudySupport
import Support
import Testing

@testable import MMQStudy

/// Counts in blocks, shards and names of settings that no run would write: an error that names the
/// table, and nothing written.
@Suite struct DamagedCountsTests {
    private let folder: TemporaryFolder
    private let whole: String
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        (whole, path) = (folder("whole"), folder("study"))
        try count(whole, blocks: 4)
    }

    /// Counts further than the study does.
    @discardableResult
    private func count(_ path: String, blocks: Int? = nil) throws -> PassState {
        let study = try Study(path: path, access: .writing)
        let held = try study.passes().first?.samples ?? 0
        let plan = try CountingPlan(
            study: study, model: PixelModel(), bench: LensFixture.bench,
            goal: .samples(held + 4), blocks: blocks, shard: Shard(1, of: 2))
        return try ResumableRun(plan.step(.rs)).run().result
    }

    private func expectDamage(
        _ table: String, _ statement: String, _ use: (Study) throws -> Void,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: whole, toPath: path)
        var configuration = Configuration()
        configuration.foreignKeysEnabled = false
        try DatabaseQueue(path: path, configuration: configuration).write {
            try $0.execute(sql: statement)
        }
        let error = #expect(
            throws: InputError.self, "\(statement)", sourceLocation: sourceLocation
        ) { try use(Study(path: path, access: .reading)) }
        #expect(
            error?.code == .badInput && error?.item == "table \(table)",
            "\(statement): \(String(describing: error))", sourceLocation: sourceLocation)
    }

    private func export(_ study: Study) throws {
        try StudyExport.write(study, to: folder("out/in"), model: "m", split: "train")
    }

    @Test func aWholeStudyIsRead() throws {
        let study = try Study(path: whole, access: .reading)
        #expect(try study.shards().count == 1)
        try export(study)
        #expect(exists(folder("out/in/m/blocks/rs.safetensors")))
    }

    @Test(arguments: [0, -1, 257, Int.min, .max])
    func blocksOfAPass(_ blocks: Int) throws {
        try expectDamage("pass", "UPDATE pass SET blocks = \(blocks)") { _ = try $0.passes() }
        // Who goes on counting puts samples into blocks.
        try expectDamage("pass", "UPDATE pass SET blocks = \(blocks)") { _ in try count(path) }
    }

    @Test(arguments: [-1, 256, Int.max])
    func blocksThatNoPassHas(_ block: Int) throws {
        for table in ["block", "block_count"] {
            try expectDamage(
                table, "UPDATE \(table) SET block = \(block) WHERE block = 0", export)
        }
    }

    @Test(arguments: [-1, 1 << 32, Int.max])
    func amountsThatDoNotAddUp(_ amount: Int) throws {
        try expectDamage("block", "UPDATE block SET samples = \(amount)", export)
        try expectDamage("block_count", "UPDATE block_count SET tokens = \(amount)", export)
    }

    @Test(arguments: [-1, 2, Int.max])
    func modulesThatThereAreNot(_ module: Int) throws {
        for (table, blobs) in [
            ("block_count", ["counts"]), ("activation_sum", ["sums", "squares", "maxima"]),
        ] {
            let empty = blobs.map { ", \($0) = x''" }.joined()
            try expectDamage(
                table, "UPDATE OR REPLACE \(table) SET module = \(module)\(empty)", export)
        }
        try expectDamage(
            "module", "UPDATE module SET ordinal = \(module) WHERE ordinal = 0", export)
    }

    @Test(arguments: [
        "layer = -1 WHERE module = 0 AND layer = 0", "layer = 5000 WHERE module = 1 AND layer = 0",
        "module = 7 WHERE module = 0", "tokens = -1", "tokens = 1 << 32", "tokens = 0",
        "activations = x''", "activations = zeroblob(length(activations) + 4)",
        // Infinite, not a number, not descending.
        "activations = CAST(substr(activations, 1, 4) || x'0000807f' || substr(activations, 9) AS BLOB)",
        "activations = CAST(x'0000c07f' || substr(activations, 5) AS BLOB)",
        "activations = CAST(x'000000c0' || substr(activations, 5) AS BLOB)",
        // A sample where no activation is.
        "activations = CAST(substr(activations, 1, 28) || x'000080ff' || substr(activations, 33) AS BLOB)",
        "samples = x'00'", "samples = CAST(zeroblob(length(samples) - 1) || x'ff' AS BLOB)",
        "places = zeroblob(length(places) - 1)", "above = zeroblob(3)",
        "above = CAST(zeroblob(length(above) - 1) || x'ff' AS BLOB)",
    ])
    func momentsThatNoRunKeeps(_ change: String) throws {
        try expectDamage("moment", "UPDATE moment SET \(change)") {
            _ = try $0.passMoments(#require(try $0.passes().first))
        }
        try expectDamage("moment", "UPDATE moment SET \(change)") { _ in try count(path) }
    }

    @Test func layersWithoutMoments() throws {
        try expectDamage("moment", "DELETE FROM moment WHERE module = 1 AND layer = 2", export)
        try expectDamage("moment", "DELETE FROM moment", export)
        for keep in [-1, 65, Int.max] {
            try expectDamage("pass", "UPDATE pass SET keep_top = \(keep)") { _ = try $0.passes() }
        }
        try expectDamage("moment", "UPDATE pass SET keep_top = 7", export)
    }

    @Test func modulesWhoseSizeOverflows() throws {
        try expectDamage("module", "UPDATE module SET layers = 1 << 62, neurons = 1 << 62") {
            study in
            _ = try study.read { try PassCounts(of: 1, $0) }
        }
    }

    @Test(arguments: ["", "../lang", "/lang", "a/b", ".."])
    func modulesThatNoFileIsCalledAfter(_ name: String) throws {
        try expectDamage("module", "UPDATE module SET name = '\(name)' WHERE ordinal = 0", export)
    }

    @Test(arguments: ["-1e300", "-0.5", "9e999", "-9e999", "1e16"])
    func secondsThatCannotBe(_ seconds: String) throws {
        try expectDamage("shard", "UPDATE shard SET seconds = \(seconds)") { _ = try $0.shards() }
    }

    @Test(arguments: [
        "", "..", ".", "../x", "../../../x", "/x", "a/..", "a/../x", "a/b/c", "a//b", "a/",
    ])
    func settingsThatNoFileIsCalledAfter(_ setting: String) throws {
        let name = setting.utf8.map { String(format: "%02x", $0) }.joined()
        try expectDamage(
            "answer_set",
            """
            INSERT INTO answer_set (domain, split, setting, model, bench, options, mask) VALUES
                ('rs', 'val', CAST(x'\(name)' AS TEXT), 'm', 'b', '{}', '{}')
            """, export)
        #expect(try folder.entries().sorted() == ["out", "study", "whole"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder("out")) == ["in"])
    }
}
