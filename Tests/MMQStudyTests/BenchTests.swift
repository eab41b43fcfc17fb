import Foundation
import MMQBase
import MMQFormats
import MMQImage
import Support
import Testing

@testable import MMQStudy

@Suite struct BenchTests {
    private let bench = Golden.folder + "/study/bench"

    private func samples(_ walk: BenchSplit) throws -> [BenchSample] {
        var samples: [BenchSample] = []
        while let item = try walk.next() {
            if case .sample(let sample) = item { samples.append(sample) }
        }
        return samples
    }

    @Test(arguments: [
        (Domain.ad, "train"), (.med, "train"), (.rs, "train"), (.com, "train"), (.com, "val"),
        (.doc, "val"),
    ])
    func samplesAreThoseOfTheOfficialLoaders(domain: Domain, split: String) throws {
        let key = split == "val" ? "\(domain.rawValue) val" : domain.rawValue
        let expected = try Golden.json("study/bench.json").at(key).list()
        for form in [PromptForm.full, .simple] {
            let walk = try BenchSplit(bench: bench, domain: domain, split: split, form: form)
            let found = try samples(walk)
            #expect(found.count == expected.count)
            for (sample, golden) in zip(found, expected) {
                #expect(sample.index == golden["index"]?.integer)
                #expect(sample.question == golden["question"]?.text)
                let prompt = try golden.at(form == .full ? "prompt" : "simple").text
                #expect(sample.prompt == prompt)
                #expect(sample.answer == golden["answer"])
                #expect(
                    sample.pictures == (try golden.at("pictures").texts()).map { bench + "/" + $0 })
                #expect(sample.domain == domain)
            }
        }
    }

    @Test func missingPicturesAreReported() throws {
        var missing: [String: [String]] = [:]
        for (domain, split) in [
            (Domain.ad, "train"), (.med, "train"), (.rs, "train"), (.com, "train"), (.doc, "val"),
        ] {
            let walk = try BenchSplit(bench: bench, domain: domain, split: split, form: .simple)
            while let item = try walk.next() {
                switch item {
                case .missing(_, let files): missing[domain.rawValue, default: []] += files
                case .sample(let sample): missing[domain.rawValue, default: []] += sample.missing
                }
            }
        }
        let names = missing.mapValues { Set($0.map { String($0.dropFirst(bench.count + 1)) }) }
        #expect(names["ad"] == ["ad/train/images/seg3/1.png"])
        #expect(names["med"] == ["med/figures/PMC4.png", "med/images/PMC4.png"])
        #expect(names["rs"] == ["rs/Data/5.png"])
        #expect(names["com"] == ["vqav2/train2014/COCO_train2014_000000000306.jpg"])
        #expect(names["doc"] == ["doc/(row without a picture)", "doc/images/documents/page3.png"])
    }

    /// What a shard's plan lets the walk pass by is what looking there would have found.
    @Test(arguments: [
        (Domain.ad, "train"), (.med, "train"), (.rs, "train"), (.com, "val"), (.doc, "val"),
    ])
    func aPlannedWalkIsTheWalk(domain: Domain, split: String) throws {
        func begun() throws -> BenchSplit {
            try BenchSplit(bench: bench, domain: domain, split: split, form: .full)
        }
        let refused = InputError.prompt("no")
        let whole = try begun()
        var items: [BenchItem] = []
        while let item = try whole.next() { items.append(item) }
        func place(_ item: BenchItem) -> Int {
            switch item {
            case .missing(let position, _): position
            case .sample(let sample): sample.position
            }
        }
        for count in [1, 2, 3] {
            for number in 1...count {
                for goal in [0, 2, 1000] {
                    for looks in [false, true] {
                        let shard = try #require(Shard(number, of: count))
                        let walk = try begun()
                        var seen = 0
                        let own = try walk.plan(
                            shard,
                            tokens: looks
                                ? { sample in
                                    seen += 1
                                    if sample.position % 5 == 4 { throw refused }
                                    return sample.position
                                } : nil
                        ) { samples, _ in samples >= goal }
                        #expect(walk.position == 0)
                        var (samples, taken, passed) = (0, 0, 0)
                        for (number, item) in items.enumerated() {
                            // Half of the way begins again behind a skip.
                            if number == items.count / 2 { try walk.skip(to: place(item)) }
                            let isOwn = shard.takes(place(item))
                            guard let known = walk.nextPassedBy() else {
                                #expect(isOwn || samples >= goal)
                                #expect(try walk.next() == item)
                                #expect(walk.position == place(item) + 1)
                                if case .sample(let sample) = item,
                                    !(looks && sample.position % 5 == 4)
                                {
                                    if samples < goal { taken += 1 }
                                    samples += 1
                                }
                                continue
                            }
                            passed += 1
                            #expect(!isOwn && Int(known.position) == place(item))
                            switch (known.outcome, item) {
                            case (.missing, .missing): break
                            case (.refused, .sample(let sample)):
                                #expect(looks && sample.position % 5 == 4)
                            case (.sample(let frames), .sample(let sample)):
                                #expect(Int(frames) == sample.missing.count)
                                samples += 1
                            default: Issue.record("\(known) for \(item)")
                            }
                        }
                        #expect(try walk.next() == nil)
                        #expect(taken == own)
                        #expect(seen == 0 || looks)
                        if count == 3, goal == 1000 { #expect(passed > 0) }
                    }
                }
            }
        }
    }

    @Test func attributesCarryTypes() throws {
        let rs = try BenchSplit(bench: bench, domain: .rs, split: "train", form: .simple)
        for sample in try samples(rs) {
            let id = try #require(sample.attributes["question_id"].flatMap { Int($0) })
            #expect(sample.attributes["type"] == ["presence", "count", "area", "comp"][id % 4])
            #expect(sample.answer["question_id"]?.integer == id)
        }
        let com = try BenchSplit(bench: bench, domain: .com, split: "train", form: .simple)
        // PMC-VQA's options are what an answer is compared with.
        let med = try BenchSplit(bench: bench, domain: .med, split: "train", form: .full)
        for sample in try samples(med) {
            for letter in ["A", "B", "C", "D"] {
                let choice = try #require(sample.attributes["Choice \(letter)"])
                #expect(sample.prompt.contains(choice))
            }
        }
        #expect(try samples(com).allSatisfy { $0.attributes["answer_type"] == "other" })
    }

    @Test(arguments: Domain.allCases)
    func aWalkGoesOnAnywhere(domain: Domain) throws {
        let split = domain == .doc ? "val" : "train"
        func open() throws -> BenchSplit {
            try BenchSplit(bench: bench, domain: domain, split: split, form: .full)
        }
        let whole = try open()
        var items: [BenchItem] = []
        var places = [0]
        while let item = try whole.next() {
            items.append(item)
            places.append(whole.position)
        }
        for (number, place) in places.enumerated() {
            let later = try open()
            try later.skip(to: place)
            var rest: [BenchItem] = []
            while let item = try later.next() { rest.append(item) }
            #expect(rest == Array(items[number...]))
        }
    }

    @Test func framesAreJoinedSideBySide() throws {
        let walk = try BenchSplit(bench: bench, domain: .ad, split: "train", form: .simple)
        for sample in try samples(walk) {
            let frames = try sample.pictures.map { try RGBImage.decode(path: $0) }
            let joined = try sample.picture()
            #expect(joined.width == frames.reduce(0) { $0 + $1.width })
            #expect(joined.height == 4)
            var left = 0
            for frame in frames {
                for y in 0..<frame.height {
                    for x in 0..<(frame.width * 3) {
                        let here = joined.pixels[y * joined.width * 3 + left * 3 + x]
                        #expect(here == frame.pixels[y * frame.width * 3 + x])
                    }
                }
                left += frame.width
            }
        }
    }

    @Test func framesOfDifferentHeightsAreAnError() throws {
        let pictures = Golden.folder + "/llava-next/images"
        let names = try FileManager.default.contentsOfDirectory(atPath: pictures).sorted()
        let other = try #require(names.first { $0.hasSuffix(".png") })
        let sample = BenchSample(
            domain: .ad, position: 0, index: 0, question: "", prompt: "", answer: .null,
            attributes: [:],
            pictures: [bench + "/ad/train/images/seg0/0.png", pictures + "/" + other], missing: [])
        let error = #expect(throws: InputError.self) { try sample.picture() }
        #expect(error?.problem.contains("rows") == true)
    }

    @Test func onlyParquetSaysWhatToRun() throws {
        let folder = try TemporaryFolder()
        try folder.write("ad/train/train.parquet", text: "PAR1")
        try folder.write("doc/data/validation-00000-of-00001.parquet", text: "PAR1")
        for (domain, split) in [(Domain.ad, "train"), (.doc, "val")] {
            let error = #expect(throws: InputError.self) {
                try BenchSplit(bench: folder.path, domain: domain, split: split, form: .simple)
            }
            #expect(error?.problem.contains("tools/data prepare") == true)
            #expect(error?.file.hasSuffix(".parquet") == true)
        }
    }

    @Test func brokenAnnotationsNameTheirPlace() throws {
        let folder = try TemporaryFolder()
        func fails(_ domain: Domain, _ words: String, _ code: InputError.Code = .badInput) {
            let error = #expect(throws: InputError.self) {
                try BenchSplit(bench: folder.path, domain: domain, split: "val", form: .simple)
            }
            #expect(error?.code == code)
            #expect(error.map { "\($0)".contains(words) } == true, "\(String(describing: error))")
        }
        fails(.com, "v2_OpenEnded_mscoco_val2014_questions.json", .unreadable)
        let questions = "vqav2/v2_OpenEnded_mscoco_val2014_questions.json"
        try folder.write(
            questions, text: #"{"questions": [{"image_id": 1, "question": "?", "question_id": 7}]}"#
        )
        fails(.com, "annotations.json: not there")
        try folder.write("vqav2/v2_mscoco_val2014_ansdict.json", text: #"{"8": []}"#)
        fails(.com, "no answers for question 7")
        try folder.write(questions, text: #"{"questions": [{"image_id": 1, "question": "?"}]}"#)
        fails(.com, "question 0 needs")

        let aerial = "rs/USGS_split_val_questions.json"
        try folder.write(
            "rs/USGS_split_val_answers.json", text: #"{"answers": [{"answer": "yes"}]}"#)
        try folder.write(aerial, text: #"{"questions": [{"id": 0}]}"#)
        fails(.rs, "no 'active'")
        let record = #""active": true, "img_id": 3, "question": "?""#
        try folder.write(aerial, text: #"{"questions": [{\#(record), "answers_ids": [1]}]}"#)
        fails(.rs, "answer 1 is not among the 1 answers")
        try folder.write(aerial, text: #"{"questions": [{\#(record), "answers_ids": []}]}"#)
        fails(.rs, "question 0 needs")

        try folder.write("med/val.csv", text: "Figure_path,Question\n")
        fails(.med, "Answer: no such column")
        fails(.ad, "val.jsonl", .unreadable)
        let badSplit = #expect(throws: InputError.self) {
            try BenchSplit(bench: folder.path, domain: .ad, split: "../val", form: .simple)
        }
        #expect(badSplit?.problem.contains("name of a split") == true)
    }

    @Test func aCheckCountsWhatIsThere() throws {
        let check = try BenchCheck(bench: bench)
        let train = check.entries.filter { $0.split == "train" }
        #expect(train.map(\.domain) == Domain.allCases)
        let golden = try Golden.json("study/bench.json")
        for entry in train where entry.domain != .doc {
            #expect(entry.samples == (try golden.at(entry.domain.rawValue).list()).count)
            #expect(entry.problem == nil)
        }
        #expect(train.map(\.missing) == [0, 1, 1, 1, 0])
        #expect(train[0].missingFiles.allSatisfy { $0.hasSuffix("seg3/1.png") })
        #expect(train[1].questions == 11)
        #expect(train[4].problem != nil)
        #expect(throws: InputError.self) { try BenchCheck(bench: bench + "/nowhere") }
    }

    /// Annotations come from elsewhere: they cannot make mmq read any file of this machine.
    @Test func picturesOutsideAreRefused() throws {
        let folder = try TemporaryFolder()
        let manager = FileManager.default
        let copy = folder.path + "/bench"
        try manager.copyItem(atPath: bench, toPath: copy)
        let data = copy + "/rs/Data"
        try manager.moveItem(atPath: data, toPath: folder.path + "/elsewhere")
        try manager.createSymbolicLink(
            atPath: data, withDestinationPath: folder.path + "/elsewhere")
        func first(_ allowsOutside: Bool) throws -> BenchItem? {
            try BenchSplit(
                bench: copy, domain: .rs, split: "train", form: .simple,
                allowsOutside: allowsOutside
            ).next()
        }
        let error = #expect(throws: InputError.self) { try first(false) }
        #expect(error?.file.hasSuffix(".png") == true)
        #expect(error?.description.contains("elsewhere") == true)
        #expect(error?.description.contains("--allow-outside") == true)
        guard case .sample = try first(true) else {
            Issue.record("a linked picture that was allowed is not read")
            return
        }
        // A bench that is itself a link is inside itself.
        try manager.createSymbolicLink(
            atPath: folder.path + "/link", withDestinationPath: bench)
        let linked = try BenchSplit(
            bench: folder.path + "/link", domain: .com, split: "train", form: .simple)
        guard case .sample = try linked.next() else {
            Issue.record("a bench behind a link is not read")
            return
        }
    }

    /// Wherever the pictures before it lie: in the same folder, or each in its own.
    @Test(arguments: [Domain.rs, .ad]) func aLaterPictureOutsideIsRefused(domain: Domain) throws {
        let folder = try TemporaryFolder()
        let manager = FileManager.default
        let copy = folder.path + "/bench"
        try manager.copyItem(atPath: bench, toPath: copy)
        func walk() throws -> BenchSplit {
            try BenchSplit(bench: copy, domain: domain, split: "train", form: .simple)
        }
        var pictures: [String] = []
        let whole = try walk()
        while let item = try whole.next() {
            if case .sample(let sample) = item { pictures.append(sample.pictures[0]) }
        }
        let places = pictures.map {
            domain == .rs ? $0 : ($0 as NSString).deletingLastPathComponent
        }
        // The place that is met last of all.
        let moved = try #require(
            places.indices.last { !places[..<$0].contains(places[$0]) }.map { places[$0] })
        let before = places.prefix { $0 != moved }
        try #require(Set(before).count > 1)
        try manager.moveItem(atPath: moved, toPath: folder.path + "/elsewhere")
        try manager.createSymbolicLink(
            atPath: moved, withDestinationPath: folder.path + "/elsewhere")
        let again = try walk()
        var read: [String] = []
        let error = #expect(throws: InputError.self) {
            while let item = try again.next() {
                if case .sample(let sample) = item { read.append(sample.pictures[0]) }
            }
        }
        #expect(read == Array(pictures.prefix(before.count)))
        #expect(error?.description.contains("elsewhere") == true)
    }

    /// A folder where a picture should be is a missing picture.
    @Test func aFolderIsNoPicture() throws {
        let folder = try TemporaryFolder()
        let copy = folder.path + "/bench"
        try FileManager.default.copyItem(atPath: bench, toPath: copy)
        func samples() throws -> (there: [String], missing: Int) {
            let walk = try BenchSplit(bench: copy, domain: .rs, split: "train", form: .simple)
            var there: [String] = []
            var missing = 0
            while let item = try walk.next() {
                switch item {
                case .sample(let sample): there += sample.pictures
                case .missing: missing += 1
                }
            }
            return (there, missing)
        }
        let before = try samples()
        let picture = try #require(before.there.first)
        try FileManager.default.removeItem(atPath: picture)
        try FileManager.default.createDirectory(
            atPath: picture, withIntermediateDirectories: false)
        let after = try samples()
        #expect(after.there == Array(before.there.dropFirst()))
        #expect(after.missing == before.missing + 1)
    }
}
