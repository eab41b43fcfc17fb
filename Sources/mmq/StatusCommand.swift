import ArgumentParser
import MMQStudy

/// `mmq status`: how far studies and shards have come.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "How far studies and shards have come, and how long they will take.",
        discussion: """
            Reads only, also while runs are writing. The time left of a shard is that of its pace so \
            far; a study that is no shard does not know its goal before it has reached it.
            """)

    @Argument(help: ArgumentHelp("Study files.", valueName: "study"))
    var studies: [String]

    @Flag(help: "Print one JSON document.")
    var json = false

    /// A line of the table.
    private struct Line: Encodable {
        let study: String
        let item: String
        let shard: String?
        let done: Int
        let total: Int?
        let finished: Bool?
        let secondsLeft: Double?

        enum CodingKeys: String, CodingKey {
            case study, item, shard, done, total, finished
            case secondsLeft = "seconds_left"
        }
    }

    func run() throws {
        let lines = try studies.flatMap { path in
            let study = try Study(path: path, access: .reading)
            let shards = try study.shards()
            let parts = shards.map {
                Line(
                    study: path, item: $0.item.name, shard: "\($0.part)/\($0.parts)", done: $0.done,
                    total: $0.total, finished: $0.finished, secondsLeft: $0.secondsLeft)
            }
            let names = Set(shards.map(\.item))
            return try parts
                + study.contents().filter { !names.contains($0.item) }.map {
                    Line(
                        study: path, item: $0.item.name, shard: nil, done: $0.samples, total: nil,
                        finished: $0.finished, secondsLeft: nil)
                }
        }
        if json { return try Diagnostics.printJSON(lines) }
        var table = TextTable(["study", "of", "shard", "samples", "left"])
        for line in lines {
            let left =
                line.finished == true
                ? "done" : line.secondsLeft.map { ProgressReport.duration($0) } ?? ""
            table.add([
                line.study, line.item, line.shard ?? "",
                line.total.map { "\(line.done) of \($0)" } ?? "\(line.done)", left,
            ])
        }
        print(table.text)
    }
}
