import MMQModels

/// Neuron sets that lie side by side in a study and differ in one rate alone: how many neurons they
/// have, and what masking them does.
public struct SetSweep: Sendable, Codable, Equatable {
    /// The sets of one module.
    public struct Module: Sendable, Codable, Equatable {
        /// The module.
        public let module: ModuleShape
        /// For each value the neurons selected; nil where nothing was looked for.
        public let selected: [Int?]
        /// Neurons of each domain, [domains][values].
        public let neurons: [[Int?]]
    }

    /// How a score changes under the sets.
    public struct Effect: Sendable, Codable, Equatable {
        /// The domain of the questions.
        public let domain: Domain
        /// Whose rule the score follows.
        public let form: MetricForm
        /// The rule in a few words.
        public let metric: String
        /// The mask setting, without a set's name.
        public let setting: String
        /// For each value the difference to no mask; nil where it was not answered.
        public let changes: [Change?]
    }

    /// The rate.
    public let rate: Identification.Rate
    /// Its values, ascending.
    public let values: [Double]
    /// For each value the names of the sets that have it.
    public let sets: [[String]]
    /// Rule, positions and the other rates; the rate itself has its first value.
    public let settings: Identification.Settings
    /// The split that was counted.
    public let split: String
    /// The domains that were compared.
    public let domains: [Domain]
    /// The modules with sets of several values.
    public let modules: [Module]
    /// Scores that have changes at several values.
    public internal(set) var effects: [Effect] = []
}

extension SetSweep {
    /// A module's neurons under a name.
    typealias Found = (set: SetName, found: Identification)

    /// All sweeps that there are among sets.
    ///
    /// - Parameters:
    ///   - found: in the order of the names, and in each of the modules.
    ///   - scores: each with its difference to no mask.
    static func all(among found: [Found], scores: [Score]) -> [SetSweep] {
        Identification.Rate.allCases.flatMap { rate -> [SetSweep] in
            var groups: [(like: Identification, entries: [Found])] = []
            for entry in found {
                if let place = groups.firstIndex(where: {
                    isAlike($0.like, entry.found, but: rate)
                }) {
                    groups[place].entries.append(entry)
                } else {
                    groups.append((entry.found, [entry]))
                }
            }
            return groups.compactMap { SetSweep(rate, $0.entries, scores) }
        }
    }

    private static func isAlike(
        _ one: Identification, _ other: Identification, but rate: Identification.Rate
    ) -> Bool {
        var settings = other.settings
        settings[keyPath: rate.setting] = one.settings[keyPath: rate.setting]
        return settings == one.settings && other.domains == one.domains && other.split == one.split
    }

    /// Nil where no module has sets of two values.
    private init?(_ rate: Identification.Rate, _ group: [Found], _ scores: [Score]) {
        func value(_ entry: Found) -> Double { entry.found.settings[keyPath: rate.setting] }
        let several = group.filter { entry in
            group.contains {
                $0.found.module == entry.found.module && value($0) != value(entry)
            }
        }
        guard let first = several.first?.found else { return nil }
        let values = Set(several.map(value)).sorted()
        var shapes: [ModuleShape] = []
        for entry in several where !shapes.contains(entry.found.module) {
            shapes.append(entry.found.module)
        }
        // Of one name the modules may have been found at several values: it is none's.
        let places = Dictionary(grouping: several, by: { $0.set }).compactMapValues { entries in
            Set(entries.map(value)).count == 1 ? values.firstIndex(of: value(entries[0])) : nil
        }
        var settings = first.settings
        settings[keyPath: rate.setting] = values[0]
        self.rate = rate
        self.values = values
        self.settings = settings
        split = first.split
        domains = first.domains
        sets = values.map { wanted in
            several.filter { value($0) == wanted }.map(\.set.name)
                .reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
        }
        modules = shapes.map { shape in
            let entries = values.map { wanted in
                several.first { $0.found.module == shape && value($0) == wanted }?.found
            }
            return Module(
                module: shape, selected: entries.map { $0?.selected },
                neurons: first.domains.indices.map { domain in
                    entries.map { $0?.neurons[domain].reduce(0) { $0 + $1.count } }
                })
        }
        effects = Self.effects(scores, places: places, count: values.count)
    }

    /// - Parameters:
    ///   - places: the place of each set's value.
    ///   - count: how many values there are.
    private static func effects(
        _ scores: [Score], places: [SetName: Int], count: Int
    ) -> [Effect] {
        var effects: [Effect] = []
        // The first rule of each form is the domain's; the others stand in the scores.
        var rules: [String: String] = [:]
        for score in scores {
            let rule = "\(score.domain.rawValue) \(score.form.rawValue)"
            rules[rule] = rules[rule] ?? score.metric
            guard rules[rule] == score.metric, let change = score.change,
                let set = MaskSetting.set(of: score.setting), let place = places[set],
                let name = MaskSetting.withoutSet(score.setting)
            else { continue }
            let known = effects.firstIndex {
                $0.domain == score.domain && $0.form == score.form && $0.setting == name
            }
            var changes =
                known.map { effects[$0].changes }
                ?? [Change?](repeating: nil, count: count)
            // Two names for one value hold the same neurons.
            changes[place] = changes[place] ?? change
            let effect = Effect(
                domain: score.domain, form: score.form, metric: score.metric, setting: name,
                changes: changes)
            if let known { effects[known] = effect } else { effects.append(effect) }
        }
        return MaskSetting.sorted(
            effects.filter { $0.changes.count { $0 != nil } > 1 }, by: \.setting)
    }
}

extension Study {
    /// Sets that lie side by side and differ in one rate alone (`mmq identify --sweep` makes them).
    ///
    /// - Parameter scores: as `Evaluator` gives them; the effects are their changes.
    public func sweeps(scores: [Score] = []) throws -> [SetSweep] {
        let modules = try modules()
        let found = try setNames().flatMap { set in
            try modules.compactMap { module in
                try identification(module: module.name, set: set).map { (set: set, found: $0) }
            }
        }
        return SetSweep.all(among: found, scores: scores)
    }
}
