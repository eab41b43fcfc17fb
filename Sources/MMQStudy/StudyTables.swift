import MMQBase
import MMQModels

/// Writes what a study holds as long tables, one row an observation, for pandas, R and the like.
///
///     FOLDER/<model>/tables/counts.csv   domain, split, positions, module, layer, neuron, tokens, fired, sum
///     FOLDER/<model>/tables/neurons.csv  set, module, domain, layer, neuron
///     FOLDER/<model>/tables/answers.csv  domain, split, setting, position, index, question, answer, problem,
///                                        tokens, prompt_tokens, ground_truth (JSON), attributes (JSON)
///     FOLDER/<model>/tables/scores.csv   domain, setting, form, metric, kind, group, samples, value, low, high,
///                                        clusters, difference, difference_low, difference_high, pairs, p, holm
///     FOLDER/<model>/tables/lens.csv     domain, split, setting, samples, layer, positions, count, entropy,
///                                        top_probability, agreement, divergence
///
/// A table that would have no rows is not written.
public struct StudyTables {
    private let study: Study
    private let folder: String
    private let split: String
    private let answerSplit: String

    /// - Parameters:
    ///   - folder: made if it is not there.
    ///   - split: the split of counts; the lens's is written whatever its split.
    ///   - answerSplit: the split of answers and scores.
    public init(
        _ study: Study, to folder: String, model: String? = nil, split: String = "train",
        answerSplit: String = "val"
    ) throws {
        self.study = study
        self.split = split
        self.answerSplit = answerSplit
        self.folder = try StudyExport.modelFolder(study, in: folder, model: model) + "/tables"
    }

    /// Writes all tables.
    ///
    /// - Parameter evaluator: scores the answers.
    /// - Returns: the files that were written, and which domains could not be scored.
    public func write(
        evaluator: Evaluator
    ) throws -> (files: [String], problems: [(domain: Domain, error: InputError)]) {
        var files: [String] = []
        var problems: [(domain: Domain, error: InputError)] = []
        func table(
            _ name: String, _ columns: [String], _ rows: (CSVWriter) throws -> Bool
        ) throws {
            try makeFolder(folder)
            let path = "\(folder)/\(name).csv"
            let writer = try CSVWriter(path: path, columns: columns)
            do {
                guard try rows(writer) else { return writer.abandon() }
                try writer.commit()
            } catch {
                writer.abandon()
                throw error
            }
            files.append(path)
        }
        try table(
            "counts",
            [
                "domain", "split", "positions", "module", "layer", "neuron", "tokens", "fired",
                "sum",
            ], counts)
        try table("neurons", ["set", "module", "domain", "layer", "neuron"], neurons)
        try table(
            "answers",
            [
                "domain", "split", "setting", "position", "index", "question", "answer", "problem",
                "tokens", "prompt_tokens", "ground_truth", "attributes",
            ], answers)
        try table(
            "scores",
            [
                "domain", "setting", "form", "metric", "kind", "group", "samples", "value", "low",
                "high", "clusters", "difference", "difference_low", "difference_high", "pairs",
                "p", "holm",
            ]
        ) { try scores(evaluator, $0, &problems) }
        try table(
            "lens",
            [
                "domain", "split", "setting", "samples", "layer", "positions", "count", "entropy",
                "top_probability", "agreement", "divergence",
            ], lens)
        return (files, problems)
    }

    private func counts(_ table: CSVWriter) throws -> Bool {
        var isThere = false
        for pass in try study.passes() where pass.split == split && pass.form == .simple {
            for positions in Positions.allCases where positions == .all || pass.apart {
                let entries = try study.counts(
                    domain: pass.domain, split: split, positions: positions)
                for entry in entries {
                    isThere = true
                    for i in entry.counts.indices {
                        try table.add([
                            .text(pass.domain.rawValue), .text(split), .text(positions.rawValue),
                            .text(entry.shape.name), .integer(i / entry.shape.neurons),
                            .integer(i % entry.shape.neurons), .integer(Int(entry.tokens)),
                            .integer(Int(entry.counts[i])), .number(entry.sums[i]),
                        ])
                    }
                }
            }
        }
        return isThere
    }

