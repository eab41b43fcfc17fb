import GRDB
import MMQBase
import MMQModels

/// A row of `identification`.
private struct IdentificationRow: StudyRow {
    static let table = "identification"
    /// Given by the table.
    var id: Int64?
    let name: String
    let module: Int
    let rule: Identification.Rule
    let positions: Positions
    /// Names in order, separated by spaces.
    let domains: String
    let split: String
    let topRate: Double
    let filterRate: Double
    let activationBar: Double
    let filterThreshold: Double
    let activationThreshold: Double
    let selected: Int
}

/// A row of `neuron_set`.
private struct NeuronSetRow: StudyRow {
    static let table = "neuron_set"
    let identification: Int64
    let domain: Domain
    /// One ascending list per layer.
    let neurons: [[Int]]
}

extension Study {
    /// Finds a module's domain-specific neurons from the counts that the study holds.
    ///
    /// - Parameters:
    ///   - module: the module's name.
    ///   - domains: the domains to compare, two or more; nil for all that were counted.
    ///   - split: the split that was counted.
    ///   - settings: the rates.
    public func identify(
        module: String, domains: [Domain]? = nil, split: String = "train",
        settings: Identification.Settings = .init()
    ) throws -> Identification {
        _ = try self.module(module)
        let held = try passes().filter { $0.split == split && $0.form == .simple }.map(\.domain)
        let wanted = domains ?? held
        let counts = try wanted.compactMap { domain in
            try self.counts(domain: domain, split: split, positions: settings.positions)
                .first { $0.shape.name == module }.map { (domain: domain, counts: $0) }
        }
        guard settings.positions == .all || !counts.isEmpty else {
            throw InputError(
                .mismatch, file: path, item: module,
                "this module sees no \(settings.positions.rawValue) positions")
        }
        // The computation does not know the file that the counts came from.
        return try InputError.about(file: path) {
            try Identification(counts: counts, split: split, settings: settings)
        }
    }

    /// Stores found neurons, in place of those found before in the same module under the same name.
    public func save(_ found: Identification, set: SetName = .usual) throws {
        try write { db in
            guard let module = try ordinal(of: found.module.name, db) else {
                throw InputError(.mismatch, file: path, item: found.module.name, "no such module")
            }
            try db.change(
                "DELETE FROM identification WHERE module = ? AND name = ?", [module, set.name])
            try IdentificationRow(
                name: set.name, module: module, rule: found.settings.rule,
                positions: found.settings.positions,
                domains: found.domains.map(\.rawValue).joined(separator: " "),
                split: found.split, topRate: found.settings.topRate,
                filterRate: found.settings.filterRate,
                activationBar: found.settings.activationBar,
                filterThreshold: found.filterThreshold,
                activationThreshold: found.activationThreshold, selected: found.selected
            ).record.insert(db)
            let id = db.lastInsertedRowID
            for (domain, neurons) in zip(found.domains, found.neurons) {
                try NeuronSetRow(identification: id, domain: domain, neurons: neurons)
                    .record.insert(db)
            }
        }
    }

    /// The names of the sets that neurons were found under, the usual one first.
    public func setNames() throws -> [SetName] {
        let names = try read { db in
            try String.fetchAll(
                db, sql: "SELECT name FROM identification GROUP BY name ORDER BY min(id)")
        }
        return try names.map(SetName.init).sorted { $0.isUsual && !$1.isUsual }
    }

    /// - Throws: `InputError`, `.mismatch` naming the sets that there are, if a set with a name is
    ///   none of them.
    public func checkSet(_ set: SetName) throws {
        let names = try setNames()
        guard !set.isUsual, !names.contains(set) else { return }
        throw InputError(
            .mismatch, file: path, item: "set '\(set.name)'",
            expected: names.isEmpty
                ? "neuron sets, which mmq identify finds"
                : "one of \(names.map(\.name).joined(separator: ", "))",
            found: "no neurons under this name")
    }

    /// The domains that neurons of a set were found for, in any module.
    public func setDomains(_ set: SetName) throws -> [Domain] {
        let found = try modules().compactMap { try identification(module: $0.name, set: set) }
        return Domain.allCases.filter { domain in
            found.contains { $0.domains.contains(domain) }
        }
    }

    /// The neurons that were found last in a module under a set's name; nil if none were looked for.
    public func identification(module name: String, set: SetName = .usual) throws -> Identification?
    {
        let module = try module(name)
        let (head, sets) = try read { db in
            let head = try IdentificationRow.first(
                db,
                """
                SELECT identification.* FROM identification JOIN module
                ON identification.module = ordinal
                WHERE module.name = ? AND identification.name = ?
                """, [name, set.name])
            let sets = try NeuronSetRow.all(
                db, "SELECT * FROM neuron_set WHERE identification = ?", [head?.id])
            return (head, sets)
        }
        guard let head else { return nil }
        guard (0...module.layers * module.neurons).contains(head.selected) else {
            throw damaged(IdentificationRow.table, "\(name): \(head.selected) neurons selected")
        }
        let domains = try head.domains.split(separator: " ").map { name in
            guard let domain = Domain(rawValue: String(name)) else {
                throw damaged(IdentificationRow.table, "\(quoted(String(name))) is not a domain")
            }
            return domain
        }
        let neurons = try domains.map { domain in
            guard let layers = sets.first(where: { $0.domain == domain })?.neurons,
                layers.count == module.layers,
                layers.allSatisfy({ $0.allSatisfy { (0..<module.neurons).contains($0) } })
            else {
                throw damaged(
                    NeuronSetRow.table, "\(name): the set of \(domain.rawValue) does not fit it")
            }
            return layers
        }
        return Identification(
            module: module, domains: domains, split: head.split,
            settings: .init(
                topRate: head.topRate, filterRate: head.filterRate,
                activationBar: head.activationBar, rule: head.rule, positions: head.positions),
            filterThreshold: head.filterThreshold,
            activationThreshold: head.activationThreshold, selected: head.selected,
            neurons: neurons)
    }

    /// The neurons of any domain under a set's name, ascending, for each module the lists of its layers.
    ///
    /// - Throws: `InputError`, `.mismatch` where no neurons were looked for.
    public func neurons(of set: SetName) throws -> [String: [[Int]]] {
        try checkSet(set)
        var neurons: [String: [[Int]]] = [:]
        for module in try modules() {
            guard let found = try identification(module: module.name, set: set) else { continue }
            neurons[module.name] = (0..<module.layers).map { layer in
                Set(found.neurons.flatMap { $0[layer] }).sorted()
            }
        }
        guard !neurons.isEmpty else {
            throw InputError(
                .mismatch, file: path, expected: "neuron sets, which mmq identify finds",
                found: "none")
        }
        return neurons
    }

    /// The mask that switches a domain's neurons off in some modules.
    ///
    /// - Throws: `InputError`, `.mismatch` where no neurons were looked for.
    public func mask(domain: Domain, modules names: [String]) throws -> NeuronMask {
        var layers: [String: [[Int]]] = [:]
        for name in names {
            guard let found = try identification(module: name),
                let lists = found.neurons(of: domain)
            else {
                throw InputError(
                    .mismatch, file: path, item: name,
                    "no neurons of \(domain.rawValue) were identified in this module")
            }
            layers[name] = lists
        }
        return try NeuronMask(layers: layers, modules: modules(), file: path)
    }
}
