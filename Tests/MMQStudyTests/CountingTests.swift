import Foundation
import GRDB
import MMQBase
import MMQImage
import MMQModels
import Support
import Testing

@testable import MMQStudy

/// Counts something that depends on every pixel, on the prompt and on the order of additions.
struct PixelModel: CountingModel {
    var fingerprint = "pixels-1"
    let visionModule = "vision"
    var modules = [
        ModuleShape(name: "lang", layers: 2, neurons: 5),
        ModuleShape(name: "vision", layers: 3, neurons: 4),
    ]

    /// A prompt that holds it cannot be taken.
    var refused: String?
    /// A prompt that holds it has more tokens than are planned.
    var unplanned: String?

    func visionTokens(size: @autoclosure () throws -> PixelSize, prompt: String) throws -> Int {
        if let refused, prompt.contains(refused) { throw InputError.prompt("too odd") }
        let size = try size()
        return size.width * size.height - (unplanned.map(prompt.contains) == true ? 1 : 0)
    }

    func count(
        image: RGBImage, prompt: String, moments request: MomentRequest?
    ) throws -> SampleCounts {
        if let refused, prompt.contains(refused) { throw InputError.prompt("too odd") }
        let values = values(image, prompt)
        return SampleCounts(
            counts: counts(of: values),
            moments: request.map { request in
                modules.indices.map {
                    moments(of: values[$0], modules[$0], request.keep, request.floors[$0])
                }
            } ?? [])
    }

    /// [module][neuron of all layers][token].
    private func values(_ image: RGBImage, _ prompt: String) -> [[[Double]]] {
        let text = Array(prompt.utf8)
        return modules.enumerated().map { number, shape in
            let tokens = number == 0 ? text.count : image.width * image.height
            return (0..<shape.layers * shape.neurons).map { entry in
                (0..<tokens).map { token in
                    let sample = image.pixels[token * 3 % image.pixels.count]
                    let letter = text[token % text.count]
                    return sin(Double(sample) * Double(entry + 3) + Double(letter)) / 3
                }
            }
        }
    }

    private func moments(
        of values: [[Double]], _ shape: ModuleShape, _ keep: Int, _ floors: [Float]
    ) -> ModuleMoments {
        var found = ModuleMoments(shape: shape, keep: keep)
        found.tokens = Int64(values[0].count)
        for (neuron, values) in values.enumerated() {
            let values = values.map { Float($0) }
            let strongest = values.indices.filter { values[$0] > floors[neuron] }
                .sorted { (-values[$0], $0) < (-values[$1], $1) }.prefix(keep)
            let (layer, index) = neuron.quotientAndRemainder(dividingBy: shape.neurons)
            for (rank, token) in strongest.enumerated() {
                let at = (layer * keep + rank) * shape.neurons + index
                (found.values[at], found.places[at]) = (values[token], UInt32(token))
            }
            for (number, edge) in MomentHistogram.edges.enumerated() {
                found.above[
                    (layer * MomentHistogram.edges.count + number) * shape.neurons + index] =
                    UInt32(values.count { $0 > edge })
            }
        }
        return found
    }

    private func counts(of values: [[[Double]]]) -> [ModuleCounts] {
        zip(modules, values).map { shape, values in
            var counts = ModuleCounts(shape: shape)
            counts.tokens = Int64(values[0].count)
            for entry in counts.counts.indices {
                for value in values[entry] {
                    if value > 0 { counts.counts[entry] += 1 }
                    counts.sums[entry] += value
                    counts.squares[entry] += value * value
                    counts.maxima[entry] = max(counts.maxima[entry], Float(value))
                }
            }
            return counts
        }
    }
}

@Suite struct CountingTests {
    private let bench = Golden.folder + "/study/bench"

    private func run(
        _ path: String, _ goal: CountingPlan.Goal, domain: Domain = .med,
        model: PixelModel = PixelModel(), bench: String? = nil, stopAfter: Int = .max
    ) throws -> (outcome: RunOutcome, state: PassState) {
        let plan = try CountingPlan(
            study: Study(path: path, access: .writing), model: model,
            bench: bench ?? self.bench, goal: goal)
        var counted = 0
        let (outcome, state) = try ResumableRun(
            plan.step(domain), interrupted: { counted >= stopAfter },
            tell: { if case .progress = $0 { counted += 1 } }
        ).run()
        return (outcome, state)
    }

    @Test func totalsAreTheSumOverTheBench() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        let (outcome, state) = try run(path, .visionTokens(1_000_000))
        #expect(outcome == .exhausted)
        #expect(state.samples == 5)
        #expect(state.skipped == 1)
        #expect(state.visionTokens == 5 * 24)

