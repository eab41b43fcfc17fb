import Foundation
import MMQBase
import MMQImage
import MMQModels
import MMQReport
import MMQStudy

/// What the page needs of the program around it: its command line, and masks as it reads them.
public struct ExploreSurroundings: Sendable {
    /// The mask that a setting's name stands for.
    public var mask: @Sendable (_ setting: String) throws -> NeuronMask?
    /// What the kinds `mean` and `add` do in a layer; nil without a study.
    public var resolve: (@Sendable (_ module: String, _ layer: Int) throws -> LayerMask.Resolver)?
    /// The command lines that give the same answer; `picture` is what the command line calls it.
    public var commands: @Sendable (ExploreQuestion, _ picture: String) -> [String]
    /// Names of settings that the page offers, without kinds.
    public var settings: [String]
    /// Kinds that the page offers: `zero`, `mean`, ...
    public var kinds: [String]

    /// What the program says of itself.
    public init(
        mask: @escaping @Sendable (String) throws -> NeuronMask?,
        resolve: (@Sendable (String, Int) throws -> LayerMask.Resolver)?,
        commands: @escaping @Sendable (ExploreQuestion, String) -> [String],
        settings: [String], kinds: [String]
    ) {
        self.mask = mask
        self.resolve = resolve
        self.commands = commands
        self.settings = settings
        self.kinds = kinds
    }
}

/// A model that a page plays with: one question at a time, what was seen on the way kept for a while.
public final class Explorer: @unchecked Sendable {
    // The model is used by the queue's thread alone; what else changes is behind the lock.

    /// Bytes of activations that are kept whole, beside those of sets: a tiny model's all.
    private static let wholeBytes = 256 << 20
    /// Positions that a pass may have, for that.
    private static let usualPositions = 4096
    /// Words that are told for each token of an answer.
    private static let candidates = 5

    private struct Stopped: Error {}

    private let model: any VisionLanguageModel
    private let title: String
    private let sets: NeuronSets
    private let bench: BenchShelf?
    private let surroundings: ExploreSurroundings
    private let queue = ModelQueue()
    private let lock = NSLock()
    private var passes = PassShelf()
    private var counter = 0
    let pictures: PictureShelf

    /// - Parameters:
    ///   - title: what the page calls the model.
    ///   - sets: neurons of domains, if a study is open.
    ///   - bench: samples to pick, if a bench is there.
    public init(
        model: any VisionLanguageModel, title: String, sets: NeuronSets, bench: BenchShelf?,
        surroundings: ExploreSurroundings
    ) {
        self.model = model
        self.title = title
        self.sets = sets
        self.bench = bench
        self.surroundings = surroundings
        pictures = PictureShelf(bench: bench)
    }

    // MARK: - What there is

    /// Model, modules, sets, settings, domains of the bench.
    func description() -> JSONValue {
        func texts(_ list: [String]) -> JSONValue { .array(list.map { .string($0) }) }
        let modules = model.modules.map { shape in
            JSONValue.object(
                JSONObject([
                    ("name", .string(shape.name)), ("layers", .integer(shape.layers)),
                    ("neurons", .integer(shape.neurons)),
                    ("sets", .object(JSONObject((sets.modules[shape.name] ?? []).map(Self.told)))),
                ]))
        }
        return .object(
            JSONObject([
                ("model", .string(title)),
                ("architecture", .string(model.architecture.title)),
                ("fingerprint", .string(model.fingerprint)),
                ("decoder", .string(model.decoderModule.name)),
                ("modules", .array(modules)),
                ("settings", texts(surroundings.settings)), ("kinds", texts(surroundings.kinds)),
                ("domains", texts((bench?.domains ?? []).map(\.rawValue))),
            ]))
    }

    private static func told(_ set: (domain: Domain, layers: [[Int]])) -> (String, JSONValue) {
        (
            set.domain.rawValue,
            .array(set.layers.map { .array($0.map { .integer($0) }) })
        )
    }

