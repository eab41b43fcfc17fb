import Foundation
import MMQBase
import MMQFormats
import StudySupport
import Support
import Testing

@testable import MMQModels
@testable import MMQStudy

/// Activation values over a bench, against traces of its samples and against themselves.
@Suite struct ActivationsTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A run over one domain, perhaps interrupted after some samples.
    @discardableResult
    private func write(
        _ model: any VisionLanguageModel, to output: String, sites: [String] = ["mlp"],
        neurons: [String: [[Int]]]? = nil, rows: ActivationSelection.Rows = .all,
        type: SafetensorsType = .f32, fileSize: Int = 20_000, samples: Int = 5,
        domain: Domain = .rs, bench: String = LensFixture.bench, split: String = "train",
        shard: Shard? = nil, stopAfter: Int = .max
    ) throws -> ActivationsPlan.Result {
        let plan = try ActivationsPlan(
            model: model, bench: bench, split: split, samples: samples,
            selection: ActivationSelection(
                sites: sites, neurons: neurons, rows: rows, of: model), type: type,
            fileSize: fileSize, output: output, shard: shard)
        var done = 0
        return try ResumableRun(
            plan.step(domain), interrupted: { done >= stopAfter },
            tell: { if case .progress = $0 { done += 1 } }
        ).run().result
    }

    /// All files of a folder, by their names in it.
    private func contents(_ path: String) throws -> [String: Data] {
        try FileManager.default.subpathsOfDirectory(atPath: path).reduce(into: [:]) {
            let file = path + "/" + $1
            if isRegularFile(file) { $0[$1] = try Data(contentsOf: URL(fileURLWithPath: file)) }
        }
    }

    /// What all files of a layer hold, one after the other.
    private func values(_ path: String, _ site: ActivationSite, of model: any VisionLanguageModel)
        throws -> [UInt8]
    {
        let module = model.modules[site.module].name
        var bytes: [UInt8] = []
        for number in 0... {
            let file = path + "/" + ActivationLayout.array(site, of: module, number)
            guard isRegularFile(file) else { break }
            bytes += try Array(SafetensorsFile(path: file).bytes(site.name))
        }
        return bytes
    }

    /// The rows of a module's index.
    private func index(_ path: String, _ module: String) throws -> [[Int]] {
        var rows: [[Int]] = []
        for number in 0... {
            let file = path + "/" + ActivationLayout.index(of: module, number)
            guard isRegularFile(file) else { break }
            let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
            #expect(lines[0] == "sample,position,image,tile,row,column,token,file,file_row")
            rows += try lines.dropFirst().map { line in
                try line.split(separator: ",").map { try #require(Int($0)) }
            }
        }
        return rows
    }

    private func taken(_ count: Int, _ domain: Domain = .rs) throws -> [BenchSample] {
        let walk = try BenchSplit(
            bench: LensFixture.bench, domain: domain, split: "train", form: .simple)
        var samples: [BenchSample] = []
        while samples.count < count, let item = try walk.next() {
            if case .sample(let sample) = item { samples.append(sample) }
        }
        return samples
    }

    @Test(arguments: ["llava-next/hub-f16", "instructblip/new-f16", "llava-1.5/full-bf16"])
    func valuesAreThoseOfTraces(_ name: String) throws {
        let model = try LensFixture.model(name, in: folder)
        let sites = try ActivationSite.sites(["mlp"], of: model.modules)
        for (domain, type) in [(Domain.rs, SafetensorsType.f32), (.com, .f16)] {
            let output = folder("\(domain)")
            try write(model, to: output, type: type, samples: 3, domain: domain)
            var expected: [ActivationSite: [UInt8]] = [:]
            var ids: [[Int]] = []
            var places: [Int] = []
            for sample in try taken(3, domain) {
                let path = folder("trace")
                try model.trace(
                    image: sample.picture(), prompt: sample.prompt, sites: [.ids],
                    activations: sites, as: type, mask: nil, to: path)
                let trace = try SafetensorsFile(path: path)
                for site in sites { expected[site, default: []] += try trace.bytes(site.name) }
                ids.append(try trace.integers("input_ids").map { Int($0) })
                places.append(sample.position)
            }
            let path = "\(output)/\(domain.rawValue)"
            for site in sites {
                #expect(try values(path, site, of: model) == expected[site], "\(site.name)")
            }
            for (number, module) in model.modules.enumerated() {
                let rows = try index(path, module.name)
                var met: [Int] = []
                for row in rows where met.last != row[0] { met.append(row[0]) }
                #expect(met == places)
                let site = try #require(sites.first { $0.module == number })
                let bytes = try #require(expected[site]).count
                #expect(rows.count == bytes / (module.neurons * type.byteSize), "\(module.name)")
                for place in places {
                    let own = rows.filter { $0[0] == place }
                    #expect(own.map { $0[1] } == Array(0..<own.count))
                }
            }
            let decoder = try index(path, model.decoderModule.name)
            for (place, ids) in zip(places, ids) {
                let own = decoder.filter { $0[0] == place }
                #expect(own.map { $0[6] } == ids)
                #expect(own.map { $0[2] } == ids.map { $0 == Int(model.imageToken) ? 1 : 0 })
            }
        }
    }

    /// The place of a decoder's row is that of the tower's patch that it comes from, and where the
    /// grids of the page have it.
    @Test func placesAreThoseOfTheGrids() throws {
        let model = try LensFixture.model(in: folder)
        for sample in try taken(4) + taken(4, .com) {
            let picture = try sample.picture()
            let input = try model.prepare(image: picture, prompt: sample.prompt)
            let rows = model.tokenRows(of: 0, in: input)
            let grids = model.pictureGrids(
                width: picture.width, height: picture.height,
                isImage: model.imagePositions(input))
            #expect(grids.count == 2)
            var placed = 0
            for grid in grids {
                for row in 0..<grid.rows {
                    let first = grid.first + row * (grid.columns + (grid.hasRowEnds ? 1 : 0))
                    let places = rows[first..<first + grid.columns].map(\.place)
                    placed += places.count
                    if grid.name == "overview" {
                        #expect(
                            places
                                == (0..<grid.columns).map {
                                    PicturePlace(tile: 0, row: Int32(row), column: Int32($0))
                                })
                    } else {
                        #expect(places.allSatisfy { $0.tile > 0 })
                        #expect(Set(places.map(\.row)).count == 1)
                    }
                }
            }
            #expect(rows.count { $0.place.tile >= 0 } == placed)
            let patches = rows.filter { $0.place.tile >= 0 }.map {
                [$0.place.tile, $0.place.row, $0.place.column]
            }
            #expect(Set(patches).count == patches.count)
            let tower = Set(
                model.tokenRows(of: 1, in: input).map {
                    [$0.place.tile, $0.place.row, $0.place.column]
                })
            #expect(Set(patches).isSubset(of: tower))
            // Across tiles columns go on.
            let side = (patches.map { Int($0[1]) }.max() ?? 0) + 1
            #expect(tower.count == (Int(patches.map { $0[0] }.max() ?? 0) + 1) * (side * side + 1))
        }
    }

    @Test(arguments: [ActivationSelection.Rows.image, .text, .last])
    func chosenRowsAndNeurons(_ chosen: ActivationSelection.Rows) throws {
        let model = try LensFixture.model("instructblip/new-f16", in: folder)
        try write(model, to: folder("all"), samples: 3)
        let neurons = Dictionary(
            uniqueKeysWithValues: model.modules.map { module in
                (
                    module.name,
                    (0..<module.layers).map { $0 == 0 ? [] : [0, $0, module.neurons - 1] }
                )
            })
        try write(model, to: folder("some"), neurons: neurons, rows: chosen, samples: 3)
        let selection = try ActivationSelection(
            sites: ["mlp"], neurons: neurons, rows: chosen, of: model)
        let kept = selection.sites.map(\.place)
        #expect(kept.allSatisfy { $0.layer > 0 })
        let modules: Set =
            switch chosen {
            case .last: ["lang"]
            case .text: ["lang", "qformer"]
            default: ["lang", "encoder", "query"]
            }
        #expect(Set(kept.map { model.modules[$0.module].name }) == modules)
        for site in kept {
            let shape = model.modules[site.module]
            let all = try values(folder("all/rs"), site, of: model)
            let rows = try index(folder("all/rs"), shape.name)
            let last = Dictionary(rows.map { ($0[0], $0[1]) }, uniquingKeysWith: max)
            let columns = try #require(neurons[shape.name]?[site.layer])
            var expected: [UInt8] = []
            for (number, row) in rows.enumerated() {
                let isWanted =
                    switch chosen {
                    case .image: row[2] == 1
                    case .text: row[2] == 0
                    default: row[1] == last[row[0]]
                    }
                guard isWanted else { continue }
                for column in columns {
                    let start = (number * shape.neurons + column) * 4
                    expected += all[start..<start + 4]
                }
            }
            #expect(try values(folder("some/rs"), site, of: model) == expected, "\(site.name)")
            let index = try index(folder("some/rs"), shape.name)
            #expect(index.count * columns.count * 4 == expected.count)
            #expect(index.map { $0[7] } == index.map { $0[7] }.sorted())
        }
        #expect(throws: InputError.self) {
            try ActivationSelection(
                sites: ["mlp:qformer"], neurons: nil, rows: .last, of: model)
        }
    }

    /// However it was interrupted, and whatever a process that was killed left behind what it had
    /// committed, the files are the same.
    @Test(arguments: [(2_000, "mlp:mmproj"), (20_000, "mlp"), (1 << 30, "mlp:lang")])
    func goesOnToTheSameFiles(_ fileSize: Int, _ site: String) throws {
        let model = try LensFixture.model(in: folder)
        func write(
            _ model: any VisionLanguageModel, to output: String, fileSize: Int, samples: Int = 5,
            stopAfter: Int = .max
        ) throws {
            try self.write(
                model, to: output, sites: [site], fileSize: fileSize, samples: samples,
                stopAfter: stopAfter)
        }
        try write(model, to: folder("whole"), fileSize: fileSize)
        let whole = try contents(folder("whole"))
        #expect(whole.keys.allSatisfy { !$0.hasSuffix(".partial") })
        for (name, data) in whole where name.hasSuffix(".safetensors") {
            #expect(data.count <= max(fileSize, 1000), "\(name)")
        }
        let parts = folder("parts")
        for _ in 0..<8 { try write(model, to: parts, fileSize: fileSize, stopAfter: 1) }
        #expect(try contents(parts) == whole)
        // A goal that is raised.
        let raised = folder("raised")
        for samples in [1, 2, 5] {
            try write(model, to: raised, fileSize: fileSize, samples: samples)
        }
        #expect(try contents(raised) == whole)
        // What was committed is older than what is there.
        for samples in 0..<5 {
            let killed = folder("killed\(samples)")
            let progress = killed + "/rs/progress.json"
            if samples > 0 {
                try write(model, to: killed, fileSize: fileSize, stopAfter: samples)
                let old = try Data(contentsOf: URL(fileURLWithPath: progress))
                try write(model, to: killed, fileSize: fileSize)
                try old.write(to: URL(fileURLWithPath: progress))
            } else {
                try write(model, to: killed, fileSize: fileSize)
                try FileManager.default.removeItem(atPath: progress)
            }
            try write(model, to: killed, fileSize: fileSize)
            #expect(try contents(killed) == whole, "\(samples)")
        }
        // A run that ends earlier than what a killed one began takes that away.
        let less = folder("less")
        try write(model, to: less, fileSize: fileSize, stopAfter: 2)
        let old = try Data(contentsOf: URL(fileURLWithPath: less + "/rs/progress.json"))
        try write(model, to: less, fileSize: fileSize)
        try old.write(to: URL(fileURLWithPath: less + "/rs/progress.json"))
        try write(model, to: less, fileSize: fileSize, samples: 2)
        try write(model, to: folder("two"), fileSize: fileSize, samples: 2)
        #expect(try contents(less) == contents(folder("two")))
    }

    /// A sample that breaks off leaves nothing of itself.
    @Test func forgetsHalfASample() throws {
        let model = try LensFixture.model(in: folder)
        let selection = try ActivationSelection(
            sites: ["mlp:lang.1", "mlp:mmproj"], neurons: nil, rows: .all, of: model)
        let widths = selection.sites.map { model.modules[$0.place.module].neurons }
        func write(_ name: String, fails: Bool) throws -> [String: Data] {
            try FileManager.default.createDirectory(
                atPath: folder(name), withIntermediateDirectories: true)
            let files = try ActivationFiles(
                selection, of: model.modules, type: .f32,
                rowsPerFile: ["lang": 7, "mmproj": 5], in: folder(name) + "/", held: [:])
            for sample in 0..<4 {
                for attempt in (fails ? [false, true] : [true]) {
                    files.begin { _ in
                        (0..<10).map {
                            TokenRow(
                                isImage: false, place: PicturePlace(tile: -1, row: -1, column: -1),
                                token: Int32($0))
                        }
                    }
                    for (number, site) in selection.sites.enumerated() {
                        let rows = attempt ? 10 : 9 - number * 3
                        let values = (0..<rows * widths[number]).map {
                            Float(sample * 10_000 + $0) + (attempt ? 0 : 0.5)
                        }
                        try values.withUnsafeBufferPointer { try files.take(site.place, $0) }
                    }
                    if attempt {
                        try files.end(sample: sample)
                        try files.sync()
                    } else {
                        #expect(throws: InputError.self) { try files.end(sample: sample) }
                        files.rewind()
                    }
                }
            }
            try files.finish()
            return try contents(folder(name))
        }
        let plain = try write("plain", fails: false)
        #expect(plain.count == 6 + 6 + 8 + 8)
        #expect(try write("failing", fails: true) == plain)
    }

    @Test(arguments: [2, 5]) func shardsAreTheWhole(_ count: Int) throws {
        let model = try LensFixture.model(in: folder)
        try write(model, to: folder("whole"), samples: 7)
        let sites = try ActivationSite.sites(["mlp"], of: model.modules)
        func rows(_ path: String, _ site: ActivationSite) throws -> [[Int]: [UInt8]] {
            let shape = model.modules[site.module]
            let bytes = try values(path, site, of: model)
            var rows: [[Int]: [UInt8]] = [:]
            for (number, row) in try index(path, shape.name).enumerated() {
                let start = number * shape.neurons * 4
                rows[Array(row[..<7])] = Array(bytes[start..<start + shape.neurons * 4])
            }
            return rows
        }
        var parts: [ActivationSite: [[Int]: [UInt8]]] = [:]
        for number in 1...count {
            let output = folder("part\(number)")
            let shard = try #require(Shard(number, of: count))
            let result = try write(model, to: output, samples: 7, shard: shard)
            #expect(result.samples == 7)
            for site in sites {
                parts[site, default: [:]].merge(try rows(output + "/rs", site)) { _, _ in
                    Issue.record("a row of two parts")
                    return []
                }
            }
        }
        for site in sites { #expect(try parts[site] == rows(folder("whole/rs"), site)) }
    }

    @Test func refusesAnotherBeginning() throws {
        let model = try LensFixture.model(in: folder)
        let output = folder("output")
        let sites = ["mlp:lang"]
        try write(model, to: output, sites: sites, samples: 3)
        let before = try contents(output)
        func refusal(_ item: String, _ body: () throws -> Void) {
            let error = #expect(throws: InputError.self) { try body() }
            #expect(error?.code.isFailure == false)
            #expect(error?.description.contains(item) == true, "\(String(describing: error))")
        }
        refusal("--dtype: the folder was begun with f32, not with f16") {
            try write(model, to: output, sites: sites, type: .f16)
        }
        refusal("--positions") { try write(model, to: output, sites: sites, rows: .image) }
        refusal("--split") { try write(model, to: output, sites: sites, split: "val") }
        refusal("--file-size") { try write(model, to: output, sites: sites, fileSize: 50_000) }
        refusal("--shard") { try write(model, to: output, sites: sites, shard: Shard(1, of: 2)) }
        refusal("--sites") { try write(model, to: output, sites: ["mlp:lang.1"]) }
        refusal("--neurons") {
            try write(model, to: output, sites: sites, neurons: ["lang": [[1], [2], [3]]])
        }
        refusal("more than asked for") { try write(model, to: output, sites: sites, samples: 2) }
        let other = try LensFixture.model("llava-next/hub-f16", .q8_0, in: folder)
        refusal("model") { try write(other, to: output, sites: sites) }
        let bench = folder("bench")
        try FileManager.default.copyItem(atPath: LensFixture.bench, toPath: bench)
        let questions = bench + "/rs/USGS_split_train_questions.json"
        try (String(contentsOfFile: questions, encoding: .utf8) + " ")
            .write(toFile: questions, atomically: true, encoding: .utf8)
        refusal("other annotations") { try write(model, to: output, sites: sites, bench: bench) }
        try folder.write("full/other.txt", text: "mine")
        refusal("one of other files") { try write(model, to: folder("full"), sites: sites) }
        #expect(try contents(output) == before)
    }

    /// A folder that somebody damaged is named.
    @Test func refusesDamage() throws {
        let model = try LensFixture.model(in: folder)
        let output = folder("output")
        func begin() throws {
            try? FileManager.default.removeItem(atPath: output)
            try write(model, to: output, sites: ["mlp:lang"], stopAfter: 2)
        }
        let progress = output + "/rs/progress.json"
        for (old, new) in [
            ("\"position\": ", "\"position\": -"), ("\"samples\": 2", "\"samples\": 999"),
            ("\"missing\": [", "\"missing\": [7, 7"), ("\"outcome\": null", "\"outcome\": \"x\""),
            ("\"rows\": ", "\"rows\": \"\", \"r\": "), ("{\"bench\"", "{\"b\""),
            ("\"lang\"", "\"long\""), ("\"index_bytes\": ", "\"index_bytes\": 0, \"i\": "),
        ] {
            try begin()
            let text = try String(contentsOfFile: progress, encoding: .utf8)
            let damaged = text.replacingOccurrences(of: old, with: new)
            try #require(damaged != text, "\(old) in \(text)")
            try damaged.write(toFile: progress, atomically: true, encoding: .utf8)
            let error = #expect(throws: InputError.self) {
                try write(model, to: output, sites: ["mlp:lang"])
            }
            #expect(error?.file == progress, "\(String(describing: error))")
        }
        try begin()
        for name in try folder.entries(of: "output/rs") where name.hasPrefix("lang.1") {
            try FileManager.default.removeItem(atPath: output + "/rs/" + name)
        }
        let error = #expect(throws: InputError.self) {
            try write(model, to: output, sites: ["mlp:lang"])
        }
        #expect(error?.code == .truncated && error?.file.contains("lang.1-") == true)
    }

    /// A picture that comes later is taken by the next run, as where neurons are counted.
    @Test func picturesThatComeLater() throws {
        let model = try LensFixture.model(in: folder)
        let bench = folder("bench")
        try FileManager.default.copyItem(atPath: LensFixture.bench, toPath: bench)
        let samples = try taken(12)
        let picture = samples[1].pictures[0].replacingOccurrences(
            of: LensFixture.bench, with: bench)
        try FileManager.default.moveItem(atPath: picture, toPath: picture + ".away")
        let without = try write(
            model, to: folder("output"), sites: ["mlp:lang.0"], samples: 99, bench: bench)
        #expect(without.samples == 11 && without.skipped == 1 && without.outcome == .exhausted)
        try FileManager.default.moveItem(atPath: picture + ".away", toPath: picture)
        let with = try write(
            model, to: folder("output"), sites: ["mlp:lang.0"], samples: 99, bench: bench)
        #expect(with.samples == 12 && with.skipped == 0)
        let rows = try index(folder("output/rs"), "lang")
        #expect(rows.last?[0] == samples[1].position)
        #expect(Set(rows.map { $0[0] }) == Set(samples.map(\.position)))
    }

    @Test func oneProcessAtATime() throws {
        let model = try LensFixture.model(in: folder)
        func plan() throws -> ActivationsPlan {
            try ActivationsPlan(
                model: model, bench: LensFixture.bench, samples: 1,
                selection: ActivationSelection(
                    sites: ["mlp"], neurons: nil, rows: .all, of: model), fileSize: 1000,
                output: folder("output"))
        }
        let first = try plan()
        let error = #expect(throws: InputError.self) { try plan() }
        #expect(error?.code == .locked)
        withExtendedLifetime(first) {}
    }

    @Test func neuronsOfASet() throws {
        let model = try LensFixture.model(in: folder)
        let study = try Study(path: folder("study"), access: .writing)
        #expect(throws: InputError.self) { try study.neurons(of: .usual) }
        try LensFixture.identify(study, model)
        let found = try study.neurons(of: .usual)
        for module in model.modules {
            #expect(
                found[module.name]
                    == (0..<module.layers).map { layer in
                        layer == 0
                            ? [] : [layer, 1 + layer, module.neurons - 2, module.neurons - 1]
                    })
        }
        #expect(throws: InputError.self) { try study.neurons(of: SetName("none")) }
    }
}
