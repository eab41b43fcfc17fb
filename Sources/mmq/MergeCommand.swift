import ArgumentParser
import Foundation
import MMQBase
import MMQStudy

/// `mmq merge`: puts shards of a study together.
struct MergeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Put shards of a study together, exactly.",
        discussion: """
            The result is that of one run over the whole bench, to the bit, whatever the number of \
            shards and the order of merging. Shards must be of one model, bench and one set of \
            options; what is missing is named and nothing is written, unless --partial asks for a \
            larger shard. What an earlier merge wrote under the same name is replaced.
            """)

    @Argument(help: ArgumentHelp("Shards, or merges of some of them.", valueName: "shard"))
    var shards: [String]

    @Option(help: "The study file to write.")
    var output: String

    @Flag(help: "Merge what there is, though parts are missing.")
    var partial = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() throws {
        raiseFileLimit()
        let report = ProgressReport("merge")
        defer { report.clear() }
        let result = try StudyMerge(shards, output: output, partial: partial).run { _, fraction in
            report.update(fraction)
        }
        report.clear()
        for line in result.missing { Diagnostics.note("missing: \(line)") }
        if json { return try Diagnostics.printJSON(result) }
        for item in result.items {
            print("\(item.name): \(item.parts == 1 ? "whole" : "\(item.parts) parts")")
        }
    }
}
