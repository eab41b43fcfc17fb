import Foundation
import GRDB
import MMQBase
import MMQModels

/// A study file: what was counted and found for one model, in SQLite.
///
/// Counts and the place in the bench up to which they reach change in one transaction, so a
/// process that is killed loses the samples since its last commit and counts none twice.
public final class Study {
    /// How a study file is opened.
    public enum Access: Sendable {
        /// To look at; the file must be there. Any number of processes, also beside a writer.
        case reading
        /// To change; the file must be there. One process at a time.
        case updating
        /// To change; made if it is not there. One process at a time.
        case writing
    }

    /// The file's path.
    public let path: String
    private let database: DatabaseQueue
    private let lock: StudyLock?
    private let isNew: Bool
    /// The transaction under way in `atomically`.
    private var transaction: Database?

    /// Opens a study file, bringing an older one up to date.
    ///
    /// - Throws: `InputError`, `.locked` if another process writes to it.
    public init(path: String, access: Access) throws {
        self.path = path
        guard !path.isEmpty else { throw InputError(.badInput, file: path, "a study needs a name") }
        isNew = !exists(path)
        if access != .writing, isNew {
            throw InputError(.badInput, file: path, "no such study file")
        }
        if isFolder(path) == true {
            throw InputError(.badInput, file: path, "a folder, not a study file")
        }
        for suffix in Self.suffixes { InputLedger.add(path: path + suffix) }
        lock = access == .reading ? nil : try StudyLock(study: path)
        var configuration = Configuration()
        // Who only looks takes the journal as it is: to set its mode, GRDB makes a table and drops
        // it again, which changes the file, and its date.
        if access != .reading { configuration.journalMode = .wal }
        configuration.busyMode = .timeout(30)
        do {
            database = try Self.translating(path) {
                // Ask first: opening in WAL mode would already write to a database of something else.
                if let size = try? FileManager.default.attributesOfItem(atPath: path)[.size]
                    as? Int,
                    size > 0
                {
                    do {
                        try Self.check(path, readonly: true)
                    } catch let error as DatabaseError where error.resultCode == .SQLITE_READONLY {
                        // A process killed while it made the file left a journal, which only who
                        // may write can roll back.
                        try Self.check(path, readonly: false)
                    }
                } else if access != .writing {
                    throw InputError(.badInput, file: path, "an empty file, not a study")
                }
                let database = try DatabaseQueue(
                    path: Self.absolute(path), configuration: configuration)
                if try database.read(StudySchema.migrator.hasBeenSuperseded) {
                    throw InputError(.badInput, file: path, "made by a newer mmq")
                }
                try StudySchema.migrator.migrate(database)
                return database
            }
        } catch {
            // Half a header would not even be taken for an empty file next time.
            if isNew, lock != nil { Self.remove(path) }
            throw error
        }
    }

    /// SQLite takes `:memory:` and `file:...` for something else than names of files.
    private static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).path }

    /// Looks whether the file is a study, and whole, without making it one.
    private static func check(_ path: String, readonly: Bool) throws {
        var configuration = Configuration()
        configuration.readonly = readonly
        configuration.busyMode = .timeout(30)
        try DatabaseQueue(path: absolute(path), configuration: configuration).read { db in
            let id = try Int32.fetchOne(db, sql: "PRAGMA application_id")
            // What a process killed right after making the file leaves behind: nothing but the
            // list of migrations.
            let tables = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM sqlite_master WHERE tbl_name <> 'grdb_migrations'")
            guard id == StudySchema.applicationID || tables == 0 else {
                throw InputError(.badInput, file: path, "a database, but not a study")
            }
            // Rows are read as the tables declare them: a damaged file must not get there.
            let check = try String.fetchOne(db, sql: "PRAGMA quick_check(1)") ?? "ok"
            guard check == "ok" else {
                throw InputError(.badInput, file: path, "a damaged study file: \(check)")
            }
        }
    }

    /// Removes a file that this object made and that nothing was counted, answered or imported
    /// into: what is left after an error in the input. The study cannot be used afterwards.
    public func discardIfNewAndEmpty() {
        guard isNew, lock != nil, (try? passes().isEmpty) == true,
            (try? answerSets().isEmpty) == true, (try? database.close()) != nil
        else { return }
        Self.remove(path)
    }

    /// The file itself and what SQLite keeps beside it.
    private static let suffixes = ["", "-wal", "-shm", "-journal"]

    private static func remove(_ path: String) {
        for suffix in suffixes {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
    }

    // MARK: - Model

    /// The model's fingerprint; nil in a study that nothing was counted into.
    public func model() throws -> String? { try setting("model") }

    /// The modules, in the model's order.
    public func modules() throws -> [ModuleShape] {
        try read { db in
            try Row.fetchAll(db, sql: "SELECT name, layers, neurons FROM module ORDER BY ordinal")
                .map { ModuleShape(name: $0["name"], layers: $0["layers"], neurons: $0["neurons"]) }
        }.map { shape in
            // Arrays are made of this size.
            guard (1...Self.most).contains(shape.layers), (1...Self.most).contains(shape.neurons),
                shape.layers * shape.neurons <= Self.most
            else {
                throw InputError(
                    .badInput, file: path, item: shape.name,
                    "a damaged study file: \(shape.layers) × \(shape.neurons) neurons")
            }
            return shape
        }
    }

    /// More neurons than any module has.
    private static let most = 1 << 28

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

    /// Makes this the study of a model, or checks that it is.
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
        try write { db in
            for (ordinal, module) in modules.enumerated() {
                try db.execute(
                    sql: "INSERT INTO module VALUES (?, ?, ?, ?)",
                    arguments: [ordinal, module.name, module.layers, module.neurons])
            }
            try db.execute(
                sql: "INSERT INTO setting VALUES ('model', ?)", arguments: [fingerprint])
        }
    }

    func setting(_ key: String) throws -> String? {
        try read { db in
            try String.fetchOne(
                db, sql: "SELECT value FROM setting WHERE key = ?", arguments: [key])
        }
    }

    // MARK: - Database

    func read<T>(_ body: (Database) throws -> T) throws -> T {
        if let transaction { return try body(transaction) }
        return try Self.translating(path) { try database.read(body) }
    }

    func write<T>(_ body: (Database) throws -> T) throws -> T {
        guard lock != nil else {
            throw InputError(.failed, file: path, "opened for reading only")
        }
        if let transaction { return try body(transaction) }
        return try Self.translating(path) { try database.write(body) }
    }

    /// Runs `body`, whose reads and writes become one transaction: all of it, or nothing if it throws.
    func atomically<T>(_ body: () throws -> T) throws -> T {
        try write { db in
            transaction = db
            defer { transaction = nil }
            return try body()
        }
    }

    private static func translating<T>(_ path: String, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let error as DatabaseError {
            let text = error.message ?? "error \(error.resultCode.rawValue)"
            switch error.resultCode {
            case .SQLITE_NOTADB:
                throw InputError(.badInput, file: path, "not a study file: \(text)")
            case .SQLITE_CORRUPT:
                throw InputError(.badInput, file: path, "a damaged study file: \(text)")
            case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
                throw InputError(.badInput, file: path, "cannot be opened for writing: \(text)")
            case .SQLITE_BUSY, .SQLITE_LOCKED:
                throw InputError(.locked, file: path, "in use by another process: \(text)")
            default:
                throw InputError(.failed, file: path, "database: \(text)")
            }
        }
    }
}
