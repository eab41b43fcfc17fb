import Foundation
import MMQBase
import MMQModels

/// What differs between two studies over the same samples: int8 or int4 against fp16, say.
///
/// Only what both hold, over the same samples, is compared; `notes` says what was left out and why.
public struct StudyComparison: Sendable, Codable {
    /// How activation probabilities (count / tokens) of one layer changed in one domain.
    public struct Activation: Sendable, Equatable, Codable {
        /// The domain.
        public let domain: Domain
        /// The module.
        public let module: String
        /// The layer.
        public let layer: Int
        /// Mean of |difference| over the layer's neurons.
        public let meanChange: Double
        /// Greatest |difference|.
        public let greatestChange: Double
    }

    /// How a domain's neuron sets overlap.
    public struct NeuronSets: Sendable, Equatable, Codable {
        /// The module.
        public let module: String
        /// The domain.
        public let domain: Domain
        /// Neurons in the first study.
        public let first: Int
        /// Neurons in the second.
        public let second: Int
        /// Neurons in both.
        public let common: Int
        /// common / either; nil where both sets are empty.
        public let jaccard: Double?
    }

    /// How the lens differs at one layer.
    public struct Lens: Sendable, Equatable, Codable {
        /// The domain.
        public let domain: Domain
        /// The mask setting.
        public let setting: String
        /// Samples that both studies hold.
        public let samples: Int
        /// The layer.
        public let layer: Int
        /// The share of image positions with the same most probable token.
        public let imageAgreement: Double?
        /// The share of all other positions with the same most probable token.
        public let textAgreement: Double?
        /// Mean entropy over all positions, second study less first.
        public let entropyChange: Double
        /// Mean KL to the study's own last layer, second study less first. (KL between the two
        /// studies takes both models: `ModelComparison`.)
        public let divergenceChange: Double
    }

    /// How answers differ.
    public struct Answers: Sendable, Equatable, Codable {
        /// The domain.
        public let domain: Domain
        /// The split.
        public let split: String
        /// The mask setting.
        public let setting: String
        /// Samples that both studies answered.
        public let samples: Int
        /// Equal answers among them, to the letter.
        public let equal: Int
        /// The share of equal answers.
        public let agreement: Double
        /// Its 95 % interval (Wilson's score interval).
        public let interval: Interval
    }

    /// How a score differs.
    public struct ScoreChange: Sendable, Equatable, Codable {
        /// The domain.
        public let domain: Domain
        /// The split.
        public let split: String
        /// The mask setting.
        public let setting: String
        /// Which form of the score.
        public let form: MetricForm
        /// The rule's name.
        public let metric: String
        /// The first study's score over the samples that both answered.
        public let first: Double
        /// The second study's.
        public let second: Double
        /// Second less first over those samples, with its interval and a paired test.
        public let change: Change
    }

    /// Per domain, module and layer.
    public let activation: [Activation]
    /// Per module and domain.
    public let neurons: [NeuronSets]
    /// Per domain, setting and layer.
    public let lens: [Lens]
    /// Per domain and setting.
    public let answers: [Answers]
    /// Per domain, setting, form and rule.
    public let scores: [ScoreChange]
    /// What was not compared, and why.
    public let notes: [String]

    /// Compares `second` with `first`.
    ///
    /// - Parameters:
    ///   - split: the split of counts and lens; answers of every split are compared.
    ///   - set: the name that the neuron sets were found under, in both studies.
    ///   - judge: scores driving answers.
    /// - Throws: `InputError`, `.mismatch` if the models have other modules, or if there is nothing
    ///   that both studies hold over the same samples.
    public init(
        _ first: Study, _ second: Study, split: String = "train", set: SetName = .usual,
        judge: (any AnswerJudge)? = nil
    ) throws {
        let modules = try first.modules()
        let others = try second.modules()
        guard !modules.isEmpty, Set(modules) == Set(others) else {
            throw InputError(
                .mismatch, file: second.path,
                "its modules are not those of \(first.path); only studies of one architecture and "
                    + "size compare")
        }
        for study in [first, second] { try study.checkSet(set) }
        var notes: [String] = []
        activation = try Self.activation(first, second, split, &notes)
        neurons = try Self.neurons(first, second, split, set, modules, &notes)
        lens = try Self.lens(first, second, split, &notes)
        (answers, scores) = try Self.answers(first, second, judge, &notes)
        self.notes = notes
        guard !activation.isEmpty || !neurons.isEmpty || !lens.isEmpty || !answers.isEmpty else {
            throw InputError(
                .mismatch, file: second.path,
                "nothing to compare with \(first.path)"
                    + (notes.isEmpty ? "" : ": " + notes.joined(separator: "; ")))
        }
    }

