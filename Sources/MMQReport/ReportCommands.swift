/// What a page says about the command line. Who writes the page knows its words; without them it
/// only says what is missing.
public struct ReportCommands: Sendable {
    /// Something that a page has not got.
    public enum Gap: Hashable, Sendable {
        /// Nothing was counted.
        case counts
        /// Nothing was looked for in any module.
        case neurons
        /// Nothing was looked for in one module.
        case neuronsOf(module: String)
        /// Counted without keeping the strongest activations.
        case moments
        /// No model to say what tokens are and which words are written.
        case momentModel
        /// No bench whose pictures are shown.
        case momentPictures
        /// Counted without blocks of samples.
        case blocks
        /// Stability in few draws, for a look.
        case moreDraws
        /// No sets that differ in one rate.
        case sweep
        /// No answers under sets that differ in one rate.
        case sweepAnswers
        /// No answers.
        case answers
        /// No set was tried on other domains' questions.
        case matrix
        /// No controls with numbers.
        case controls
        /// No lens over a bench.
        case lens
        /// No picture to look into.
        case pictures
        /// A lens came from a file, which has no picture.
        case pictureOfLens
        /// No deviations.
        case deviations
        /// No other study.
        case comparisons
        /// The element types of the weights.
        case weights
    }

    /// What fills a gap: a command, or options that the report lacked.
    public var filling: [Gap: String]
    /// The commands that would make the study anew, in their order.
    public var redo: [String]
    /// What their placeholders stand for.
    public var redoNote: String

    /// No words, or these.
    public init(filling: [Gap: String] = [:], redo: [String] = [], redoNote: String = "") {
        self.filling = filling
        self.redo = redo
        self.redoNote = redoNote
    }
}
