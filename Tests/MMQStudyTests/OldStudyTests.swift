import CSIMD
import Foundation
import GRDB
import MMQBase
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// Study files of the version before open, are gone on with, and end as that version would have
/// ended them. How they were made: Tests/Golden/study/SCHEMA.md.
@Suite struct OldStudyTests {
    /// A file that differs is looked at more closely: a wrong number here would cost time alone.
    @Test func theSchemaIsThatOfTheMigrations() throws {
        let folder = try TemporaryFolder()
        let study = try Study(path: folder.path + "/new.sqlite", access: .writing)
        let digest = try study.read(StudySchema.digest)
        #expect(StudySchema.digest == digest, "is 0x\(String(digest, radix: 16))")
        #expect(try study.read(StudySchema.isCurrent))
        try study.write {
            try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('a newer one')")
        }
        #expect(try !study.read(StudySchema.isCurrent))
        try study.write {
            try $0.execute(sql: "DELETE FROM grdb_migrations WHERE identifier = 'a newer one'")
            try $0.execute(sql: "ALTER TABLE pass RENAME COLUMN cursor TO place")
        }
        #expect(try !study.read(StudySchema.isCurrent))
    }

    /// Files made at once are those that were brought up to date.
    @Test func newTablesAreThoseOfTheMigrations() throws {
        let (made, migrated) = try (DatabaseQueue(), DatabaseQueue())
        #expect(try made.read(StudySchema.isEmpty))
        // What a process of an earlier mmq leaves that was killed right after making the file.
        try migrated.write {
            try $0.execute(
                sql: "CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY)")
        }
        #expect(try migrated.read(StudySchema.isEmpty))
        try StudySchema.make(made)
        try StudySchema.migrator.migrate(migrated)
        for database in [made, migrated] {
            #expect(try database.read(StudySchema.isCurrent))
            #expect(try database.read(StudySchema.migrator.hasCompletedMigrations))
            #expect(try !database.read(StudySchema.isEmpty))
        }
        let tables = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
        let rows = try [made, migrated].map { try $0.read { try Row.fetchAll($0, sql: tables) } }
        #expect(rows[0].map(\.description).sorted() == rows[1].map(\.description).sorted())
    }

    @Test func aHalfMadeStudyEndsAsTheVersionBeforeEndsIt() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        // The files were made with the kernels that are the same everywhere.
        let isa = String(cString: csimd_isa())
        #expect(csimd_select_isa("scalar"))
        defer { csimd_select_isa(isa) }

        let folder = try TemporaryFolder()
        func copy(_ name: String) throws -> String {
            let path = folder.path + "/" + name
            try FileManager.default.copyItem(atPath: Golden.folder + "/study/" + name, toPath: path)
            return path
        }
        let half = try Study(path: copy("half.sqlite"), access: .updating)
        #expect(try half.pass(domain: .rs, split: "val")?.samples == 2)
        #expect(try half.answers(domain: .rs, split: "val", setting: "all").count == 2)
        #expect(try half.lensPasses(.lens).map(\.samples) == [2])
        #expect(try half.deviationSamples(half.lensPasses(.deviation)[0]).count == 4)
        try finish(half, folder)
        let whole = try Study(path: copy("whole.sqlite"), access: .reading)
        try expectEqual(half, whole)
    }

    private func finish(_ study: Study, _ folder: TemporaryFolder) throws {
        let root = Golden.folder
        let bench = root + "/bench"
        try Converter(
            checkpoint: root + "/llava-next/hub-f16/checkpoint",
            options: ConversionOptions(type: .f16, visionType: .q8_0)
        ).convert(to: folder.path + "/model")
        let model = try ModelFiles(folder: folder.path + "/model").open()
        let counting = try CountingPlan(
            study: study, model: model, bench: bench, split: "val", goal: .samples(5))
        for domain in [Domain.rs, .com] { _ = try ResumableRun(counting.step(domain)).run() }
        let settings = try ["none", "lang", "all"].map {
            try MaskSetting(name: $0, of: model.architecture)
        }
        let generation = try GenerationPlan(
            study: study, model: model, bench: bench,
            settings: .init(
                domains: [.rs], masks: settings, samples: 4, batch: 2,
                options: AnswerOptions(maxTokens: 6)))
        _ = try ResumableRun(generation.step(.rs)).run()
        let lens = try LensPlan(study: study, model: model, bench: bench, samples: 4)
        for setting in ["none", "lang"] {
            _ = try ResumableRun(lens.step(.rs, MaskSetting(name: setting, of: model.architecture)))
                .run()
        }
        let deviation = try DeviationPlan(study: study, model: model, bench: bench, samples: 3)
        _ = try ResumableRun(deviation.step(.rs, MaskSetting(name: "lang", of: model.architecture)))
            .run()
    }

    private func expectEqual(_ a: Study, _ b: Study) throws {
        #expect(try a.model() == b.model())
        #expect(try a.modules() == b.modules())
        for module in try a.modules() {
            let found = try a.identification(module: module.name)
            #expect(try found != nil && found == b.identification(module: module.name))
        }
        let passes = try a.passes()
        // The version before knew no blocks: a pass that it began goes on in one, others have some.
        func withoutBlocks(_ passes: [PassState]) -> [PassState] {
            passes.map { pass in
                var pass = pass
                pass.blocks = 1
                pass.apart = false
                pass.keepTop = 0
                return pass
            }
        }
        #expect(try passes.count == 4 && withoutBlocks(passes) == withoutBlocks(b.passes()))
        for pass in passes {
            let (mine, theirs) = try (
                a.counts(domain: pass.domain, split: pass.split),
                b.counts(domain: pass.domain, split: pass.split)
            )
            #expect(mine.map(\.shape) == theirs.map(\.shape))
            for (mine, theirs) in zip(mine, theirs) {
                #expect(mine.counts == theirs.counts && mine.tokens == theirs.tokens)
                // The version before added up in f64, from sample to sample; this one adds exactly,
                // and picture and text apart: as near as two such chains of additions are.
                for (x, y) in zip(mine.sums, theirs.sums) {
                    #expect(abs(x - y) <= 1e-13 * Double(mine.tokens))
                }
            }
        }
        let sets = try a.answerSets()
        #expect(try sets.count == 3 && sets == b.answerSets())
        for set in sets {
            let answers = try a.answers(
                domain: set.domain, split: set.split, setting: set.setting)
            #expect(
                try answers.count == 4
                    && answers
                        == b.answers(domain: set.domain, split: set.split, setting: set.setting)
            )
        }
        func bySetting(_ passes: [LensPass]) -> [LensPass] {
            passes.sorted { $0.setting < $1.setting }
        }
        let lens = try bySetting(a.lensPasses(.lens))
        #expect(try lens.count == 2 && lens == bySetting(b.lensPasses(.lens)))
        for pass in lens {
            let places = try a.lensPlaces(pass)
            #expect(try places.count == 4 && places == b.lensPlaces(pass))
            for place in places {
                #expect(
                    try a.lensSample(pass, place: place) == b.lensSample(pass, place: place))
            }
        }
        let deviations = try a.lensPasses(.deviation)
        #expect(try deviations.count == 1 && deviations == b.lensPasses(.deviation))
        for pass in deviations {
            #expect(try a.deviationSamples(pass) == b.deviationSamples(pass))
        }
    }
}
