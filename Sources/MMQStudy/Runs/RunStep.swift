import MMQBase

/// What a resumable run does with the samples of one domain: counting, a lens, answering.
///
/// A step says what there is to do with a sample, does it, and stores it. `ResumableRun` walks over
/// the bench, passes over what is not there or cannot be taken, decides when to store, and when to
/// end. A step that works on several jobs together (answers decoded in a batch, samples in a block)
/// takes them in with `begin` and does the work in `advance`.
public protocol RunStep<Result>: AnyObject {
    /// A piece of work on one sample: all of it, or one of several answers to it.
    associatedtype Job
    /// What came of a run.
    associatedtype Result

    /// The samples in the bench's order.
    var samples: BenchSplit { get }
    /// Where the study stands: the run goes on from here.
    var start: RunCursor { get }
    /// Which samples are this machine's; nil for all of them.
    var shard: Shard? { get }
    /// Jobs that may be under way at the same time, 1 or more.
    var width: Int { get }
    /// The longest time between commits; zero commits whenever something is done.
    var commitInterval: Duration { get }

    /// What the study already holds all of; nil if there is work left.
    ///
    /// - Throws: `InputError`, `.mismatch` if it holds more than was asked for.
    func standing() throws -> RunOutcome?
    /// Whether as much is done as was asked for.
    func isReached(_ cursor: RunCursor) -> Bool
    /// The part of the work that is done, 0...1.
    func fraction(_ cursor: RunCursor) -> Double

    /// A sample that another machine takes is passed by: whatever goals depend on goes on as if it
    /// had been taken here.
    ///
    /// - Throws: `InputError` with a `reasonOfSample` if the model cannot take the sample.
    func passBy(_ sample: BenchSample) throws
    /// A sample that another machine takes, and that this one's plan has looked at, is passed by.
    func passBy(planned position: Int) throws
    /// What there is to do with a sample, in the order in which it is to be begun; nothing where
    /// the study holds all of it.
    func jobs(of sample: BenchSample) -> [Job]
    /// Begins a job.
    ///
    /// - Returns: whether it is done already; otherwise it is under way until `advance` says so.
    /// - Throws: `InputError` with a `reasonOfSample` if the model cannot take the sample.
    func begin(_ job: Job) throws -> Bool
    /// Works on the jobs under way.
    ///
    /// - Returns: how many of them are done now.
    func advance() throws -> Int
    /// The model cannot take a job's sample.
    ///
    /// - Returns: whether that is kept as the job's result; otherwise the sample is passed over.
    func refuse(_ job: Job, reason: String) -> Bool

    /// Stores what was done since the last commit and the place up to which that reaches, all or
    /// nothing. `outcome` is nil while the run goes on.
    func commit(_ cursor: RunCursor, _ outcome: RunOutcome?) throws
    /// What came of the run.
    func result(_ cursor: RunCursor, _ outcome: RunOutcome) -> Result
}

extension RunStep {
    /// All samples.
    public var shard: Shard? { nil }
    /// Nothing depends on it.
    public func passBy(_ sample: BenchSample) throws {}
    /// Nothing depends on it.
    public func passBy(planned position: Int) throws {}
    /// Jobs done one at a time, each committed by itself.
    public var width: Int { 1 }
    /// A commit whenever something is done.
    public var commitInterval: Duration { .zero }
    /// There is always work to look for.
    public func standing() throws -> RunOutcome? { nil }
    /// Nothing is ever under way.
    public func advance() throws -> Int { 0 }
    /// The sample is passed over.
    public func refuse(_ job: Job, reason: String) -> Bool { false }

    /// The part of the way to a goal of some samples, or to the end of the bench where that is
    /// nearer.
    func fraction(_ done: Double, of wanted: Double, _ cursor: RunCursor) -> Double {
        let ofBench = Double(cursor.position) / Double(max(1, samples.count))
        return min(1, max(done / max(1, wanted), ofBench))
    }
}

extension RunStep where Job == BenchSample {
    /// The sample itself is the job.
    public func jobs(of sample: BenchSample) -> [BenchSample] { [sample] }
}

extension InputError {
    /// Why a model cannot take a sample; nil if the error is no fault of the sample's.
    var reasonOfSample: String? {
        switch code {
        case .badPrompt: description
        case .tooLong: problem
        default: nil
        }
    }
}
