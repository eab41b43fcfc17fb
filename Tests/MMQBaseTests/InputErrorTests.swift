import Foundation
import MMQBase
import Testing

@Suite struct InputErrorTests {
    /// What a file holds may be megabytes; the error says where and shows both ends.
    @Test func longPartsAreCut() {
        let long = "begin" + String(repeating: "x", count: 70_000) + "end"
        let error = InputError(
            .badValue, file: "/a/" + long, item: "key '\(long)'", offset: 17, expected: long,
            found: long, cause: long)
        #expect(error.description.utf8.count < 4000)
        #expect(error.description.contains("begin"))
        #expect(error.description.contains("(at byte 17)"))
        #expect(error.found == long)
        // 4,096 bytes is the longest path; a usual one is shown whole.
        let path = "/" + String(repeating: "folder/", count: 100) + "file.json"
        #expect(
            InputError(.empty, file: path).description == path + ": is empty")
    }

    /// Bytes count, not characters; and none is cut in the middle.
    @Test(arguments: ["x", "é", "東", "👩‍👩‍👧", "e\u{301}"])
    func partsAreCutBetweenCharacters(_ character: String) {
        let long = String(repeating: character, count: 100_000)
        let text = InputError(
            .badValue, file: "f", item: long, expected: long, found: long, cause: long
        ).description
        #expect(text.utf8.count < 4096)
        #expect(!text.contains("\u{fffd}"))
        // Scalars: a mark behind the cut would make one character of it and the blank before.
        let scalars = text.unicodeScalars
        #expect(scalars.count { $0 == "." } == 6, "two parts are cut, once each")
        let begin = scalars.prefix { $0 != "." }.dropLast()
        #expect(("f: " + long).unicodeScalars.starts(with: begin))
        #expect(begin.reduce(0) { $0 + UTF8.width($1) } > 600)
    }
}
