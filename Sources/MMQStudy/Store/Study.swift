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
        /// The same before the study is opened anew: whether all of it is whole is not looked at.
        case glancing
        /// To change; the file must be there. One process at a time.
        case updating
        /// To change; made if it is not there. One process at a time.
        case writing
        /// To make anew: what lies there goes. One process at a time.
        case replacing
        /// To look at before a run that will write: where there is no file, as what the run will find,
        /// an empty study that never becomes one.
        case planning

        /// Whether the file is looked at and left as it is.
        fileprivate var isLooking: Bool { self == .reading || self == .glancing }
    }

    /// The file's path.
    public let path: String
    /// Where it leads, if it is a link: the file, and what lies beside it, are there. Two names of one
    /// study have one lock.
    private let place: String
    private let database: DatabaseQueue
    /// What SQLite opened it under.
    private let location: String
    private let lock: FileLock?
    private let isNew: Bool
    /// Whether it is in memory alone.
    private let isScratch: Bool
    /// Which file was opened: another one may come to lie at the path, or none.
    private let identity: FileIdentity?
    /// The transaction under way in `atomically`.
    private var transaction: Database?
    /// What `rememberingCounts` has read; nil outside of it.
    var rememberedCounts: [CountsKey: [ModuleCounts]]?

    /// Opens a study file, bringing an older one up to date.
    ///
    /// - Throws: `InputError`, `.locked` if another process writes to it, `.badInput` if it is not a
    ///   study or a damaged one.
    public init(path: String, access: Access) throws {
        self.path = path
        guard !path.isEmpty else { throw InputError(.badInput, file: path, "a study needs a name") }
        place = try linkTarget(of: path)
        isNew = access == .replacing || !exists(path)
        isScratch = isNew && access == .planning
        if isScratch {
            lock = nil
            identity = nil
            (database, location) = try Self.translating(path) {
                let database = try DatabaseQueue()
                try StudySchema.make(database)
                return (database, path)
            }
            return
        }
        let access = access == .planning ? Access.reading : access
        if isNew, access.isLooking || access == .updating {
            throw InputError(.badInput, file: path, "no such study file")
        }
        if isFolder(path) == true {
            throw InputError(.badInput, file: path, "a folder, not a study file")
        }
        let place = place
        for suffix in Self.suffixes { InputLedger.add(path: place + suffix) }
        lock = access.isLooking ? nil : try FileLock(beside: place, named: path, kind: "study")
        if access == .replacing { Self.remove(place) }
        do {
            (database, location) = try Self.translating(path) { try Self.open(place, access) }
            identity = FileIdentity(path: path)
        } catch {
            // Half a header would not even be taken for an empty file next time.
            if isNew, lock != nil { Self.remove(place) }
            throw error
        }
    }

    private static func open(
        _ path: String, _ access: Access
    ) throws -> (DatabaseQueue, location: String) {
        let location = absolute(path)
        let (hadJournal, hadShared) = (exists(path + "-wal"), exists(path + "-shm"))
        do {
            return (try open(path, at: location, access), location)
        } catch let error as DatabaseError
            where access.isLooking && isAtRest(path)
            && [.SQLITE_CANTOPEN, .SQLITE_IOERR, .SQLITE_READONLY].contains(error.resultCode)
        {
            // Our own attempt may have made an empty one.
            if !hadJournal { unlink(path + "-wal") }
            // Nobody can use one that cannot be mapped.
            if !hadShared, sharedMemory.contains(error.extendedResultCode) {
                unlink(path + "-shm")
            }
            // SQLite's shared memory cannot lie beside it: a mount to read from, or a file system
            // that maps no files. Nobody has it open for writing, and it is read as it lies.
            let location = URL(fileURLWithPath: path).absoluteString + "?immutable=1"
            return (try open(path, at: location, access), location)
        }
    }

    /// Whether everything is in the file itself: a writer keeps a journal beside it.
    private static func isAtRest(_ path: String) -> Bool {
        suffixes.dropFirst().allSatisfy { suffix in
            guard suffix != "-shm", exists(path + suffix) else { return true }
            let attributes = try? FileManager.default.attributesOfItem(atPath: path + suffix)
            return attributes?[.size] as? Int == 0
        }
    }

    private static func open(
        _ path: String, at location: String, _ access: Access
    ) throws -> DatabaseQueue {
        // Ask first: opening in WAL mode would already write to a database of something else.
        if let size = try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int,
            size > 0
        {
            let isWhole = access != .glancing
            do {
                try check(path, at: location, readonly: true, whole: isWhole)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_READONLY {
                // A process killed while it made the file left a journal, which only who may write
                // can roll back.
                try check(path, at: location, readonly: false, whole: isWhole)
            }
        } else if access.isLooking || access == .updating {
            throw InputError(.badInput, file: path, "an empty file, not a study")
        }
        var configuration = Configuration()
        // Who only looks takes the journal as it is: to set its mode, GRDB makes a table and drops
        // it again, which changes the file, and its date.
        if !access.isLooking { configuration.journalMode = .wal }
        configuration.busyMode = .timeout(30)
        let database = try DatabaseQueue(path: location, configuration: configuration)
        if try database.read(StudySchema.isCurrent) { return database }
        let migrator = StudySchema.migrator
        if try database.read(migrator.hasBeenSuperseded) {
            throw InputError(.badInput, file: path, "made by a newer mmq")
        }
        // Even with nothing to do, migrating writes: who only looks at a study would change it, and
        // its date.
        if try database.read(StudySchema.isEmpty) {
            try StudySchema.make(database)
        } else if try !database.read(migrator.hasCompletedMigrations) {
            try migrator.migrate(database)
        }
        try database.read(StudySchema.check)
        return database
    }

    /// SQLite takes `:memory:` and `file:...` for something else than names of files.
    private static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).path }

    /// Looks whether the file is a study, and whole if that is asked for, without making it one.
    private static func check(
        _ path: String, at location: String, readonly: Bool, whole: Bool
    ) throws {
        var configuration = Configuration()
        configuration.readonly = readonly
        configuration.busyMode = .timeout(30)
        try DatabaseQueue(path: location, configuration: configuration).read { db in
            let id = try Int32.fetchOne(db, sql: "PRAGMA application_id")
            guard try id == StudySchema.applicationID || StudySchema.isEmpty(db) else {
                throw InputError(.badInput, file: path, "a database, but not a study")
            }
            guard whole else { return }
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
        guard isNew, lock != nil, (try? checkPlace()) != nil, (try? passes().isEmpty) == true,
            (try? storedAnswerSets().isEmpty) == true, (try? database.close()) != nil
        else { return }
        Self.remove(place)
    }

    /// The file itself and what SQLite keeps beside it.
    private static let suffixes = ["", "-wal", "-shm", "-journal"]

    static func remove(_ path: String) {
        for suffix in suffixes {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
    }

    /// Closes the file: everything is in it then, and nothing beside it. The study cannot be used
    /// afterwards, but is locked as long as it lives.
    ///
    /// - Throws: `InputError` if not everything got into it, `.locked` while somebody reads it.
    func close() throws {
        try Self.translating(path) {
            // By itself closing says nothing when the last of the journal does not fit on the disk.
            if lock != nil {
                try database.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
            }
            try database.close()
        }
    }

    /// Gives a closed study's file another name, replacing a study of that name.
    static func move(_ path: String, to target: String) throws {
        // What lies beside the old one would be taken for the new one's.
        let old = exists(target) ? try Study(path: target, access: .updating) : nil
        try old?.close()
        guard try rename(path, linkTarget(of: target)) == 0 else {
            throw InputError.system(.writeFailed, file: target, errno)
        }
        withExtendedLifetime(old) {}
    }

    // MARK: - Reading and writing

    /// Runs `body` in a transaction that sees another study's tables as those of the schema `source`.
    func copying(_ other: Study, _ body: (Database) throws -> Void) throws {
        try Self.translating(path) {
            try database.writeWithoutTransaction { db in
                try db.execute(
                    sql: "ATTACH DATABASE ? AS source", arguments: [other.location])
                defer { try? db.execute(sql: "DETACH DATABASE source") }
                try db.inTransaction {
                    try body(db)
                    return .commit
                }
            }
        }
    }

    /// Runs `body` over what is stored.
    func read<T>(_ body: (Database) throws -> T) throws -> T {
        try Self.translating(path) { try transaction.map(body) ?? database.read(body) }
    }

    /// Whether it may be changed.
    var canChange: Bool { lock != nil || isScratch }

    /// Runs `body` in a transaction: all that it changes is stored, or nothing if it throws.
    func write<T>(_ body: (Database) throws -> T) throws -> T {
        guard canChange else {
            throw InputError(.failed, file: path, "opened for reading only")
        }
        return try Self.translating(path) {
            if let transaction { return try body(transaction) }
            let result = try database.write(body)
            if !isScratch { try checkPlace() }
            return result
        }
    }

    /// Runs `body`, whose reads and writes become one transaction: all of it, or nothing if it throws.
    func atomically<T>(_ body: () throws -> T) throws -> T {
        try write { db in
            let outer = transaction
            transaction = db
            defer { transaction = outer }
            return try body()
        }
    }

    /// What is stored goes into the file that was opened: it is lost if that one was removed, or
    /// another put in its place.
    private func checkPlace() throws {
        guard FileIdentity(path: path) != identity else { return }
        throw InputError(
            .failed, file: path,
            (exists(path) ? "was replaced by another file" : "was removed")
                + " while this process wrote to it; what it did is not kept")
    }

    /// An error about rows that contradict each other.
    func damaged(_ table: String, _ problem: String) -> InputError {
        Self.error(path, StudyDamage(table: table, problem: problem))
    }

    private static func error(_ path: String, _ damage: StudyDamage) -> InputError {
        InputError(
            .badInput, file: path, item: "table \(damage.table)",
            "a damaged study file: \(damage.problem)")
    }

    /// What SQLite says where files cannot be mapped into memory.
    private static let sharedMemory: [ResultCode] = [
        .SQLITE_IOERR_SHMOPEN, .SQLITE_IOERR_SHMSIZE, .SQLITE_IOERR_SHMMAP, .SQLITE_IOERR_SHMLOCK,
    ]

    private static func translating<T>(_ path: String, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let damage as StudyDamage {
            throw error(path, damage)
        } catch let error as DatabaseError {
            let text = error.message ?? "error \(error.resultCode.rawValue)"
            switch error.resultCode {
            case .SQLITE_NOTADB:
                throw InputError(.badInput, file: path, "not a study file: \(text)")
            case .SQLITE_CORRUPT, .SQLITE_ERROR:
                // The latter: a statement names a table or column that is not there.
                throw InputError(.badInput, file: path, "a damaged study file: \(text)")
            case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
                throw InputError(
                    isWritable(path) ? .failed : .badInput, file: path,
                    "cannot be opened for writing: \(text)")
            case .SQLITE_BUSY, .SQLITE_LOCKED:
                throw InputError(.locked, file: path, "in use by another process: \(text)")
            case .SQLITE_IOERR where sharedMemory.contains(error.extendedResultCode):
                throw InputError(
                    .failed, file: path,
                    "its file system has no shared memory, which who writes to a study needs: put it "
                        + "on a local disk")
            default:
                throw InputError(.failed, file: path, "database: \(text)")
            }
        }
    }
}
