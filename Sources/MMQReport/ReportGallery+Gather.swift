import Foundation
import MMQBase
import MMQImage
import MMQModels
import MMQStudy

extension ReportGallery {
    /// Gathers neurons of the identified modules.
    ///
    /// - Parameters:
    ///   - others: studies whose counts of the same neurons stand beside.
    ///   - set: whose neurons.
    /// - Returns: nil if the limit is 0 or nothing was identified.
    init?(
        _ study: Study, _ others: [Study], _ modules: [ModuleNeurons], set: SetName,
        _ sources: GallerySources
    ) throws {
        let identified = modules.filter(\.isIdentified)
        guard sources.limit > 0, !identified.isEmpty else { return nil }
        limit = sources.limit
        studies = ([study] + others).map { ReportDocument.name($0.path) }
        model = sources.model?.fingerprint
        hasBench = sources.bench != nil
        var problems: [String] = []
        // [domain in a module][neuron]
        var rows: [[Neuron]] = []
        for module in identified {
            do {
                rows += try Self.rows(module, study, others, set)
            } catch let error as InputError where error.code == .mismatch {
                problems.append("\(module.module.name): \(error.problem)")
            }
        }
        // The first of every domain in every module, then the second of every one.
        let candidates = (0..<Self.neuronsEach).flatMap { place in
            rows.compactMap { $0.indices.contains(place) ? $0[place] : nil }
        }
        neurons = []
        var maker = GalleryMaker(study, sources)
        for neuron in try Self.written(candidates, sources.model) {
            guard let whole = maker.taken(neuron) else { break }
            neurons.append(whole)
        }
        leftOut = candidates.count - neurons.count
        pictures = maker.pictures
        self.problems = problems + maker.problems
    }

    /// [domain][neuron] of a module.
    private static func rows(
        _ module: ModuleNeurons, _ study: Study, _ others: [Study], _ set: SetName
    ) throws -> [[Neuron]] {
        let name = module.module.name
        let cards = try NeuronCards(study, module: name, set: set)
        let split = cards.split
        let beside = try others.map { other -> NeuronCards? in
            guard try other.modules().contains(module.module) else { return nil }
            do {
                return try NeuronCards(other, module: name, set: set, split: split)
            } catch let error as InputError where error.code == .mismatch {
                return nil
            }
        }
        return try cards.byDomain().map { domain, all in
            let places = Array(all.prefix(neuronsEach))
            let found = try cards.cards(places)
            let same = try beside.map { try $0?.cards(places) }
            return found.enumerated().map { number, card in
                let moments = card.moments(in: domain)
                return Neuron(
                    domain: domain, card: card, split: split,
                    moments: moments.map { Moment(moment: $0) },
                    others: same.map { cards in
                        cards.map {
                            Other(
                                card: $0[number],
                                shared: Self.shared(moments, $0[number].moments(in: domain)))
                        }
                    })
            }
        }
    }

    /// How many of some activations are of the sample and token of one of the others.
    private static func shared(_ some: [NeuronCard.Moment], _ others: [NeuronCard.Moment]) -> Int {
        let places = Set(others.map { [$0.sample, $0.token] })
        return some.count { places.contains([$0.sample, $0.token]) }
    }

    /// Puts the words beside neurons of the decoder, in one pass over its head.
    private static func written(
        _ neurons: [Neuron], _ model: (any VisionLanguageModel)?
    ) throws -> [Neuron] {
        guard let model else { return neurons }
        var neurons = neurons
        let own = neurons.indices.filter { neurons[$0].card.module == model.decoderModule.name }
        guard !own.isEmpty else { return neurons }
        let words = try model.words(
            of: own.map {
                DecoderNeuron(layer: neurons[$0].card.layer, neuron: neurons[$0].card.neuron)
            }, top: wordsEach)
        for (index, found) in zip(own, words) {
            neurons[index].raised = model.spelled(found.raised)
            neurons[index].lowered = model.spelled(found.lowered)
        }
        return neurons
    }
}

extension NeuronCard {
    fileprivate func moments(in domain: Domain) -> [Moment] {
        domains.first { $0.domain == domain }?.moments ?? []
    }
}