    private static func activation(
        _ first: Study, _ second: Study, _ split: String, _ notes: inout [String]
    ) throws -> [Activation] {
        var entries: [Activation] = []
        let passes = try first.passes().filter { $0.split == split && $0.form == .simple }
        for pass in passes {
            guard let other = try second.pass(domain: pass.domain, split: split) else {
                notes.append("\(pass.domain.rawValue): counts in one study only")
                continue
            }
            // Imported counts say nothing of annotations; equal token numbers must do.
            let known = ![pass.bench, other.bench].contains(PassState.imported)
            guard !known || (pass.bench == other.bench && pass.cursor == other.cursor) else {
                notes.append("\(pass.domain.rawValue): counted over different samples")
                continue
            }
            let theirs = try second.counts(domain: pass.domain, split: split)
            for mine in try first.counts(domain: pass.domain, split: split) {
                let shape = mine.shape
                guard let their = theirs.first(where: { $0.shape == shape }) else { continue }
                guard mine.tokens == their.tokens, mine.tokens > 0 else {
                    notes.append(
                        "\(pass.domain.rawValue) \(shape.name): \(mine.tokens) tokens in one "
                            + "study, \(their.tokens) in the other")
                    continue
                }
                let tokens = Double(mine.tokens)
                for layer in 0..<shape.layers {
                    var sum = 0.0
                    var greatest = 0.0
                    for i in layer * shape.neurons..<(layer + 1) * shape.neurons {
                        let change = abs(Double(mine.counts[i] - their.counts[i])) / tokens
                        sum += change
                        greatest = max(greatest, change)
                    }
                    entries.append(
                        Activation(
                            domain: pass.domain, module: shape.name, layer: layer,
                            meanChange: sum / Double(max(1, shape.neurons)),
                            greatestChange: greatest))
                }
            }
        }
        return entries
    }

    private static func neurons(
        _ first: Study, _ second: Study, _ split: String, _ set: SetName, _ modules: [ModuleShape],
        _ notes: inout [String]
    ) throws -> [NeuronSets] {
        var entries: [NeuronSets] = []
        for module in modules {
            guard let mine = try first.identification(module: module.name, set: set),
                let their = try second.identification(module: module.name, set: set),
                mine.split == split, their.split == split
            else { continue }
            if mine.settings != their.settings || mine.domains != their.domains {
                notes.append(
                    "\(module.name): neurons were identified with different rates or domains")
            }
            for domain in mine.domains {
                guard let a = mine.neurons(of: domain), let b = their.neurons(of: domain) else {
                    continue
                }
                let common = zip(a, b).reduce(0) { $0 + Set($1.0).intersection($1.1).count }
                let sizes = [a, b].map { $0.reduce(0) { $0 + $1.count } }
                entries.append(
                    NeuronSets(
                        module: module.name, domain: domain, first: sizes[0], second: sizes[1],
                        common: common,
                        jaccard: ModuleNeurons.jaccard(sizes[0], sizes[1], common: common)))
            }
        }
        return entries
    }

