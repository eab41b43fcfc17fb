import ArgumentParser
import Foundation
import MMQBase
import MMQStudy

/// Which part of a bench.
struct ShardOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            Work on part K of N of the samples, into a study of its own (activations: a folder); \
            mmq merge puts studies together. slurm: the part that SLURM_ARRAY_TASK_ID says.
            """, valueName: "k/n"))
    var shard: String?

    /// The part; nil for the whole.
    func chosen() throws -> Shard? {
        guard let shard else { return nil }
        if shard == "slurm" { return try Shard(slurm: ProcessInfo.processInfo.environment) }
        guard let chosen = Shard(shard) else {
            throw ValidationError(
                "--shard is K/N with 1 <= K <= N <= \(Shard.most), or slurm; '\(shard)' is not.")
        }
        return chosen
    }

    func validate() throws { if shard != "slurm" { _ = try chosen() } }
}
