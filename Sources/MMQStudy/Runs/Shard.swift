import MMQBase

/// One of several parts of a bench that machines work on without talking to each other.
///
/// Positions are dealt out like cards: what a part holds depends on the position alone, and all
/// parts together are the bench, however many there are.
public struct Shard: Sendable, Hashable, Codable, CustomStringConvertible {
    /// Which part, from 1.
    public let number: Int
    /// Of how many.
    public let count: Int

    /// The greatest number of parts.
    public static let most = 65_536

    /// - Returns: nil unless `number` is in 1...`count` and `count` at most ``most``.
    public init?(_ number: Int, of count: Int) {
        guard (1...Self.most).contains(count), (1...count).contains(number) else { return nil }
        self.number = number
        self.count = count
    }

    /// Parses `3/16`.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int(parts[0]), let count = Int(parts[1]),
            String(number) == parts[0], String(count) == parts[1]
        else { return nil }
        self.init(number, of: count)
    }

    /// The part of a task of a Slurm job array, from the variables that Slurm sets; tasks may be
    /// numbered from anywhere, in steps.
    ///
    /// - Throws: `InputError` naming the variable that is missing or does not fit.
    public init(slurm variables: [String: String]) throws {
        func value(_ name: String, _ usual: Int? = nil) throws -> Int {
            let variable = "SLURM_ARRAY_TASK_" + name
            guard let text = variables[variable] else {
                if let usual { return usual }
                throw InputError(
                    .badInput, file: "environment", item: variable,
                    "not set: this is no task of a job array")
            }
            guard let number = Int(text), number >= 0 else {
                throw InputError(
                    .badInput, file: "environment", item: variable, expected: "a whole number",
                    found: quoted(text))
            }
            return number
        }
        let id = try value("ID")
        let count = try value("COUNT")
        let step = try max(1, value("STEP", 1))
        let ahead = try id - value("MIN", 0)
        guard ahead >= 0, ahead % step == 0, let shard = Shard(ahead / step + 1, of: count) else {
            throw InputError(
                .badInput, file: "environment", item: "SLURM_ARRAY_TASK_ID",
                expected: "a task of an unbroken array of \(count) in steps of \(step)",
                found: "\(id)")
        }
        self = shard
    }

    /// `3/16`.
    public var description: String { "\(number)/\(count)" }

    /// Whether the sample at a position is this part's.
    public func takes(_ position: Int) -> Bool { position % count == number - 1 }
}