    /// Samples of a domain: name and question.
    func samples(domain name: String, from first: Int) throws -> JSONValue {
        guard let bench, let domain = Domain(rawValue: name), bench.domains.contains(domain) else {
            throw InputError(
                .mismatch, file: "request", item: quoted(name), "the bench has no such domain")
        }
        let found = try bench.samples(of: domain, from: first, count: 24)
        return .array(
            zip(found.indices, found).map { place, sample in
                .object(
                    JSONObject([
                        ("picture", .string("\(domain.rawValue)-\(place)")),
                        ("question", .string(sample.question)),
                        ("answer", .string(sample.answerText)),
                    ]))
            })
    }

    /// Takes a picture's bytes; says what it is called, and how large it is.
    func take(_ bytes: [UInt8], name: String) throws -> JSONValue {
        let (id, image) = try pictures.take(bytes, name: name)
        return .object(
            JSONObject([
                ("picture", .string(id)), ("width", .integer(image.width)),
                ("height", .integer(image.height)),
            ]))
    }

    // MARK: - Passes

    /// A neuron over a pass; nil if it was not kept.
    func neuron(_ neuron: Int, layer: Int, module name: String, pass id: String) throws
        -> JSONValue?
    {
        let (pass, module) = try find(id, name)
        guard (0..<model.modules[module].layers).contains(layer) else {
            throw InputError(.mismatch, file: "request", item: "layer \(layer)", "no such layer")
        }
        return pass.neuron(
            neuron, layer: layer, module: module,
            isDecoder: model.modules[module].name == model.decoderModule.name)
    }

    /// The sets' neurons that fire most at a position.
    func firing(at position: Int, module name: String, pass id: String) throws -> JSONValue {
        let (pass, module) = try find(id, name)
        return pass.firing(at: position, module: module, name: name, sets: sets)
    }

    private func find(_ id: String, _ name: String) throws -> (PassRecord, Int) {
        guard let module = model.modules.firstIndex(where: { $0.name == name }) else {
            throw InputError(.mismatch, file: "request", item: quoted(name), "no such module")
        }
        guard let pass = lock.withLock({ passes[id] }) else {
            throw InputError(
                .mismatch, file: "request", item: "pass \(quoted(id))",
                "not kept any more: ask again")
        }
        return (pass, module)
    }

    // MARK: - Answers

    /// Answers a question, event by event; it waits for those that were asked before.
    ///
    /// - Throws: `HTTPRequest.Fault` if too many wait.
    func ask(_ question: ExploreQuestion) throws -> EventStream {
        let stop = StopSign()
        let events = EventStream(gone: { stop.raise() })
        let job = ModelQueue.Job(stop) { [self] job in
            do {
                events.tell("started")
                try answer(question, job, events)
            } catch is Stopped {
            } catch {
                events.tell(
                    "error",
                    [
                        (
                            "message",
                            .string(error is CocoaError ? error.localizedDescription : "\(error)")
                        )
                    ])
            }
            events.finish()
        }
        let before = try queue.add(job)
        if before > 0 { events.tell("waiting", [("before", .integer(before))]) }
        return events
    }

    private func answer(
        _ question: ExploreQuestion, _ job: ModelQueue.Job, _ events: EventStream
    ) throws {
        let picture = try pictures.picture(question.picture)
        let mask = try mask(question.mask)
        let prompt = question.isRaw ? question.prompt : try model.prompt(question.prompt)
        let keeper = try Keeper(model.modules, sets: sets, whole: wholeSites(question))
        var input: PreparedInput?
        var states: HiddenStates?
        let answer = try model.generate(
            image: picture.image, prompt: prompt,
            options: GenerationOptions(
                maxTokens: question.maxTokens, candidates: Self.candidates),
            mask: mask, tap: keeper.tap(), keeping: question.wantsLens ? .block : nil
        ) { step in
            if job.mustStop { throw Stopped() }
            switch step {
            case .prepared(let prepared):
                input = prepared
                events.tell("prepared", [("tokens", .integer(prepared.inputIDs.count))])
            case .seen: events.tell("seen")
            case .layer(let layer):
                events.tell(
                    "layer",
                    [("layer", .integer(layer)), ("of", .integer(model.decoderModule.layers))])
            case .kept(let kept): states = kept
            case .candidates(let list):
                events.tell("candidates", [("words", .array(list.map(told)))])
            case .token(let id, let text):
                events.tell(
                    "token",
                    [("word", .string(word(id))), ("text", .string(text))])
            }
        }
        guard let input else { return }
        let rows = model.modules.indices.map { model.tokenRows(of: $0, in: input) }
        let pass = PassRecord(
            id: lock.withLock {
                counter += 1
                return String(counter)
            },
            words: (input.inputIDs + answer.tokens).map(word),
            isImage: model.imagePositions(input),
            grids: rows.indices.map {
                model.grids(
                    of: $0, rows: rows[$0], width: picture.image.width,
                    height: picture.image.height)
            },
            activations: keeper.kept)
        lock.withLock { passes.put(pass) }
        events.tell("done", told(pass, answer, question, picture))
        if let states {
            events.tell("lens", try lens(of: states, input, picture, prompt, job))
        }
    }