    private static func lens(
        _ first: Study, _ second: Study, _ split: String, _ notes: inout [String]
    ) throws -> [Lens] {
        var entries: [Lens] = []
        for pass in try first.lensPasses(.lens) where pass.split == split {
            let what = "\(pass.domain.rawValue) lens, \(pass.setting)"
            guard
                let other = try second.lensPass(
                    .lens, domain: pass.domain, split: split, setting: pass.setting)
            else {
                notes.append("\(what): in one study only")
                continue
            }
            guard pass.bench == other.bench else {
                notes.append("\(what): over different annotations")
                continue
            }
            guard pass.lensWords == other.lensWords else {
                notes.append("\(what): over \(pass.lensWords) and \(other.lensWords)")
                continue
            }
            if pass.options != other.options { notes.append("\(what): different neurons off") }
            var total = LensTotals()
            for place in try first.lensPlaces(pass) {
                guard let mine = try first.lensSample(pass, place: place),
                    let their = try second.lensSample(other, place: place)
                else { continue }
                guard mine.isImage == their.isImage, mine.best.count == their.best.count else {
                    notes.append("\(what): sample \(place) has other tokens in the other study")
                    continue
                }
                total.add(mine, their)
            }
            entries += total.layers(domain: pass.domain, setting: pass.setting)
        }
        return entries
    }

    /// Answers of both studies, by their place in the bench.
    private static func answers(
        _ first: Study, _ second: Study, _ judge: (any AnswerJudge)?, _ notes: inout [String]
    ) throws -> ([Answers], [ScoreChange]) {
        var agreements: [Answers] = []
        var scores: [ScoreChange] = []
        var missing: [(what: String, domains: [String])] = []
        for set in try first.answerSets() {
            let what = "\(set.domain.rawValue) answers, \(set.split), \(set.setting)"
            guard
                let other = try second.answerSet(
                    domain: set.domain, split: set.split, setting: set.setting)
            else {
                let what = "answers, \(set.split), \(set.setting)"
                if let place = missing.firstIndex(where: { $0.what == what }) {
                    missing[place].domains.append(set.domain.rawValue)
                } else {
                    missing.append((what, [set.domain.rawValue]))
                }
                continue
            }
            // Imported answers say nothing of annotations; the ground truths must do.
            let known = ![set.bench, other.bench].contains(PassState.imported)
            guard !known || set.bench == other.bench else {
                notes.append("\(what): over different annotations")
                continue
            }
            if set.options != other.options { notes.append("\(what): different options") }
            let mine = try first.answers(
                domain: set.domain, split: set.split, setting: set.setting)
            // An index may come more than once in imported files: its first answers are a pair, then
            // its second ones.
            let theirs = try Dictionary(
                grouping: second.answers(
                    domain: set.domain, split: set.split, setting: set.setting), by: \.index)
            var seen: [Int: Int] = [:]
            let pairs = mine.compactMap { a -> (StoredAnswer, StoredAnswer)? in
                let place = seen[a.index, default: 0]
                seen[a.index] = place + 1
                guard a.text != nil, let same = theirs[a.index], same.indices.contains(place),
                    same[place].text != nil, a.groundTruth == same[place].groundTruth
                else { return nil }
                return (a, same[place])
            }
            guard !pairs.isEmpty else {
                notes.append("\(what): no sample answered in both studies")
                continue
            }
            agreements.append(
                Answers(
                    domain: set.domain, split: set.split, setting: set.setting,
                    texts: pairs.map { ($0.text ?? "", $1.text ?? "") }))
            do {
                scores += try change(set, pairs, judge, first.path, second.path)
            } catch let error as InputError where error.code == .badInput {
                // Imported ground truths may not have the form that scoring takes.
                notes.append("\(what): not scored: \(error)")
            }
        }
        notes += missing.map {
            "\($0.what): in one study only (\($0.domains.joined(separator: ", ")))"
        }
        return (agreements, scores)
    }

    private static func change(
        _ set: AnswerSet, _ pairs: [(StoredAnswer, StoredAnswer)], _ judge: (any AnswerJudge)?,
        _ firstPath: String, _ secondPath: String
    ) throws -> [ScoreChange] {
        func scored(_ answer: StoredAnswer, _ path: String) -> ScoredAnswer {
            ScoredAnswer(
                domain: set.domain, index: answer.index, setting: set.setting,
                question: answer.question, groundTruth: answer.groundTruth,
                answer: answer.text ?? "", attributes: answer.attributes, choices: answer.choices,
                source: path)
        }
        return try changes(
            from: pairs.map { scored($0.0, firstPath) }, to: pairs.map { scored($0.1, secondPath) },
            domain: set.domain, split: set.split, setting: set.setting, judge: judge)
    }

