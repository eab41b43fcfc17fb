import MMQBase
import Support
import Testing

@testable import MMQStudy

/// Text that Python's json module writes and no Swift string can hold as it is.
@Suite struct JSONReaderTests {
    private func text(_ json: String) throws -> String {
        let folder = try TemporaryFolder()
        try folder.write("text.json", text: json)
        var reader = JSONReader(try AnnotationFile(path: folder.path + "/text.json"))
        let text = try reader.text("text")
        try reader.finish()
        return text
    }

    /// Python's json writes halves of a pair for a text that was cut inside an emoji.
    @Test(arguments: [
        (#""\ud83d\ude00""#, "\u{1f600}"),
        (#""\ud83d\u00e9""#, "\u{fffd}\u{e9}"),
        (#""\ud83d""#, "\u{fffd}"),
        (#""\ude00x""#, "\u{fffd}x"),
        (#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
        (#""\ud83d\uffff""#, "\u{fffd}\u{ffff}"),
        (#""\udbff\udfff""#, "\u{10ffff}"),
    ])
    func halfPairs(_ json: String, _ expected: String) throws {
        #expect(try text(json) == expected)
    }
}