/// Adds pictures and words to neurons until a gallery is full.
private struct GalleryMaker {
    /// The longer side of a sample's picture.
    private static let side = 192
    /// The longer side of a patch that is cut out.
    private static let cutSide = 96
    /// What is shown around a patch, in patches to each side.
    private static let around = 1.0
    private static let quality = 80
    /// Words before and after one of a prompt.
    private static let reach = 12
    /// Characters of a question.
    private static let longest = 160

    private(set) var pictures: [ReportGallery.Picture] = []
    private(set) var problems: [String] = []
    private let study: Study
    private let sources: GallerySources
    /// By split.
    private var places: [String: MomentPlaces] = [:]
    /// What stands around the neurons, as the longest list of problems.
    private var bytes = 20_000
    /// The pictures of samples and of patches so far.
    private var known: [Key: Int] = [:]
    /// Domains whose bench cannot be read, or is another.
    private var closed: Set<Domain> = []

    private enum Key: Hashable {
        case sample(Domain, Int)
        case cut(Domain, Int, left: Int, top: Int, right: Int, bottom: Int)
    }

    init(_ study: Study, _ sources: GallerySources) {
        self.study = study
        self.sources = sources
    }

    private mutating func places(of split: String) -> MomentPlaces? {
        guard let bench = sources.bench else { return nil }
        if let known = places[split] { return known }
        let made = MomentPlaces(
            study, model: sources.model, bench: bench, split: split,
            allowsOutside: sources.allowsOutside)
        places[split] = made
        return made
    }

    /// The neuron with its pictures; nil if it would not fit any more.
    mutating func taken(_ neuron: ReportGallery.Neuron) -> ReportGallery.Neuron? {
        let before = self
        var neuron = neuron
        place(&neuron)
        bytes += neuron.mostBytes
        for picture in pictures[before.pictures.count...] { bytes += picture.mostBytes }
        guard bytes <= sources.limit else {
            self = before
            return nil
        }
        return neuron
    }

    private mutating func place(_ neuron: inout ReportGallery.Neuron) {
        guard let places = places(of: neuron.split) else { return }
        var shown: Set<Int> = []
        var looked: Set<Int> = []
        for index in neuron.moments.indices {
            let moment = neuron.moments[index].moment
            guard !closed.contains(neuron.domain) else { return }
            guard looked.count < ReportGallery.samplesEach || looked.contains(moment.sample)
            else { continue }
            looked.insert(moment.sample)
            do {
                guard
                    let found = try places.sample(neuron.domain, position: moment.sample)
                else {
                    lacks("a picture is not there any more")
                    continue
                }
                let isNew = shown.count < ReportGallery.picturesEach
                neuron.moments[index].question = Self.shortened(found.sample.question)
                try place(
                    &neuron.moments[index], neuron, found,
                    picture: isNew && !shown.contains(moment.sample))
                if neuron.moments[index].picture != nil { shown.insert(moment.sample) }
            } catch let error as InputError where error.code == .mismatch {
                problems.append("\(neuron.domain.rawValue): \(error.problem)")
                closed.insert(neuron.domain)
            } catch {
                lacks("\(error)")
            }
        }
    }

    private mutating func lacks(_ what: String) {
        let text = "Not shown everywhere: \(what.prefix(200))."
        if !problems.contains(text), problems.count < 8 { problems.append(text) }
    }

