import GRDB

/// The tables of a study file. Each change is a migration, so that older files keep opening; a file
/// of a newer mmq is refused.
enum StudySchema {
    /// `mmqs`, in the SQLite header: tells a study from any other database.
    static let applicationID: Int32 = 0x6d6d_7173

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 counts and neuron sets") { db in
            try db.execute(
                sql: """
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
                    """)
        }
        AnswerSchema.register(&migrator)
        LensSchema.register(&migrator)
        return migrator
    }
}
