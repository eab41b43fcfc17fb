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
}