    private func neurons(_ table: CSVWriter) throws -> Bool {
        var isThere = false
        for set in try study.setNames() {
            for module in try study.modules() {
                guard let found = try study.identification(module: module.name, set: set) else {
                    continue
                }
                for (domain, layers) in zip(found.domains, found.neurons) {
                    for (layer, neurons) in layers.enumerated() {
                        for neuron in neurons {
                            isThere = true
                            try table.add([
                                .text(set.name), .text(module.name), .text(domain.rawValue),
                                .integer(layer), .integer(neuron),
                            ])
                        }
                    }
                }
            }
        }
        return isThere
    }

    private func answers(_ table: CSVWriter) throws -> Bool {
        var isThere = false
        for set in try study.answerSets(split: answerSplit) {
            let held = try study.answers(
                domain: set.domain, split: answerSplit, setting: set.setting)
            for answer in held {
                isThere = true
                let attributes = JSONObject(
                    answer.attributes.sorted { $0.key < $1.key }
                        .map { ($0.key, JSONValue.string($0.value)) })
                try table.add([
                    .text(set.domain.rawValue), .text(answerSplit), .text(set.setting),
                    .integer(answer.position), .integer(answer.index), .text(answer.question),
                    answer.text.map { .text($0) } ?? .none,
                    answer.problem.map { .text($0) } ?? .none, .integer(answer.tokens.count),
                    .integer(answer.promptTokens), .text(answer.groundTruth.jsonLine),
                    .text(JSONValue.object(attributes).jsonLine),
                ])
            }
        }
        return isThere
    }

    private func scores(
        _ evaluator: Evaluator, _ table: CSVWriter,
        _ problems: inout [(domain: Domain, error: InputError)]
    ) throws -> Bool {
        let held = try study.scoredAnswers(split: answerSplit).answers
        guard !held.isEmpty else { return false }
        var isThere = false
        let found = try evaluator.evaluate(held)
        problems = found.problems
        for score in found.scores {
            func add(_ kind: String, _ group: String, _ mean: MeanScore, _ change: Change?) throws {
                isThere = true
                try table.add([
                    .text(score.domain.rawValue), .text(score.setting), .text(score.form.rawValue),
                    .text(score.metric), .text(kind), .text(group), .integer(mean.samples),
                    .number(mean.value), .number(mean.interval.low), .number(mean.interval.high),
                    .integer(mean.clusters), change.map { .number($0.difference) } ?? .none,
                    change.map { .number($0.interval.low) } ?? .none,
                    change.map { .number($0.interval.high) } ?? .none,
                    change.map { .integer($0.pairs) } ?? .none,
                    change.map { .number($0.p) } ?? .none,
                    change?.holm.map { .number($0) } ?? .none,
                ])
            }
            if let mean = score.score { try add("all", "", mean, score.change) }
            if let mean = score.average { try add("mean of groups", "", mean, nil) }
            for group in score.groups { try add(group.kind, group.name, group.score, nil) }
        }
        return isThere
    }

    private func lens(_ table: CSVWriter) throws -> Bool {
        var isThere = false
        for pass in try study.lensPasses(.lens) {
            let summary = try study.lensSummary(pass)
            for (number, layer) in summary.layers.enumerated() {
                for (positions, count, means) in [
                    (Positions.image, summary.imagePositions, layer.image),
                    (Positions.text, summary.textPositions, layer.text),
                ] {
                    guard let means else { continue }
                    isThere = true
                    try table.add([
                        .text(pass.domain.rawValue), .text(pass.split), .text(pass.setting),
                        .integer(pass.samples), .integer(number), .text(positions.rawValue),
                        .integer(count), .number(means.entropy), .number(means.topProbability),
                        .number(means.agreement), .number(means.divergence),
                    ])
                }
            }
        }
        return isThere
    }
}