    private func told(_ candidate: TokenCandidate) -> JSONValue {
        .object(
            JSONObject([
                ("word", .string(word(candidate.id))),
                ("probability", .number(candidate.probability)),
            ]))
    }

    private func told(
        _ pass: PassRecord, _ answer: GeneratedAnswer, _ question: ExploreQuestion,
        _ picture: PictureShelf.Picture
    ) -> [(String, JSONValue)] {
        let image = pass.isImage.indices.filter { pass.isImage[$0] }
        let decoder = model.modules.firstIndex(of: model.decoderModule)
        return [
            ("pass", .string(pass.id)), ("text", .string(answer.text)),
            ("words", .array(pass.words.map { .string($0) })),
            ("prompt_tokens", .integer(answer.promptTokens)),
            ("image", .array(image.map { .integer($0) })),
            ("grids", decoder.map { PassRecord.json(pass.grids[$0]) } ?? .null),
            (
                "seconds",
                .number(answer.visionSeconds + answer.prefillSeconds + answer.decodeSeconds)
            ),
            (
                "commands",
                .array(surroundings.commands(question, picture.path).map { .string($0) })
            ),
        ]
    }

    private func lens(
        of states: HiddenStates, _ input: PreparedInput, _ picture: PictureShelf.Picture,
        _ prompt: String, _ job: ModelQueue.Job
    ) throws -> [(String, JSONValue)] {
        let reading = try model.lens(of: states, input, options: LensOptions(top: Self.candidates))
        {
            _ in if job.mustStop { throw Stopped() }
        }
        let lens = PictureLens(
            reading, of: picture.image, prompt: prompt, model: model, name: "lens")
        return [("lens", lens.json)]
    }

    /// A token as the vocabulary spells it.
    private func word(_ id: Int32) -> String {
        guard let piece = model.tokenizer.piece(id), !piece.isEmpty else { return "#\(id)" }
        return String(decoding: piece, as: UTF8.self)
    }

    private func mask(_ mask: ExploreQuestion.Mask?) throws -> NeuronMask? {
        guard let mask else { return nil }
        if case .setting(let name) = mask { return try surroundings.mask(name) }
        guard let document = try mask.document(model.modules) else { return nil }
        return try NeuronMask(
            document: document, modules: model.modules, file: "mask",
            resolve: surroundings.resolve)
    }

    /// The layers that are kept whole: all of a small model's, else those that are asked for.
    private func wholeSites(_ question: ExploreQuestion) throws -> [ActivationSite] {
        let neurons = model.modules.reduce(0) { $0 + $1.layers * $1.neurons }
        let isSmall = neurons * 4 * Self.usualPositions <= Self.wholeBytes
        return try ActivationSite.sites(isSmall ? ["mlp"] : question.keep, of: model.modules)
    }

    /// Takes activations while a pass runs.
    private final class Keeper {
        private(set) var kept: KeptActivations

        init(_ modules: [ModuleShape], sets: NeuronSets, whole: [ActivationSite]) throws {
            kept = KeptActivations(modules, sets: sets, whole: whole)
        }

        func tap() -> ActivationTap? {
            guard kept.wanted.contains(where: { $0.contains(true) }) else { return nil }
            return ActivationTap(wanted: kept.wanted) { [unowned self] module, layer, rows in
                kept.append(rows, module: module, layer: layer)
            }
        }
    }
}
