import ArgumentParser
import MMQStudy

/// Which bench, and which split of it.
struct BenchOptions: ParsableArguments {
    @Option(help: "The bench folder, with ad, med, rs, vqav2 and doc in it.")
    var bench: String

    @Option(help: "The split of the data sets.")
    var split: String = "train"
}

/// Whether a bench may name pictures elsewhere.
struct OutsideOptions: ParsableArguments {
    @Flag(help: "The bench's pictures may lie outside its folder, by links or by their paths.")
    var allowOutside = false
}
