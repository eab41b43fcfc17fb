import MMQBase
import Support
import Testing

@Suite struct JSONWriterTests {
    private let value = JSONValue.array([
        .null, .bool(true), .integer(-7), .number(1e-5), .number(2500),
        .string("é\"\\\n\u{1}\u{7f}"),
        .object(JSONObject([("b", .array([])), ("a\t", .object(JSONObject()))])),
    ])

    /// Model files hold this spelling, and their bytes identify models.
    @Test func compact() {
        #expect(
            value.encoded(.compact)
                == #"[null,true,-7,1e-05,2500.0,"é\"\\\u000a\u0001"# + "\u{7f}"
                + #"",{"b":[],"a\u0009":{}}]"#)
    }

    @Test func python() {
        #expect(
            value.jsonLine
                == #"[null, true, -7, 1e-05, 2500.0, "é\"\\\n\u0001"# + "\u{7f}"
                + #"", {"b": [], "a\t": {}}]"#)
        #expect(
            JSONValue.array([.number(.nan), .number(.infinity), .number(-.infinity)]).jsonLine
                == "[NaN, Infinity, -Infinity]")
        #expect(jsonString("a/\r\t\u{8}\u{1f}") == #""a/\r\t\u0008\u001f""#)
    }

    @Test func readsAsWritten() throws {
        let text =
            #"{"a": [1, -2.5e3, true, null, "\u00e9\ud83d\ude00\"\n"], "b": {"c": 12345678901234567890}}"#
        let value = try JSONValue(parsing: Array(text.utf8), file: "test")
        let expected =
            #"{"a": [1, -2500.0, true, null, "é😀\"\n"], "b": {"c": 1.2345678901234567e+19}}"#
        #expect(value.jsonLine == expected)
    }

    /// Studies hold these hashes of their benches.
    @Test func contentHashes() throws {
        let folder = try TemporaryFolder()
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325), ("a", 0xbfaac9fc31821f67),
            ("12345678", 0x67598a20b10ba650), ("123456789", 0x5498f393b56ba3f8),
        ] as [(String, UInt64)] {
            let file = try MappedFile(path: folder.write("f", text: text))
            #expect(file.contentHash() == hash, "\(text)")
        }
    }
}
