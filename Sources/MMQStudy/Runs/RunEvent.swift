/// Why a run over a domain ended.
public enum RunOutcome: String, Sendable, Codable {
    /// As much is done as was asked for.
    case reached
    /// The bench ended first.
    case exhausted
    /// `interrupted` said so; another run goes on from here.
    case interrupted
}

/// What a run tells while it works.
public enum RunEvent: Sendable, Equatable {
    /// A picture is not there, or some of its frames: the files that were looked for.
    case missing(files: [String])
    /// The sample at a place of the bench's order is one that the model cannot take.
    case refused(position: Int, reason: String)
    /// Something was done, or passed over.
    case progress(RunProgress)
}

/// How far a run has come.
public struct RunProgress: Sendable, Equatable {
    /// Jobs that this run has done, refused ones included.
    public let done: Int
    /// The part of all the work that is done, earlier runs' included, 0...1.
    public let fraction: Double
    /// The same when this run began: what the time left must be computed from.
    public let startFraction: Double
}

/// Where a run stands in the bench's order, and what it met on the way.
public struct RunCursor: Sendable, Equatable {
    /// The next place in the bench's order.
    public var position = 0
    /// Samples taken.
    public var samples = 0
    /// Samples passed over: their picture is not there, or the model cannot take them.
    public var skipped = 0
    /// Frames left out of the pictures of samples that were taken, because they are not there.
    public var missingFrames = 0
    /// Places passed over because their picture is not there, ascending: a later run may find it.
    public var missing: [Int] = []
}
