import Foundation
import MMQBase
import MMQImage
import MMQModels
import StudySupport
import Support
import Testing

@testable import MMQReport
@testable import MMQStudy

/// The gallery of neurons.
@Suite struct GalleryTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Counts over the small bench, and sets of neurons.
    private func study(
        _ name: String, _ model: any VisionLanguageModel, bench: String = LensFixture.bench,
        keepTop: Int? = nil, topRate: Double = 0.2
    ) throws -> Study {
        let study = try Study(path: folder.path + "/" + name, access: .writing)
        let counting = try CountingPlan(
            study: study, model: model, bench: bench, goal: .samples(5), keepTop: keepTop)
        for domain in [Domain.rs, .com] { _ = try ResumableRun(counting.step(domain)).run() }
        for module in model.modules {
            try study.save(
                study.identify(
                    module: module.name,
                    settings: .init(topRate: topRate, filterRate: 0.5, activationBar: 0.4)))
        }
        return study
    }

    private func gallery(
        _ study: Study, _ others: [Study] = [], _ sources: GallerySources = .init()
    ) throws -> ReportGallery {
        let modules = try study.modules().map { try ModuleNeurons($0, in: study) }
        return try #require(try ReportGallery(study, others, modules, set: .usual, sources))
    }

    private func section(_ page: String) throws -> String {
        let start = try #require(page.range(of: "<section id=\"gallery\""))
        let end = try #require(
            page.range(of: "</section>", range: start.upperBound..<page.endIndex))
        return String(page[start.lowerBound..<end.upperBound])
    }

    private func page(
        _ study: Study, _ others: [Study] = [], _ sources: GallerySources = .init()
    ) throws -> String {
        let page = String(
            decoding: try ReportPage(ReportDocument(study, others: others, gallery: sources))
                .html(),
            as: UTF8.self)
        try TagStack.check(page)
        let ids = page.components(separatedBy: " id=\"").dropFirst().map {
            $0.prefix { $0 != "\"" }
        }
        #expect(Set(ids).count == ids.count)
        for link in page.components(separatedBy: "href=\"#").dropFirst() {
            #expect(ids.contains(link.prefix { $0 != "\"" }))
        }
        return try section(page)
    }

    /// A bench of its own, whose pictures may go and whose questions may change.
    private func copyOfBench() throws -> String {
        let path = folder.path + "/bench"
        try FileManager.default.copyItem(atPath: LensFixture.bench, toPath: path)
        return path
    }

    @Test(arguments: ["llava-next/hub-f16", "instructblip/new-f16"])
    func showsWhatTheStudyHolds(_ name: String) throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let model = try LensFixture.model(name, in: folder)
        let study = try study("a.sqlite", model)
        let gallery = try gallery(
            study, [], .init(model: model, bench: LensFixture.bench, limit: 50 << 20))
        #expect(gallery.leftOut == 0 && gallery.problems.isEmpty)
        #expect(gallery.hasMoments)
        var cuts = 0
        var words = 0
        for (number, module) in model.modules.enumerated() {
            let found = try #require(try study.identification(module: module.name))
            let cards = try NeuronCards(study, module: module.name, set: .usual)
            for domain in [Domain.rs, .com] {
                let shown = gallery.neurons.filter {
                    $0.domain == domain && $0.card.module == module.name
                }
                // Neurons of the set that fire most often in this domain, by their rank.
                let set = cards.set(domains: [domain]).filter { layer, neuron in
                    let both = found.neurons.allSatisfy { $0[layer].contains(neuron) }
                    guard both, let card = try? cards.card(layer: layer, neuron: neuron) else {
                        return true
                    }
                    let p = Dictionary(
                        uniqueKeysWithValues: card.domains.map { ($0.domain, $0.probability) })
                    let (own, other) = (p[domain] ?? 0, p[domain == .rs ? .com : .rs] ?? 0)
                    return own > other || (own == other && domain == .rs)
                }
                let expected = set.prefix(ReportGallery.neuronsEach)
                #expect(
                    shown.map { [$0.card.layer, $0.card.neuron] }
                        == expected.map { [$0.layer, $0.neuron] })
                let pass = try #require(try study.pass(domain: domain, split: "train"))
                let places = MomentPlaces(
                    study, model: model, bench: LensFixture.bench, split: "train",
                    allowsOutside: false)
                for neuron in shown {
                    let card = neuron.card
                    let held = try #require(
                        try study.moments(pass, module: number, layer: card.layer))
                    let ranks = stride(
                        from: card.neuron, to: held.neurons * held.keep, by: held.neurons)
                    #expect(
                        neuron.moments.map(\.moment.value) == ranks.map { held.activations[$0] })
                    #expect(
                        neuron.moments.map(\.moment.sample)
                            == ranks.map { Int(held.samples[$0]) })
                    #expect(
                        neuron.moments.map(\.moment.token) == ranks.map { Int(held.places[$0]) })
                    let pictured = Set(
                        neuron.moments.filter { $0.picture != nil }.map(\.moment.sample))
                    #expect(pictured.count <= ReportGallery.picturesEach)
                    for moment in neuron.moments {
                        guard moment.question != nil else { continue }
                        let sample = try #require(
                            try places.sample(domain, position: moment.moment.sample))
                        let token = moment.moment.token
                        #expect(moment.question == sample.sample.question)
                        #expect(
                            moment.place
                                == sample.tokens?.place(module: module.name, token: token))
                        #expect(
                            moment.patch == sample.tokens?.box(module: module.name, token: token))
                        if moment.place?.word != nil {
                            words += 1
                            #expect(moment.picture == nil && moment.cut == nil)
                            continue
                        }
                        guard let picture = moment.picture else { continue }
                        try check(gallery, picture, moment, of: sample.sample)
                        if moment.cut != nil { cuts += 1 }
                        #expect((moment.cut == nil) == (moment.patch == nil))
                    }
                    let isDecoder = module == model.decoderModule
                    let written =
                        try isDecoder
                        ? model.words(
                            of: [.init(layer: card.layer, neuron: card.neuron)],
                            top: ReportGallery.wordsEach
                        ).first : nil
                    #expect(neuron.raised?.map(\.id) == written?.raised.map(\.id))
                    #expect(neuron.lowered?.map(\.id) == written?.lowered.map(\.id))
                }
            }
        }
        #expect(cuts > 3)
        #expect(words > 0 || name.hasPrefix("llava"))
    }

    /// A picture is the sample's, and the patch that is cut out is in it where it is said to be.
    private func check(
        _ gallery: ReportGallery, _ number: Int, _ moment: ReportGallery.Moment,
        of sample: BenchSample
    ) throws {
        func decoded(_ number: Int) throws -> RGBImage {
            let picture = gallery.pictures[number]
            let image = try picture.data.withUnsafeBytes {
                try RGBImage.decode(bytes: $0, name: "gallery")
            }
            #expect(image.width == picture.width && image.height == picture.height)
            return image
        }
        func mean(_ image: RGBImage, _ box: PictureBox) -> [Double] {
            let columns =
                Int(
                    box.x * Double(image.width))..<Int(
                    ((box.x + box.width) * Double(image.width)).rounded(.up))
            let rows =
                Int(
                    box.y * Double(image.height))..<Int(
                    ((box.y + box.height) * Double(image.height)).rounded(.up))
            let part = image.part(
                rows: rows.clamped(to: 0..<image.height),
                columns: columns.clamped(to: 0..<image.width))
            return (0..<3).map { color in
                let values = stride(from: color, to: part.pixels.count, by: 3)
                    .map { Double(part.pixels[$0]) }
                return values.reduce(0, +) / Double(values.count)
            }
        }
        let whole = try sample.picture()
        let small = try decoded(number)
        #expect(max(small.width, small.height) <= 192)
        let all = try #require(PictureBox(left: 0, top: 0, right: 1, bottom: 1))
        #expect(zip(mean(whole, all), mean(small, all)).allSatisfy { abs($0 - $1) < 6 })
        guard let cut = moment.cut, let patch = moment.patch else { return }
        let piece = try decoded(cut.picture)
        #expect(max(piece.width, piece.height) == 96)
        // Of a patch of some pixels: where it ends is a matter of roundings.
        guard patch.width * Double(whole.width) >= 6, patch.height * Double(whole.height) >= 6
        else { return }
        let (given, shown) = (mean(whole, patch), mean(piece, cut.patch))
        #expect(zip(given, shown).allSatisfy { abs($0 - $1) < 40 }, "\(given) \(shown)")
    }

    @Test func staysWithinItsSize() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let model = try LensFixture.model(in: folder)
        let study = try study("a.sqlite", model)
        let other = try self.study(
            "b.sqlite", LensFixture.model("llava-next/hub-f16", .q4_0, in: folder))
        let whole = try gallery(
            study, [other], .init(model: model, bench: LensFixture.bench, limit: 50 << 20))
        var counts: [Int] = []
        for limit in [30_000, 100_000, 200_000, 400_000, 50 << 20] {
            let sources = GallerySources(model: model, bench: LensFixture.bench, limit: limit)
            let some = try gallery(study, [other], sources)
            #expect(some.neurons.count + some.leftOut == whole.neurons.count)
            #expect(try page(study, [other], sources).utf8.count <= limit)
            // Every picture is shown by somebody.
            let shown = Set(
                some.neurons.flatMap(\.moments).flatMap {
                    [$0.picture, $0.cut?.picture].compactMap { $0 }
                })
            #expect(shown == Set(some.pictures.indices))
            counts.append(some.neurons.count)
        }
        #expect(counts == counts.sorted() && Set(counts).count >= 4, "\(counts)")
        #expect(counts.last == whole.neurons.count)
        let none = try ReportDocument(study, gallery: .init(limit: 0))
        #expect(none.gallery == nil)
        #expect(
            String(decoding: try ReportPage(none).html(), as: UTF8.self).contains(
                "--gallery-size 0"))
    }

    @Test func showsOtherStudiesBeside() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let model = try LensFixture.model(in: folder)
        let study = try study("a.sqlite", model)
        let small = try LensFixture.model("llava-next/hub-f16", .q4_0, in: folder)
        let others = [
            try self.study("b.sqlite", small), try self.study("c.sqlite", model),
            try Study(path: folder.path + "/empty.sqlite", access: .writing),
        ]
        let gallery = try gallery(study, others)
        #expect(gallery.studies == ["a.sqlite", "b.sqlite", "c.sqlite", "empty.sqlite"])
        for neuron in gallery.neurons {
            let card = neuron.card
            #expect(neuron.others.count == 3 && neuron.others[2] == nil)
            for (other, study) in zip(neuron.others, others.prefix(2)) {
                let cards = try NeuronCards(study, module: card.module, set: .usual)
                let same = try cards.card(layer: card.layer, neuron: card.neuron)
                let found = try #require(other)
                #expect(found.card.domains.map(\.histogram) == same.domains.map(\.histogram))
                #expect(found.card.domains.map(\.probability) == same.domains.map(\.probability))
                let theirs = same.domains.first { $0.domain == neuron.domain }?.moments ?? []
                let both = neuron.moments.filter { moment in
                    theirs.contains {
                        $0.sample == moment.moment.sample && $0.token == moment.moment.token
                    }
                }
                #expect(found.shared == both.count)
            }
            // The same model again.
            #expect(neuron.others[1]?.shared == neuron.moments.count)
        }
        #expect(
            gallery.neurons.contains { ($0.others[0]?.shared ?? 0) < $0.moments.count })
        let page = try page(study, Array(others.prefix(2)))
        #expect(page.contains("8 of 8 strongest the same"))
        #expect(page.contains("class=\"outline o0\"") && page.contains("class=\"outline o1\""))
    }

    @Test func saysWhatItLacks() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let model = try LensFixture.model(in: folder)
        let bench = try copyOfBench()
        let study = try study("a.sqlite", model, bench: bench)
        let alone = try page(study)
        #expect(alone.contains("not shown without their bench"))
        #expect(alone.contains("strongest: ") && !alone.contains("<image"))
        let unframed = try page(study, [], .init(bench: bench))
        #expect(unframed.contains("<image") && unframed.contains("patches are not framed"))
        #expect(!unframed.contains("class=\"patch"))
        let framed = try page(study, [], .init(model: model, bench: bench))
        #expect(framed.contains("class=\"patch over\"") && !framed.contains("class=\"missing\""))

        // Pictures that are not there any more; those of the other domain still are.
        let pictures = bench + "/rs/Data"
        for name in try FileManager.default.contentsOfDirectory(atPath: pictures) {
            try FileManager.default.removeItem(atPath: pictures + "/" + name)
        }
        let gone = try gallery(study, [], .init(model: model, bench: bench))
        for neuron in gone.neurons {
            let shown = neuron.moments.contains { $0.picture != nil || $0.place?.word != nil }
            #expect(shown == (neuron.domain == .com))
            #expect(!neuron.moments.isEmpty)
        }
        #expect(gone.problems.count == 1 && gone.problems[0].contains("not there any more"))
        let left = try page(study, [], .init(model: model, bench: bench))
        #expect(left.contains("not there any more") && left.contains("strongest: "))

        // A picture that is none, and other annotations.
        let everyday = bench + "/vqav2/train2014"
        for name in try FileManager.default.contentsOfDirectory(atPath: everyday) {
            try Data("no picture".utf8).write(to: URL(fileURLWithPath: everyday + "/" + name))
        }
        let questions = bench + "/rs/USGS_split_train_questions.json"
        var text = try String(contentsOfFile: questions, encoding: .utf8)
        text += "\n"
        try text.write(toFile: questions, atomically: true, encoding: .utf8)
        let broken = try gallery(study, [], .init(model: model, bench: bench))
        #expect(broken.pictures.isEmpty)
        #expect(broken.neurons.count == gone.neurons.count)
        #expect(broken.problems.contains { $0.contains("other annotations") })
        #expect(broken.problems.contains { $0.contains("train2014") }, "\(broken.problems)")
        _ = try page(study, [], .init(model: model, bench: bench))
    }

    @Test func worksWithoutMoments() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let model = try LensFixture.model(in: folder)
        let study = try study("a.sqlite", model, keepTop: 0)
        let gallery = try gallery(study, [], .init(model: model, bench: LensFixture.bench))
        #expect(!gallery.hasMoments && !gallery.neurons.isEmpty && gallery.pictures.isEmpty)
        let page = try page(study, [], .init(model: model, bench: LensFixture.bench))
        #expect(page.contains("were not kept") && page.contains("<b>writes</b>"))
        #expect(page.contains("class=\"f-c2\"") || page.contains("f-c"))

        // Nothing was looked for.
        let counted = try Study(path: folder.path + "/b.sqlite", access: .writing)
        let counting = try CountingPlan(
            study: counted, model: model, bench: LensFixture.bench, goal: .samples(1))
        _ = try ResumableRun(counting.step(.rs)).run()
        #expect(try self.page(counted).contains("No neuron sets yet"))
    }

    /// Questions and words are texts of other people.
    @Test func textsFromOutsideStayTexts() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let model = try LensFixture.model(in: folder)
        let bench = try copyOfBench()
        let nasty = ReportPageTests.nasty.joined(separator: " ")
        for file in [
            "rs/USGS_split_train_questions.json",
            "vqav2/v2_OpenEnded_mscoco_train2014_questions.json",
        ] {
            let url = URL(fileURLWithPath: bench + "/" + file)
            var document = try #require(
                try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
            let questions = try #require(document["questions"] as? [[String: Any]])
            document["questions"] = questions.map { question in
                var question = question
                if question["question"] != nil { question["question"] = nasty }
                return question
            }
            try JSONSerialization.data(withJSONObject: document).write(to: url)
        }
        let study = try study("\"><script>&.sqlite", model, bench: bench)
        let sources = GallerySources(model: model, bench: bench, limit: 300_000)
        let page = try page(study, [study], sources)
        #expect(page.utf8.count <= 300_000)
        #expect(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"))
        for wrong in ["<script", "<img", "<!--", "\u{202E}", "\u{2028}", "\u{1B}"] {
            #expect(!page.contains(wrong), "\(wrong)")
        }
    }

    @Test func wordsAsTheyAreRead() {
        #expect(ReportPage.text(["▁the", "▁run", "way", "<0x0A>", "?"]) == " the runway⏎?")
        #expect(ReportPage.text(["what", "is", "paint", "##ed"]) == " what is painted")
        #expect(ReportPage.text([]) == "")
    }
}
