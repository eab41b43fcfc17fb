import GRDB
import MMQBase
import MMQModels

/// A row of `setting`.
private struct SettingRow: StudyRow {
    static let table = "setting"
    let key: String
    let value: String
}

/// A row of `module`.
private struct ModuleRow: StudyRow {
    static let table = "module"
    let ordinal: Int
    let name: String
    let layers: Int
    let neurons: Int

    var shape: ModuleShape { ModuleShape(name: name, layers: layers, neurons: neurons) }

    var damage: String? {
        let most = StudyLimit.neurons
        guard (1...StudyLimit.layers).contains(layers), (1...most).contains(neurons),
            layers * neurons <= most
        else { return "\(quoted(name)) of \(layers) × \(neurons) neurons" }
        // Exported files are called after modules.
        let isPlain = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || "-_".utf8.contains($0)
        }
        return isPlain && !name.isEmpty ? nil : "\(quoted(name)) is not the name of a module"
    }
}

extension Study {
    /// The model's fingerprint; nil in a study that nothing was counted into.
    public func model() throws -> String? {
        try read { db in
            try SettingRow.first(db, "SELECT * FROM setting WHERE key = ?", ["model"])?.value
        }
    }

    /// The modules, in the model's order.
    public func modules() throws -> [ModuleShape] { try read(Self.modules) }

    /// The modules: what other tables number them by is their place.
    static func modules(_ db: Database) throws -> [ModuleShape] {
        let rows = try ModuleRow.all(db, "SELECT * FROM module ORDER BY ordinal")
        guard rows.map(\.ordinal) == Array(rows.indices),
            Set(rows.map(\.name)).count == rows.count
        else {
            throw StudyDamage(
                table: ModuleRow.table, problem: "\(rows.count) modules with other numbers or names"
            )
        }
        return rows.map(\.shape)
    }

    /// What a study says of itself beside its contents: the model, and what else runs depend on.
    func settings() throws -> [String: String] {
        try read { db in
            try SettingRow.Record.fetchAll(db, sql: "SELECT * FROM setting").reduce(into: [:]) {
                $0[$1.row.key] = $1.row.value
            }
        }
    }

    /// The model's architecture, by fingerprint and modules; nil if this mmq knows no such.
    public func architecture() throws -> (any Architecture)? {
        Architectures.first(fingerprint: try model(), modules: try modules().map(\.name))
    }

    /// The module called `name`.
    public func module(_ name: String) throws -> ModuleShape {
        let modules = try modules()
        guard let module = modules.first(where: { $0.name == name }) else {
            let names = modules.map(\.name).joined(separator: ", ")
            throw InputError(
                .mismatch, file: path, item: name, "no such module; the study has \(names)")
        }
        return module
    }

    /// The number under which other tables know a module; nil if there is no such module.
    func ordinal(of module: String, _ db: Database) throws -> Int? {
        try ModuleRow.first(db, "SELECT * FROM module WHERE name = ?", [module])?.ordinal
    }

    /// Checks that the study's neurons are those of a model with these modules: neuron sets serve any
    /// model that has such neurons.
    public func checkModules(_ wanted: [ModuleShape]) throws {
        guard try Set(modules()) == Set(wanted) else {
            throw InputError(
                .mismatch, file: path, item: "model", "made with modules of other shapes")
        }
    }

    /// Makes this the study of a model, or checks that it is. One that is only looked at stays nobody's.
    public func bind(modules: [ModuleShape], fingerprint: String) throws {
        if let model = try model() {
            guard model == fingerprint else {
                throw InputError(
                    .mismatch, file: path, item: "model",
                    "made with another model (\(model)), not with this one (\(fingerprint))")
            }
            guard try self.modules() == modules else {
                throw InputError(
                    .mismatch, file: path, item: "model", "made with modules of other shapes")
            }
            return
        }
        guard canChange else { return }
        try write { db in
            for (ordinal, module) in modules.enumerated() {
                try ModuleRow(
                    ordinal: ordinal, name: module.name, layers: module.layers,
                    neurons: module.neurons
                ).record.insert(db)
            }
            try SettingRow(key: "model", value: fingerprint).record.insert(db)
        }
    }
}
