import GRDB
import MMQBase

/// The tables of a study file. Each change is a migration, so that older files keep opening; a file
/// of a newer mmq is refused.
enum StudySchema {
    /// `mmqs`, in the SQLite header: tells a study from any other database.
    static let applicationID: Int32 = 0x6d6d_7173

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        for change in changes {
            migrator.registerMigration(change.name) { try $0.execute(sql: change.sql) }
        }
        return migrator
    }

    /// Whether a file has no tables but, at most, the list of migrations, which has none then: a
    /// new one, or one whose making was interrupted.
    static func isEmpty(_ db: Database) throws -> Bool {
        try Int.fetchOne(
            db, sql: "SELECT count(*) FROM sqlite_master WHERE tbl_name <> 'grdb_migrations'") == 0
    }

    /// Makes the tables of a new file, at once: a process killed on the way leaves none, and a
    /// transaction for each change takes several milliseconds.
    static func make(_ database: DatabaseQueue) throws {
        try database.write { db in
            // As GRDB's migrator makes it and fills it.
            try db.execute(
                sql: "CREATE TABLE IF NOT EXISTS grdb_migrations "
                    + "(identifier TEXT NOT NULL PRIMARY KEY)")
            for change in changes {
                try db.execute(sql: change.sql)
                try db.execute(
                    sql: "INSERT INTO grdb_migrations (identifier) VALUES (?)",
                    arguments: [change.name])
            }
        }
    }

    private static let changes: [(name: String, sql: String)] = [
        ("1 counts and neuron sets", counts),
        ("answers", answers),
        ("lens and deviation", lens),
        ("blocks and positions", blocks),
        ("sets side by side", sets),
        ("shards", shards),
        ("ends of shards", shardEnds),
        ("missing pictures", missing),
        ("moments", moments),
    ]

    private static let counts = """
        PRAGMA application_id = \(applicationID);
        -- model: fingerprint of the weights; vision_module: whose tokens are the goal
        CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
        CREATE TABLE module (
            ordinal INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
            layers INTEGER NOT NULL, neurons INTEGER NOT NULL) STRICT;
        -- One counting pass over a domain. `cursor` is the next place in the bench's
        -- order; it only ever changes together with the totals in `count`.
        CREATE TABLE pass (
            id INTEGER PRIMARY KEY,
            domain TEXT NOT NULL, split TEXT NOT NULL, form TEXT NOT NULL,
            bench TEXT NOT NULL,
            cursor INTEGER NOT NULL DEFAULT 0,
            samples INTEGER NOT NULL DEFAULT 0,
            skipped INTEGER NOT NULL DEFAULT 0,
            missing_frames INTEGER NOT NULL DEFAULT 0,
            vision_tokens INTEGER NOT NULL DEFAULT 0,
            vision_tokens_before INTEGER NOT NULL DEFAULT 0,
            finished INTEGER NOT NULL DEFAULT 0,
            UNIQUE (domain, split, form)) STRICT;
        -- counts: int64, sums: float64, little-endian, [layers, neurons] row-major
        CREATE TABLE count (
            pass INTEGER NOT NULL REFERENCES pass(id) ON DELETE CASCADE,
            module INTEGER NOT NULL REFERENCES module(ordinal),
            tokens INTEGER NOT NULL, counts BLOB NOT NULL, sums BLOB NOT NULL,
            PRIMARY KEY (pass, module)) STRICT;
        -- domains: their names in order, separated by spaces
        CREATE TABLE identification (
            module INTEGER PRIMARY KEY REFERENCES module(ordinal),
            domains TEXT NOT NULL, split TEXT NOT NULL,
            top_rate REAL NOT NULL, filter_rate REAL NOT NULL,
            activation_bar REAL NOT NULL,
            filter_threshold REAL NOT NULL, activation_threshold REAL NOT NULL,
            selected INTEGER NOT NULL) STRICT;
        -- neurons: JSON, one ascending list per layer
        CREATE TABLE neuron_set (
            module INTEGER NOT NULL
                REFERENCES identification(module) ON DELETE CASCADE,
            domain TEXT NOT NULL, neurons TEXT NOT NULL,
            PRIMARY KEY (module, domain)) STRICT;
        """

    private static let answers = """
        -- How the answers of a domain under a mask setting were made. mask: JSON,
        -- {module: [mask per layer]} as in a mask file; options: JSON.
        CREATE TABLE answer_set (
            id INTEGER PRIMARY KEY,
            domain TEXT NOT NULL, split TEXT NOT NULL, setting TEXT NOT NULL,
            model TEXT NOT NULL, bench TEXT NOT NULL,
            options TEXT NOT NULL, mask TEXT NOT NULL,
            UNIQUE (domain, split, setting)) STRICT;
        -- ground_truth, attributes, tokens: JSON. Either text or problem is there.
        CREATE TABLE answer (
            answer_set INTEGER NOT NULL REFERENCES answer_set(id) ON DELETE CASCADE,
            position INTEGER NOT NULL, sample INTEGER NOT NULL,
            question TEXT NOT NULL, ground_truth TEXT NOT NULL,
            attributes TEXT NOT NULL, text TEXT, problem TEXT,
            tokens TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
            PRIMARY KEY (answer_set, position)) STRICT, WITHOUT ROWID;
        """

    private static let lens = """
        -- kind: lens or deviation. `cursor` only ever changes together with the samples.
        CREATE TABLE lens_pass (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL, domain TEXT NOT NULL, split TEXT NOT NULL,
            setting TEXT NOT NULL, bench TEXT NOT NULL, options TEXT NOT NULL,
            cursor INTEGER NOT NULL, samples INTEGER NOT NULL,
            skipped INTEGER NOT NULL, finished INTEGER NOT NULL,
            UNIQUE (kind, domain, split, setting)) STRICT;
        -- kinds: a byte per position, 1 = image. sums: float64 [layers, image | text,
        -- entropy | probability | agreeing | divergence]. best: uint16 or int32 ids
        -- [layers, positions]. All little-endian.
        CREATE TABLE lens_sample (
            pass INTEGER NOT NULL REFERENCES lens_pass(id) ON DELETE CASCADE,
            place INTEGER NOT NULL,
            kinds BLOB NOT NULL, sums BLOB NOT NULL, best BLOB NOT NULL,
            PRIMARY KEY (pass, place)) STRICT;
        -- sums: float64 [layers, image | text, cosine | distance]
        CREATE TABLE deviation_sample (
            pass INTEGER NOT NULL REFERENCES lens_pass(id) ON DELETE CASCADE,
            place INTEGER NOT NULL, mask TEXT NOT NULL,
            image_tokens INTEGER NOT NULL, text_tokens INTEGER NOT NULL,
            sums BLOB NOT NULL,
            PRIMARY KEY (pass, place, mask)) STRICT;
        """

    private static let blocks = """
        -- blocks: into how many the samples are counted, by position modulo their number;
        -- apart: whether the picture's positions and the text's are counted apart.
        ALTER TABLE pass ADD COLUMN blocks INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE pass ADD COLUMN apart INTEGER NOT NULL DEFAULT 0;
        -- `count` holds what has no blocks: imported counts, and those of an mmq that knew
        -- none. A pass's counts are those in `count` and in `block_count` together.
        CREATE TABLE block (
            pass INTEGER NOT NULL REFERENCES pass(id) ON DELETE CASCADE,
            block INTEGER NOT NULL, samples INTEGER NOT NULL,
            PRIMARY KEY (pass, block)) STRICT;
        -- positions: all, image or text. counts: unsigned, little-endian, 1, 2 or 4 bytes
        -- each, whatever the greatest needs, [layers, neurons].
        CREATE TABLE block_count (
            pass INTEGER NOT NULL REFERENCES pass(id) ON DELETE CASCADE,
            block INTEGER NOT NULL,
            module INTEGER NOT NULL REFERENCES module(ordinal),
            positions TEXT NOT NULL,
            tokens INTEGER NOT NULL, counts BLOB NOT NULL,
            PRIMARY KEY (pass, block, module, positions)) STRICT;
        -- Over all blocks. sums, squares: 128-bit integers of 2^-64, little-endian, exact, so
        -- that they can be added up in any order (ExactSums); maxima: float32.
        CREATE TABLE activation_sum (
            pass INTEGER NOT NULL REFERENCES pass(id) ON DELETE CASCADE,
            module INTEGER NOT NULL REFERENCES module(ordinal),
            positions TEXT NOT NULL,
            sums BLOB NOT NULL, squares BLOB NOT NULL, maxima BLOB NOT NULL,
            PRIMARY KEY (pass, module, positions)) STRICT;
        """

    private static let sets = """
        -- name: of the set, `default` where none is named. domains: their names in order,
        -- separated by spaces
        CREATE TABLE named_identification (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL, module INTEGER NOT NULL REFERENCES module(ordinal),
            rule TEXT NOT NULL, positions TEXT NOT NULL,
            domains TEXT NOT NULL, split TEXT NOT NULL,
            top_rate REAL NOT NULL, filter_rate REAL NOT NULL,
            activation_bar REAL NOT NULL,
            filter_threshold REAL NOT NULL, activation_threshold REAL NOT NULL,
            selected INTEGER NOT NULL,
            UNIQUE (name, module)) STRICT;
        INSERT INTO named_identification
            SELECT NULL, 'default', module, 'dape', 'all', domains, split, top_rate,
                filter_rate, activation_bar, filter_threshold, activation_threshold, selected
            FROM identification ORDER BY module;
        -- neurons: JSON, one ascending list per layer
        CREATE TABLE named_neuron_set (
            identification INTEGER NOT NULL
                REFERENCES named_identification(id) ON DELETE CASCADE,
            domain TEXT NOT NULL, neurons TEXT NOT NULL,
            PRIMARY KEY (identification, domain)) STRICT;
        INSERT INTO named_neuron_set
            SELECT id, neuron_set.domain, neurons FROM neuron_set
            JOIN named_identification ON neuron_set.module = named_identification.module;
        DROP TABLE neuron_set;
        DROP TABLE identification;
        ALTER TABLE named_identification RENAME TO identification;
        ALTER TABLE named_neuron_set RENAME TO neuron_set;
        """

    private static let shards = """
        -- Parts of what a study holds, where it does not hold all of it. kind: counts, answers,
        -- lens or deviation; setting: of counts the form of the prompt; goal: how far all parts go
        -- together; digest: of what the part holds, once it was merged.
        CREATE TABLE shard (
            kind TEXT NOT NULL, domain TEXT NOT NULL, split TEXT NOT NULL,
            setting TEXT NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL,
            goal TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL,
            finished INTEGER NOT NULL, seconds REAL NOT NULL, digest TEXT,
            PRIMARY KEY (kind, domain, split, setting, part)) STRICT;
        """

    private static let shardEnds = """
        -- The place in the bench's order at which a finished part ended.
        ALTER TABLE shard ADD COLUMN cursor INTEGER;
        """

    private static let missing = """
        -- Places whose picture was not there: JSON, ascending. A later run may find it.
        ALTER TABLE pass ADD COLUMN missing TEXT NOT NULL DEFAULT '[]';
        ALTER TABLE lens_pass ADD COLUMN missing TEXT NOT NULL DEFAULT '[]';
        """

    private static let moments = """
        -- keep_top: how many of a neuron's strongest activations are kept; 0 for none, as in passes
        -- of an mmq that kept none.
        ALTER TABLE pass ADD COLUMN keep_top INTEGER NOT NULL DEFAULT 0;
        -- activations: float32 [neurons, keep_top], descending, -infinity where there is none;
        -- samples, places: the sample's place in the bench's order and the token among those that
        -- the module saw of it, unsigned, 1, 2 or 4 bytes each; above: likewise [edges, neurons],
        -- tokens whose activation is greater than MomentHistogram.edges. All little-endian.
        CREATE TABLE moment (
            pass INTEGER NOT NULL REFERENCES pass(id) ON DELETE CASCADE,
            module INTEGER NOT NULL REFERENCES module(ordinal),
            layer INTEGER NOT NULL, tokens INTEGER NOT NULL,
            activations BLOB NOT NULL, samples BLOB NOT NULL,
            places BLOB NOT NULL, above BLOB NOT NULL,
            PRIMARY KEY (pass, module, layer)) STRICT;
        """

    /// The hash of all that the migrations make, as SQLite keeps it. Building it anew to compare with
    /// takes every process that opens a study some milliseconds.
    static let digest: UInt64 = 0x9b4e_56bc_23d5_10aa

    /// Whether a file is just as the migrations make it: then nothing is to be brought up to date or
    /// looked at more closely.
    static func isCurrent(_ db: Database) throws -> Bool {
        guard try digest(db) == digest else { return false }
        let done = try String.fetchAll(db, sql: "SELECT identifier FROM grdb_migrations")
        return Set(done) == Set(migrator.migrations)
    }

    /// The hash of a file's tables and indices.
    static func digest(_ db: Database) throws -> UInt64 {
        let statements = try String.fetchAll(
            db,
            sql: """
                SELECT sql FROM sqlite_master
                WHERE sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name
                """)
        var hash = StableHash()
        for statement in statements {
            hash.add(statement.utf8)
            hash.add(UInt8(0))
        }
        return hash.value
    }

    /// Compares a file's tables with those that the migrations make.
    ///
    /// - Throws: `StudyDamage` naming the table and the column.
    static func check(_ db: Database) throws {
        if try digest(db) == digest { return }
        let whole = try columns.get()
        let found = try tables(db)
        for (table, columns) in whole.sorted(by: { $0.key < $1.key }) {
            guard let those = found[table] else {
                throw StudyDamage(table: table, problem: "the table is not there")
            }
            for (column, type) in columns.sorted(by: { $0.key < $1.key }) {
                guard let found = those[column] else {
                    throw StudyDamage(table: table, problem: "no column \(column)")
                }
                guard found == type else {
                    throw StudyDamage(
                        table: table,
                        problem: "column \(column): expected \(type), found \(quoted(found))")
                }
            }
        }
    }

    /// Table → column → type, as a new file has them.
    private static let columns = Result {
        let database = try DatabaseQueue()
        try make(database)
        return try database.read(tables)
    }

    private static func tables(_ db: Database) throws -> [String: [String: String]] {
        let columns = try StudyRecord<SchemaColumn>.fetchAll(
            db,
            sql: """
                SELECT m.name AS of_table, c.name AS name,
                    c.type || iif(c."notnull", ' NOT NULL', '') AS type
                FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'
                """)
        return columns.reduce(into: [:]) {
            $0[$1.row.ofTable, default: [:]][$1.row.name] = $1.row.type
        }
    }
}

/// A column, as SQLite describes it.
private struct SchemaColumn: StudyRow {
    static let table = "sqlite_master"
    let ofTable: String
    let name: String
    let type: String
}