        let walk = try BenchSplit(bench: bench, domain: .med, split: "train", form: .simple)
        let model = PixelModel()
        var expected = model.modules.map { ModuleCounts(shape: $0) }
        while let item = try walk.next() {
            guard case .sample(let sample) = item else { continue }
            let counts = try model.count(image: sample.picture(), prompt: sample.prompt)
            for i in expected.indices { expected[i].add(counts[i]) }
        }
        let study = try Study(path: path, access: .reading)
        let counts = try study.counts(domain: .med, split: "train")
        for (found, expected) in zip(counts, expected) {
            #expect(found.shape == expected.shape && found.tokens == expected.tokens)
            #expect(found.counts == expected.counts)
            #expect(found.maxima == expected.maxima)
            // Exact sums of the samples' sums, next to a chain of additions.
            for (x, y) in zip(found.sums + found.squares, expected.sums + expected.squares) {
                #expect(abs(x - y) <= 1e-14)
            }
        }
        #expect(try study.passes() == [state])
        #expect(try study.model() == "pixels-1")
        #expect(try study.modules() == model.modules)
    }

    @Test func theGoalIsReachedWithTheFirstSampleThatReachesIt() throws {
        let folder = try TemporaryFolder()
        // 24 tokens a picture.
        for (tokens, samples) in [(1, 1), (24, 1), (25, 2), (48, 2), (72, 3)] {
            let path = folder.path + "/\(tokens).sqlite"
            let (outcome, state) = try run(path, .visionTokens(Int64(tokens)))
            #expect(outcome == .reached)
            #expect(state.samples == samples)
            #expect(state.finished)
        }
        #expect(try run(folder.path + "/n.sqlite", .samples(3)).state.samples == 3)
    }

    @Test(arguments: [Domain.ad, .med, .rs, .com])
    func stoppingAnywhereChangesNothing(domain: Domain) throws {
        let folder = try TemporaryFolder()
        let whole = folder.path + "/whole.sqlite"
        let end = try run(whole, .visionTokens(1_000_000), domain: domain)
        let expected = try Study(path: whole, access: .reading)
            .counts(domain: domain, split: "train")
        for step in 1...3 {
            let path = folder.path + "/\(step).sqlite"
            var outcome = RunOutcome.interrupted
            var state: PassState?
            var rounds = 0
            while outcome == .interrupted, rounds < 100 {
                (outcome, state) = try run(
                    path, .visionTokens(1_000_000), domain: domain, stopAfter: step)
                rounds += 1
            }
            #expect(rounds > 1)
            #expect(outcome == .exhausted)
            #expect(state == end.state)
            let study = try Study(path: path, access: .reading)
            // Sums too, to the last bit.
            #expect(try study.counts(domain: domain, split: "train") == expected)
        }
    }

    @Test func aPassCanGoFurtherButNotBack() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        _ = try run(path, .samples(2))
        #expect(try run(path, .samples(2)).outcome == .reached)
        #expect(try run(path, .visionTokens(48)).outcome == .reached)
        #expect(try run(path, .visionTokens(72)).state.samples == 3)
        _ = try run(folder.path + "/t.sqlite", .samples(3))
        #expect(
            try Study(path: path, access: .reading).counts(domain: .med, split: "train")
                == Study(path: folder.path + "/t.sqlite", access: .reading)
                .counts(domain: .med, split: "train"))
        let error = #expect(throws: InputError.self) { try run(path, .samples(2)) }
        #expect(error?.code == .mismatch)
        #expect(throws: InputError.self) { try run(path, .visionTokens(48)) }
        #expect(try run(path, .samples(1_000)).outcome == .exhausted)
        #expect(try run(path, .samples(1_000)).outcome == .exhausted)
    }

    @Test func anotherModelOrBenchIsRefused() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        _ = try run(path, .samples(1), domain: .rs)
        let model = #expect(throws: InputError.self) {
            try run(path, .samples(2), domain: .rs, model: PixelModel(fingerprint: "pixels-2"))
        }
        #expect(model?.code == .mismatch)
        #expect(model.map { "\($0)".contains("pixels-2") } == true)

        let copy = folder.path + "/bench"
        try FileManager.default.copyItem(atPath: bench, toPath: copy)
        #expect(try run(path, .samples(2), domain: .rs, bench: copy).state.samples == 2)
        let answers = copy + "/rs/USGS_split_train_answers.json"
        let text = try String(contentsOfFile: answers, encoding: .utf8)
        try Data((text + "\n").utf8).write(to: URL(fileURLWithPath: answers))
        let other = #expect(throws: InputError.self) {
            try run(path, .samples(3), domain: .rs, bench: copy)
        }
        #expect(other?.code == .mismatch)
    }

    /// What one attempt to store did not get into the file, the next one does.
    @Test func countsOutliveATransactionThatFails() throws {
        struct Full: Error {}
        let folder = try TemporaryFolder()
        let model = PixelModel()
        let study = try Study(path: folder("study"), access: .writing)
        try study.bind(modules: model.modules, fingerprint: model.fingerprint)
        var pass = PassState(domain: .med, split: "train", form: .simple, bench: "b")
        pass.blocks = 2
        let image = RGBImage(width: 1, height: 2, pixels: [1, 2, 3, 4, 5, 6])
        let counts = PassCounts()
        try counts.add(
            model.count(image: image, prompt: "why"), block: 1, ordinals: ["lang": 0, "vision": 1],
            apart: false)
        #expect(throws: Full.self) {
            try study.atomically {
                try study.commit(pass, counts)
                throw Full()
            }
        }
        #expect(try study.passes().isEmpty)
        // One inside another is part of it.
        #expect(throws: Full.self) {
            try study.atomically {
                try study.atomically { try study.commit(pass, counts) }
                #expect(try !study.passes().isEmpty)
                throw Full()
            }
        }
        #expect(try study.passes().isEmpty)
        try study.atomically { try study.commit(pass, counts) }
        let stored = try study.passCounts(pass)
        #expect(stored.samples == [1: 1] && stored.fired == counts.fired)
        #expect(stored.fired[1]?.count == 2 && stored.sums == counts.sums)
    }

    /// A sample that is not counted to its end leaves nothing behind: the next run begins it again.
    @Test func aSampleIsCountedWholeOrNotAtAll() throws {
        let model = PixelModel()
        let image = RGBImage(width: 1, height: 2, pixels: [1, 2, 3, 4, 5, 6])
        let full = PassCounts()
        var entries = try model.count(image: image, prompt: "why")
        entries[1].tokens = Int64(UInt32.max)
        let ordinals = ["lang": 0, "vision": 1]
        try full.add(entries, block: 0, ordinals: ordinals, apart: false)
        let (samples, fired, sums) = (full.samples, full.fired, full.sums)
        let more = PassCounts()
        try more.add(entries, block: 1, ordinals: ordinals, apart: false)
        try more.add(
            model.count(image: image, prompt: "why"), block: 0, ordinals: ordinals, apart: false)
        for add in [
            { try full.add(entries, block: 0, ordinals: ordinals, apart: false) },
            { try full.add(more) },
        ] {
            let error = #expect(throws: InputError.self) { try add() }
            #expect(error?.description.contains("more tokens") == true)
            #expect(full.samples == samples && full.fired == fired && full.sums == sums)
        }

        // Where the model sees other tokens than were planned, everything before is kept.
        let folder = try TemporaryFolder()
        var odd = model
        odd.unplanned = "6"
        let plan = try CountingPlan(
            study: Study(path: folder("shard"), access: .writing), model: odd, bench: bench,
            goal: .samples(100), shard: Shard(1, of: 1))
        let error = #expect(throws: InputError.self) {
            try ResumableRun(plan.step(.med)).run()
        }
        #expect(error?.description.contains("planned as") == true)
        let pass = try #require(try plan.study.passes().first)
        let counted = try plan.study.passCounts(pass)
        #expect(pass.samples > 0 && counted.samples.values.reduce(0, +) == pass.samples)
        #expect(try plan.study.shards().first?.done == pass.samples)
    }

    @Test func oneWriterAtATime() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        _ = try run(path, .samples(1))
        do {
            let first = try Study(path: path, access: .writing)
            let error = #expect(throws: InputError.self) {
                try Study(path: path, access: .writing)
            }
            #expect(error?.code == .locked)
            // Readers are welcome beside a writer.
            let reader = try Study(path: path, access: .reading)
            #expect(try reader.passes() == first.passes())
        }
        _ = try Study(path: path, access: .writing)
        #expect(!FileManager.default.fileExists(atPath: path + ".lock"))
    }

    /// A study has one lock and one file, whatever it is called.
    @Test func linksLeadToTheStudy() throws {
        let folder = try TemporaryFolder()
        let link = folder("link")
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: "study.sqlite")
        // A link to nothing: the study is made where it leads.
        _ = try run(link, .samples(1))
        let target = folder("study.sqlite")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "study.sqlite")
        do {
            let first = try Study(path: target, access: .updating)
            let error = #expect(throws: InputError.self) { try Study(path: link, access: .writing) }
            #expect(error?.code == .locked && error?.file == link)
            withExtendedLifetime(first) {}
        }
        // What replaces a study replaces the file, not the link.
        _ = try run(folder("other"), .samples(1))
        _ = try StudyMerge([folder("other")], output: link).run()
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "study.sqlite")
        let found = try [target, folder("other")].map {
            try Study(path: $0, access: .reading).digest(
                of: StudyItem(PassState(domain: .med, split: "train", form: .simple, bench: "")))
        }
        #expect(found[0] == found[1] && !found[0].isEmpty)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
                == ["link", "other", "study.sqlite"])

        // An error leaves a link to nothing as it was.
        let round = folder("round")
        try FileManager.default.createSymbolicLink(atPath: round, withDestinationPath: "round")
        #expect(throws: InputError.self) { try Study(path: round, access: .writing) }
        let lost = folder("lost")
        try FileManager.default.createSymbolicLink(
            atPath: lost, withDestinationPath: "nowhere/study")
        #expect(throws: InputError.self) { try Study(path: lost, access: .writing) }
        for (name, there) in [(round, "round"), (lost, "nowhere/study")] {
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: name) == there)
        }
    }

    @Test func whatIsNoStudyIsRefused() throws {
        let folder = try TemporaryFolder()
        func fails(_ name: String, _ access: Study.Access) {
            let error = #expect(throws: InputError.self) {
                try Study(path: folder.path + "/" + name, access: access)
            }
            #expect(error?.code == .badInput, "\(String(describing: error))")
        }
        fails("none.sqlite", .reading)
        fails("none.sqlite", .updating)
        fails("no/folder.sqlite", .writing)
        try folder.write("text", text: String(repeating: "not a database ", count: 100))
        let before = FileManager.default.contents(atPath: folder.path + "/text")
        fails("text", .writing)
        fails("text", .reading)
        #expect(FileManager.default.contents(atPath: folder.path + "/text") == before)
        try folder.write("empty", text: "")
        fails("empty", .reading)
        fails("empty", .updating)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(files.sorted() == ["empty", "text"])
    }

    @Test func aFileLeftByAKillWhileItWasMadeIsTakenUp() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        try DatabaseQueue(path: path).write { db in
            try db.execute(
                sql: "CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY)")
        }
        #expect(try run(path, .samples(1)).state.samples == 1)
        let other = folder.path + "/other.sqlite"
        try DatabaseQueue(path: other).write { db in
            try db.execute(sql: "CREATE TABLE mine (number INTEGER)")
        }
        let error = #expect(throws: InputError.self) { try run(other, .samples(1)) }
        #expect(error?.problem == "a database, but not a study")
    }

    /// Killed while it changed a file for the first time: SQLite's journal lies beside it and must
    /// be rolled back before anything can be read.
    @Test func aFileLeftWithAJournalIsTakenUp() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        let source = folder.path + "/source"
        let queue = try DatabaseQueue(path: source)
        try queue.write { db in
            try db.execute(
                sql: "CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY)")
        }
        try queue.writeWithoutTransaction { db in
            // With room for one page in memory, the rest goes to the file before the commit.
            try db.execute(sql: "PRAGMA cache_size = 1; BEGIN")
            for i in 0..<200 {
                try db.execute(
                    sql: "INSERT INTO grdb_migrations VALUES (?)",
                    arguments: ["\(i)" + String(repeating: "x", count: 500)])
            }
            for suffix in ["", "-journal"] {
                try FileManager.default.copyItem(atPath: source + suffix, toPath: path + suffix)
            }
            try db.execute(sql: "ROLLBACK")
        }
        #expect(try run(path, .samples(1)).state.samples == 1)
        #expect(try Study(path: path, access: .reading).passes().count == 1)
    }

    @Test func aStudyThatNothingCameIntoCanBeDiscarded() throws {
        let folder = try TemporaryFolder()
        let new = folder.path + "/new.sqlite"
        do {
            let study = try Study(path: new, access: .writing)
            #expect(throws: InputError.self) {
                try CountingPlan(
                    study: study, model: PixelModel(), bench: folder.path, goal: .samples(1)
                ).step(.med)
            }
            study.discardIfNewAndEmpty()
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        _ = try run(new, .samples(1))
        try Study(path: new, access: .writing).discardIfNewAndEmpty()
        #expect(try Study(path: new, access: .reading).passes().count == 1)
    }

    /// Whoever deletes or replaces a study during a run hears of it: what the run stored went into a
    /// file that nobody finds again.
    @Test(arguments: [false, true])
    func aStudyThatIsTakenAwayIsNoticed(isReplaced: Bool) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        let study = try Study(path: path, access: .writing)
        let plan = try CountingPlan(
            study: study, model: PixelModel(), bench: bench, goal: .samples(3))
        let run = try ResumableRun(
            plan.step(.med),
            tell: { _ in
                try? FileManager.default.removeItem(atPath: path)
                if isReplaced { _ = try? folder.write("s.sqlite", text: "another") }
            })
        let error = #expect(throws: InputError.self) { try run.run() }
        #expect(error?.code == .failed && error?.file == path)
        #expect(error?.problem.contains(isReplaced ? "replaced" : "removed") == true)
        // Nor is the other file taken for what this run made.
        study.discardIfNewAndEmpty()
        #expect(FileManager.default.fileExists(atPath: path) == isReplaced)
    }

    @Test func aBrokenPictureStopsTheRunButLosesNothing() throws {
        let folder = try TemporaryFolder()
        let copy = folder.path + "/bench"
        try FileManager.default.copyItem(atPath: bench, toPath: copy)
        let walk = try BenchSplit(bench: copy, domain: .med, split: "train", form: .simple)
        var pictures: [String] = []
        while let item = try walk.next() {
            if case .sample(let sample) = item { pictures += sample.pictures }
        }
        let good = try #require(FileManager.default.contents(atPath: pictures[2]))
        try Data(good.prefix(30)).write(to: URL(fileURLWithPath: pictures[2]))
        let path = folder.path + "/s.sqlite"
        let error = #expect(throws: InputError.self) {
            try run(path, .samples(4), bench: copy)
        }
        #expect(error?.file == pictures[2])
        #expect(try Study(path: path, access: .reading).passes().map(\.samples) == [2])
        try good.write(to: URL(fileURLWithPath: pictures[2]))
        #expect(try run(path, .samples(4), bench: copy).state.samples == 4)
        _ = try run(folder.path + "/t.sqlite", .samples(4))
        #expect(
            try Study(path: path, access: .reading).counts(domain: .med, split: "train")
                == Study(path: folder.path + "/t.sqlite", access: .reading)
                .counts(domain: .med, split: "train"))
    }

    @Test func theStudyIdentifiesAndRemembers() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        for domain in [Domain.com, .rs, .med] { _ = try run(path, .samples(3), domain: domain) }
        let study = try Study(path: path, access: .writing)
        let settings = Identification.Settings(topRate: 0.4, filterRate: 0.3, activationBar: 0.5)
        let found = try study.identify(module: "vision", settings: settings)
        #expect(found.domains == [.med, .rs, .com])
        #expect(found.selected == 5)
        #expect(found.neurons.contains { $0.contains { !$0.isEmpty } })
        try study.save(found)
        #expect(try study.identification(module: "vision") == found)
        #expect(try study.identification(module: "lang") == nil)
        let two = try study.identify(
            module: "vision", domains: [.com, .med], settings: settings)
        #expect(two.domains == [.med, .com])
        try study.save(two)
        #expect(try study.identification(module: "vision") == two)
        let mask = try study.mask(domain: .med, modules: ["vision"])
        #expect(mask.layers == ["vision": two.neurons[0].map { LayerMask(off: $0) }])
        #expect(throws: InputError.self) { try study.identify(module: "mmproj") }
        #expect(throws: InputError.self) {
            try study.identify(module: "lang", domains: [.ad, .rs])
        }
        #expect(throws: InputError.self) { try study.identify(module: "lang", domains: [.rs]) }
        #expect(throws: InputError.self) { try study.mask(domain: .rs, modules: ["vision"]) }
        #expect(throws: InputError.self) { try study.mask(domain: .med, modules: ["lang"]) }
    }

    @Test func setsOfEarlierCountsAreNotKept() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s.sqlite"
        for domain in [Domain.com, .rs, .med] { _ = try run(path, .samples(3), domain: domain) }
        func save(_ module: String, _ domains: [Domain]) throws {
            let study = try Study(path: path, access: .updating)
            let settings = Identification.Settings(topRate: 0.4, filterRate: 0.3)
            try study.save(
                study.identify(module: module, domains: domains, settings: settings))
        }
        try save("vision", [.com, .rs, .med])
        try save("lang", [.com, .rs])
        // Nothing is counted, nothing goes.
        _ = try run(path, .samples(3), domain: .med)
        #expect(
            try Study(path: path, access: .reading).identification(module: "vision") != nil)
        _ = try run(path, .samples(4), domain: .med)
        let study = try Study(path: path, access: .reading)
        #expect(try study.identification(module: "vision") == nil)
        #expect(try study.identification(module: "lang")?.domains == [.rs, .com])
    }
}
