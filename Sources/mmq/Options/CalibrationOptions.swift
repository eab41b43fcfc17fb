import ArgumentParser
import MMQStudy

extension PromptForm: ExpressibleByArgument {}

/// What the prompts of a calibration are, and how their positions count.
struct CalibrationOptions: ParsableArguments {
    @Option(
        help: "The prompts: simple (the question alone) or full (with the domain's instruction).")
    var promptForm: PromptForm = .full

    @Option(
        help: """
            How much the mean over image positions counts beside that over text positions, however \
            many there are of each.
            """)
    var imageWeight: Float = 1

    func validate() throws {
        guard imageWeight >= 0, imageWeight.isFinite else {
            throw ValidationError("--image-weight must be 0 or more.")
        }
    }
}