    private mutating func place(
        _ moment: inout ReportGallery.Moment, _ neuron: ReportGallery.Neuron,
        _ found: MomentPlaces.Sample, picture isShown: Bool
    ) throws {
        let (module, token) = (neuron.card.module, moment.moment.token)
        if let tokens = found.tokens {
            moment.place = tokens.place(module: module, token: token)
            moment.patch = tokens.box(module: module, token: token)
            if moment.place?.word != nil {
                (moment.before, moment.after) = tokens.words(
                    around: token, module: module, reach: Self.reach)
                return
            }
        }
        guard isShown else { return }
        let sample = Key.sample(neuron.domain, moment.moment.sample)
        let region = moment.patch.map(Self.surroundings)
        var picture: RGBImage?
        func decoded() throws -> RGBImage {
            if let picture { return picture }
            let decoded = try found.sample.picture()
            picture = decoded
            return decoded
        }
        if known[sample] == nil {
            known[sample] = try store(decoded(), longer: Self.side)
        }
        moment.picture = known[sample]
        guard let patch = moment.patch, let region else { return }
        let image = try decoded()
        let columns = Self.pixels(region.x, region.width, of: image.width)
        let rows = Self.pixels(region.y, region.height, of: image.height)
        let cut = Key.cut(
            neuron.domain, moment.moment.sample, left: columns.lowerBound, top: rows.lowerBound,
            right: columns.upperBound, bottom: rows.upperBound)
        if known[cut] == nil {
            known[cut] = try store(
                image.part(rows: rows, columns: columns), longer: Self.cutSide, enlarges: true)
        }
        guard let number = known[cut] else { return }
        moment.cut = PictureBox(
            patch, in: columns, of: image.width, rows, of: image.height
        ).map { ReportGallery.Cut(picture: number, patch: $0) }
    }

    /// Stores a picture made small enough.
    private mutating func store(
        _ image: RGBImage, longer side: Int, enlarges: Bool = false
    ) throws -> Int {
        let longer = max(image.width, image.height)
        var small = image
        if longer > side || enlarges {
            small = image.resizedBicubic(
                width: max(1, image.width * side / longer),
                height: max(1, image.height * side / longer))
        }
        pictures.append(
            .init(
                width: small.width, height: small.height,
                data: Data(try small.jpeg(quality: Self.quality))))
        return pictures.count - 1
    }

    /// A patch and what lies around it.
    private static func surroundings(_ patch: PictureBox) -> (
        x: Double, y: Double, width: Double, height: Double
    ) {
        let (across, down) = (patch.width * around, patch.height * around)
        let (x, y) = (max(0, patch.x - across), max(0, patch.y - down))
        return (
            x, y, min(1, patch.x + patch.width + across) - x,
            min(1, patch.y + patch.height + down) - y
        )
    }

    /// The pixels that a part of a side touches, one at least.
    private static func pixels(_ start: Double, _ length: Double, of side: Int) -> Range<Int> {
        let first = min(side - 1, max(0, Int((start * Double(side)).rounded(.down))))
        let end = min(side, Int(((start + length) * Double(side)).rounded(.up)))
        return first..<max(first + 1, end)
    }

    private static func shortened(_ question: String) -> String {
        question.count > longest ? question.prefix(longest - 1) + "…" : question
    }
}

extension PictureBox {
    /// Where a part of a picture lies in some of its columns and rows.
    fileprivate init?(
        _ box: PictureBox, in columns: Range<Int>, of width: Int, _ rows: Range<Int>,
        of height: Int
    ) {
        func left(_ value: Double) -> Double {
            (value * Double(width) - Double(columns.lowerBound)) / Double(columns.count)
        }
        func top(_ value: Double) -> Double {
            (value * Double(height) - Double(rows.lowerBound)) / Double(rows.count)
        }
        self.init(
            left: left(box.x), top: top(box.y), right: left(box.x + box.width),
            bottom: top(box.y + box.height))
    }
}

// MARK: - Sizes

extension ReportGallery.Picture {
    /// At most so many bytes of a page: base64, and the element around it.
    fileprivate var mostBytes: Int { (data.count + 2) / 3 * 4 + 160 }
}

extension ReportGallery.Neuron {
    /// At most so many bytes of a page: escaping makes six of one.
    fileprivate var mostBytes: Int {
        let words = (raised ?? []) + (lowered ?? [])
        let texts =
            words.map(\.word)
            + moments.flatMap { moment in
                [moment.question ?? "", moment.place?.word ?? ""] + moment.before + moment.after
            }
        let lines = card.domains.count + others.reduce(0) { $0 + ($1?.card.domains.count ?? 0) }
        return 3_000 + lines * 1_300 + moments.count * 900 + words.count * 80
            + texts.reduce(0) { $0 + 6 * $1.utf8.count + 40 }
    }
}