    /// Scores two models' answers to the same samples as if they were two settings of one.
    static func changes(
        from first: [ScoredAnswer], to second: [ScoredAnswer], domain: Domain, split: String,
        setting: String, judge: (any AnswerJudge)?
    ) throws -> [ScoreChange] {
        func renamed(_ answers: [ScoredAnswer], _ name: String) -> [ScoredAnswer] {
            answers.map {
                var answer = $0
                answer.setting = name
                return answer
            }
        }
        let scores = try Evaluator(judge: judge, baseline: "first").scores(
            of: renamed(first, "first") + renamed(second, "second"))
        return scores.compactMap { score in
            let base = scores.first {
                $0.setting == "first" && $0.form == score.form && $0.metric == score.metric
            }
            guard let change = score.change, let first = base?.score, let second = score.score
            else { return nil }
            return ScoreChange(
                domain: domain, split: split, setting: setting, form: score.form,
                metric: score.metric, first: first.value, second: second.value, change: change)
        }
    }

    /// Wilson's 95 % score interval of `hits` out of `count`.
    static func wilson(_ hits: Int, of count: Int) -> Interval {
        let n = Double(count)
        let z = 1.959963984540054
        let share = Double(hits) / n
        let middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        let half =
            z * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot() / (1 + z * z / n)
        return Interval(low: max(0, middle - half), high: min(1, middle + half))
    }
}

/// Sums over the samples of a lens comparison.
private struct LensTotals {
    private var samples = 0
    private var positions = [0, 0]
    /// [layers]: agreeing positions, image and text.
    private var agreeing: [[Int]] = []
    private var entropy: [Double] = []
    private var divergence: [Double] = []

    mutating func add(_ mine: LensSample, _ their: LensSample) {
        let layers = mine.sums.count / 2
        let count = mine.isImage.count
        if samples == 0 {
            agreeing = Array(repeating: [0, 0], count: layers)
            entropy = Array(repeating: 0, count: layers)
            divergence = Array(repeating: 0, count: layers)
        }
        guard layers == agreeing.count else { return }
        samples += 1
        for isImage in mine.isImage { positions[isImage ? 0 : 1] += 1 }
        for layer in 0..<layers {
            for position in 0..<count {
                let i = layer * count + position
                if mine.best[i] == their.best[i] {
                    agreeing[layer][mine.isImage[position] ? 0 : 1] += 1
                }
            }
            for kind in 0..<2 {
                let i = layer * 2 + kind
                entropy[layer] += their.sums[i].entropy - mine.sums[i].entropy
                divergence[layer] += their.sums[i].divergence - mine.sums[i].divergence
            }
        }
    }

    func layers(domain: Domain, setting: String) -> [StudyComparison.Lens] {
        let all = Double(max(1, positions[0] + positions[1]))
        func share(_ count: Int, _ of: Int) -> Double? {
            of > 0 ? Double(count) / Double(of) : nil
        }
        return agreeing.indices.map { layer in
            .init(
                domain: domain, setting: setting, samples: samples, layer: layer,
                imageAgreement: share(agreeing[layer][0], positions[0]),
                textAgreement: share(agreeing[layer][1], positions[1]),
                entropyChange: entropy[layer] / all, divergenceChange: divergence[layer] / all)
        }
    }
}

extension StudyComparison.Answers {
    /// How many texts of two are equal.
    init(domain: Domain, split: String, setting: String, texts: [(String, String)]) {
        // To the letter: Swift's == would call two spellings of an accent equal.
        let equal = texts.count { $0.utf8.elementsEqual($1.utf8) }
        self.init(
            domain: domain, split: split, setting: setting, samples: texts.count, equal: equal,
            agreement: Double(equal) / Double(texts.count),
            interval: StudyComparison.wilson(equal, of: texts.count))
    }
}
