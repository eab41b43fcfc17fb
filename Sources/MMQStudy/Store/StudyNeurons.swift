import Foundation
import GRDB
import MMQBase
import MMQModels

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
            try self.counts(domain: domain, split: split).first { $0.shape.name == module }
                .map { (domain: domain, counts: $0) }
        }
        // The computation does not know the file that the counts came from.
        return try InputError.about(file: path) {
            try Identification(counts: counts, split: split, settings: settings)
        }
    }

    /// Stores found neurons, in place of those found before in the same module.
    public func save(_ found: Identification) throws {
        let lists = try found.neurons.map { layers in
            String(decoding: try JSONEncoder().encode(layers), as: UTF8.self)
        }
        try write { db in
            guard
                let module = try Int.fetchOne(
                    db, sql: "SELECT ordinal FROM module WHERE name = ?",
                    arguments: [found.module.name])
            else {
                throw InputError(.mismatch, file: path, item: found.module.name, "no such module")
            }
            try db.execute(sql: "DELETE FROM identification WHERE module = ?", arguments: [module])
            try db.execute(
                sql: "INSERT INTO identification VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    module, found.domains.map(\.rawValue).joined(separator: " "), found.split,
                    found.settings.topRate, found.settings.filterRate,
                    found.settings.activationBar, found.filterThreshold,
                    found.activationThreshold, found.selected,
                ])
            for (domain, list) in zip(found.domains, lists) {
                try db.execute(
                    sql: "INSERT INTO neuron_set VALUES (?, ?, ?)",
                    arguments: [module, domain.rawValue, list])
            }
        }
    }

    /// The neurons that were found last in a module; nil if none were looked for.
    public func identification(module name: String) throws -> Identification? {
        let module = try module(name)
        let (head, rows) = try read { db in
            (
                try Row.fetchOne(
                    db,
                    sql: """
                        SELECT identification.* FROM identification JOIN module
                        ON identification.module = ordinal WHERE name = ?
                        """, arguments: [name]),
                try Row.fetchAll(
                    db,
                    sql: """
                        SELECT domain, neuron_set.neurons AS list FROM neuron_set JOIN module
                        ON neuron_set.module = ordinal WHERE name = ?
                        """, arguments: [name])
            )
        }
        guard let head else { return nil }
        let selected: Int = head["selected"]
        guard (0...module.layers * module.neurons).contains(selected) else {
            throw InputError(.badInput, file: path, item: name, "a damaged list of neuron sets")
        }
        let names: String = head["domains"]
        let domains = names.split(separator: " ").compactMap { Domain(rawValue: String($0)) }
        let neurons = try domains.map { domain in
            let list: String? = rows.first { $0["domain"] == domain.rawValue }?["list"]
            let layers = try? JSONDecoder().decode([[Int]].self, from: Data((list ?? "").utf8))
            guard let layers, layers.count == module.layers,
                layers.allSatisfy({ $0.allSatisfy { (0..<module.neurons).contains($0) } })
            else {
                throw InputError(
                    .badInput, file: path, item: name, "a damaged neuron set of \(domain.rawValue)")
            }
            return layers
        }
        return Identification(
            module: module, domains: domains, split: head["split"],
            settings: .init(
                topRate: head["top_rate"], filterRate: head["filter_rate"],
                activationBar: head["activation_bar"]),
            filterThreshold: head["filter_threshold"],
            activationThreshold: head["activation_threshold"], selected: selected,
            neurons: neurons)
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
