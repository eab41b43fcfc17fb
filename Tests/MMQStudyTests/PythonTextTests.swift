import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQStudy

@Suite struct PythonTextTests {
    @Test func stringsPrintAsInPython() throws {
        for entry in try Golden.json("study/printing.json").at("strings").list() {
            let entry = try entry.texts()
            #expect(pythonRepr(entry[0]) == entry[1])
        }
    }

    @Test func everyCharacterIsEscapedLikePython() throws {
        var value: UInt64 = 0
        for code in UInt32(0)..<0x110000 {
            guard let scalar = Unicode.Scalar(code) else { continue }
            let length = pythonRepr(String(scalar)).unicodeScalars.count
            value = value &* 31 &+ UInt64(length)
        }
        let hex = String(value, radix: 16)
        let golden = try Golden.json("study/printing.json").at("every character").text
        #expect(String(repeating: "0", count: 16 - hex.count) + hex == golden)
    }

    @Test func numbersPrintAsInPython() throws {
        for entry in try Golden.json("study/printing.json").at("numbers").list() {
            let entry = try entry.list()
            #expect(pythonRepr(try entry[0].double()) == entry[1].text)
        }
        #expect(pythonRepr(Double.nan) == "nan")
        #expect(pythonRepr(-Double.infinity) == "-inf")
    }

    @Test func cellsAreThoseOfPandas() throws {
        let folder = try TemporaryFolder()
        for (number, entry) in try Golden.json("study/csv.json").list().enumerated() {
            let text = try #require(entry["text"]?.text)
            try folder.write("\(number).csv", text: text)
            let table = try CSVFile(path: folder.path + "/\(number).csv")
            #expect(table.header == (try entry.at("header").texts()), "\(text)")
            let rows = try entry.at("rows").list()
            #expect(table.count == rows.count, "\(text)")
            for (row, expected) in rows.enumerated().prefix(table.count) {
                let cells = try table.row(row)
                let expected = try expected.list().map { try $0.texts() }
                #expect(cells.map(\.printed) == expected.map { $0[0] }, "\(text)")
                #expect(cells.map(\.repr) == expected.map { $0[1] }, "\(text)")
            }
        }
    }

    @Test(arguments: ["a,b\n1,2,3\n", "a,b\n1,\"2\n", "a,b\n1,2\n3,4,5\n", ""])
    func brokenTablesAreErrors(text: String) throws {
        let folder = try TemporaryFolder()
        try folder.write("t.csv", text: text)
        #expect(throws: InputError.self) { try CSVFile(path: folder.path + "/t.csv") }
    }

    @Test(arguments: [
        "{\"questions\": [", "{\"questions\": [{},]}", "{\"questions\": [01]}",
        "{\"questions\": []} x",
        "{\"questions\": [\"\u{1}\"]}", "{\"questions\": [tru]}", "{\"questions\": [1.]}", "[1]",
        "",
        "{\"questions\": [\"\\x\"]}", "{\"other\": []}", "{\"questions\" [1]}",
        "{\"questions\": [1 2]}",
        "{\"questions\": [\"\\ud83d\\u00\"]}", "\u{feff}{\"questions\": []}",
    ])
    func brokenJSONIsAnError(text: String) throws {
        let folder = try TemporaryFolder()
        try folder.write("t.json", text: text)
        let file = try MappedFile(path: folder.path + "/t.json")
        #expect(throws: InputError.self) {
            try readList("questions", of: file) { reader, _ in _ = try reader.value() }
        }
    }
}
