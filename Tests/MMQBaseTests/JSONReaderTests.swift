import MMQBase
import Support
import Testing

private func parse(_ text: String, _ rules: JSONRules = .strict) throws -> JSONValue {
    try JSONValue(parsing: Array(text.utf8), file: "test", rules: rules)
}

/// Both ways over a text: reading all of it and skipping it. They must agree.
private func error(_ bytes: [UInt8], _ rules: JSONRules = .strict) -> InputError? {
    func failure(_ work: () throws -> Void) -> InputError? {
        do {
            try work()
            return nil
        } catch let error as InputError {
            return error
        } catch {
            Issue.record("another error: \(error)")
            return nil
        }
    }
    let read = failure { _ = try JSONValue(parsing: bytes, file: "test", rules: rules) }
    let skipped = failure {
        try bytes.withUnsafeBytes {
            var reader = JSONReader($0, file: "test", rules: rules)
            try reader.skip()
            try reader.finish()
        }
    }
    // Only reading keeps keys, so that it alone knows which of them are there twice.
    if read?.code != .duplicate { #expect(read == skipped) }
    return read
}

@Suite struct JSONReaderTests {
    @Test func values() throws {
        #expect(
            try parse(" [1, -2.5e1, true, null, \"a\\u00e9\\ud83e\\udd99\\n\", {}] ")
                == .array([
                    .integer(1), .number(-25), .bool(true), .null, .string("aé🦙\n"),
                    .object(JSONObject()),
                ]))
        #expect(try parse("\t\r\n {\"a\" : [ ] } \n") == .object(JSONObject([("a", .array([]))])))
        #expect(
            try parse(#""\"\\\/\b\f\n\r\t\u0041\u005a\u005A""#).text == "\"\\/\u{8}\u{c}\n\r\tAZZ")
        #expect(try parse("\"\u{7f}\u{2028}\u{feff}\"").text == "\u{7f}\u{2028}\u{feff}")
        #expect(try parse(#""\u0000""#).bytes == [0])
    }

    @Test(arguments: [
        ("0", 0), ("-0", 0), ("9223372036854775807", Int.max), ("-9223372036854775808", Int.min),
        ("-1", -1), ("1234567890123456789", 1_234_567_890_123_456_789),
    ])
    func integers(_ text: String, _ number: Int) throws {
        #expect(try parse(text) == .integer(number))
    }

    /// What does not fit is a number as near as a double comes; what no double holds is an error.
    @Test(arguments: [
        ("9223372036854775808", 9_223_372_036_854_775_808), ("-9223372036854775809", -0x1p63),
        ("18446744073709551616", 0x1p64), ("99999999999999999999", 1e20),
        ("1000000000000000019884624838656", 1e30), ("1e2", 100), ("1E+2", 100),
        ("5e-324", Double.leastNonzeroMagnitude),
        ("1e-999", 0), ("0.1", 0.1), ("-2.5", -2.5),
        ("1.7976931348623157e308", 1.797_693_134_862_315_7e308),
    ])
    func doubles(_ text: String, _ number: Double) throws {
        #expect(try parse(text) == .number(number))
    }

    @Test(arguments: [
        "", " ", "[", "[1,]", "[,1]", "[1 2]", "[1,,2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}",
        "{a:1}", "{1:2}", "{\"a\":1 \"b\":2}", "{\"a\" 1}", "]", "}", "[}", "{]", "[1}", "01",
        "-01",
        "00", "1.", ".5", "1e", "1e+", "1.e1", "+1", "--1", "-", "0x10", "1_000", "nul", "nulll",
        "True", "tru", "NaN", "Infinity", "-Infinity", "'a'", "\"a", "\"", "\"\\", "\"\\\"",
        "\"\\x\"", "\"\\'\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u+123\"", "\"\\U0041\"", "\"\t\"",
        "\"\n\"", "\"\u{0}\"", "\"12345678\u{1f}\"", "[1] 2", "{} x", "\u{feff}{}", "1e999",
        "-1e999", "// a\n1", "[1] // a", "\u{a0}1", "\u{c}1",
    ])
    func broken(_ text: String) {
        let bytes = Array(text.utf8)
        let found = error(bytes)
        #expect(found?.code == .badHeader && found?.file == "test" && found?.item == "JSON")
        #expect((0...bytes.count).contains(found?.offset ?? -1))
    }

    /// Bytes that are no UTF-8, in a value and in a key.
    @Test(
        arguments: [
            [0x80], [0xff], [0xc3], [0xc3, 0x28], [0xe2, 0x82], [0xe2, 0x28, 0xa1],
            [0xf0, 0x9f, 0x98],
            [0xc0, 0x80], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xe0, 0x9f, 0xbf],
            [0xf0, 0x80, 0x80, 0x80],
            [0xf0, 0x8f, 0xbf, 0xbf], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf],
            [0xf4, 0x90, 0x80, 0x80],
            [0xf5, 0x80, 0x80, 0x80], [0xfe], [0xc3, 0x5c, 0x6e],
            [0xc3, 0x5c, 0x75, 0x30, 0x30, 0x34, 0x31],
        ] as [[UInt8]])
    func notUTF8(_ bytes: [UInt8]) {
        for padding in [0, 5, 20] {
            let text = [UInt8](repeating: 0x61, count: padding) + bytes + [0x61, 0x62]
            #expect(!UTF8Scan.isValid(text) && strictUTF8(text) == nil)
            let quoted = [0x22] + text + [0x22]
            #expect(error(quoted)?.code == .badHeader)
            #expect(error([0x7b] + quoted + Array(":1}".utf8))?.code == .badHeader)
            #expect(error(quoted, .halfPairsReplaced)?.code == .badHeader)
        }
        #expect(error(bytes)?.code == .badHeader)
    }

    @Test func everyScalarIsUTF8() throws {
        for value in UInt32(0)..<0x11_0000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(scalar.utf8)
            if !UTF8Scan.isValid(bytes) || UTF8Scan.isValid(bytes.dropLast()) != (bytes.count == 1)
            {
                Issue.record("U+\(String(value, radix: 16))")
            }
        }
    }

    /// Python's json writes halves of a pair for a text that was cut inside an emoji.
    @Test(arguments: [
        (#""\ud83d\ude00""#, "\u{1f600}", true), (#""\udbff\udfff""#, "\u{10ffff}", true),
        (#""\ud83d\u00e9""#, "\u{fffd}\u{e9}", false), (#""\ud83d""#, "\u{fffd}", false),
        (#""\ude00x""#, "\u{fffd}x", false), (#""\ud83d\n""#, "\u{fffd}\n", false),
        (#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}", false),
        (#""\ud83d\uffff""#, "\u{fffd}\u{ffff}", false),
        (#""\udc00\ud800""#, "\u{fffd}\u{fffd}", false),
    ])
    func halfPairs(_ text: String, _ expected: String, _ whole: Bool) throws {
        #expect(try parse(text, .halfPairsReplaced).bytes == Array(expected.utf8))
        #expect(error(Array(text.utf8)) == nil ? whole : !whole)
        #expect(try parse("{\(text): 1}", .halfPairsReplaced)[expected] == .integer(1))
    }

    @Test(arguments: [#""\ud83d\u00""#, #""\ud83d\u""#, #""\ud83d\"#, #""\ud83d\x""#])
    func halfPairsBeforeBrokenEscapes(_ text: String) {
        #expect(error(Array(text.utf8), .halfPairsReplaced)?.code == .badHeader)
    }

    @Test func keysThatAreThereTwice() throws {
        let text = #"{"a": 1, "b": 2, "\u0061": 3}"#
        let found = error(Array(text.utf8))
        #expect(found?.code == .duplicate && found?.offset == 17 && found?.item == "key 'a'")
        let object = try parse(text, .lastKeyWins)
        #expect(object == .object(JSONObject([("a", .integer(3)), ("b", .integer(2))])))
        // In an object of many keys too.
        let many = (0..<1000).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        #expect(error(Array("{\(many)}".utf8)) == nil)
        #expect(error(Array("{\(many),\"k77\":0}".utf8))?.item == "key 'k77'")
        let last = try parse("{\(many),\"k77\":-1}", .lastKeyWins)
        #expect(last.members?.count == 1000 && last["k77"] == .integer(-1))
        #expect(last.members?[77].key == "k77")
    }

    /// `é` and `e` + U+0301 are one string to Swift and two to every other program.
    @Test func keysAreBytes() throws {
        let composed = "\u{e9}"
        let decomposed = "e\u{301}"
        #expect(composed == decomposed)
        let object = try parse("{\"\(composed)\": 1, \"\(decomposed)\": 2}")
        #expect(object[composed] == .integer(1) && object[decomposed] == .integer(2))
        #expect(object.members?.map { Array($0.key.utf8) } == [[0xc3, 0xa9], [0x65, 0xcc, 0x81]])
        #expect(JSONValue.string(composed) != .string(decomposed))
        #expect(JSONValue.string(composed) == .string("\u{e9}"))
        #expect(
            JSONObject([(composed, .null)]) != JSONObject([(decomposed, .null)]))
        var many = JSONObject((0..<100).map { ("k\($0)", .integer($0)) })
        #expect(many.set(composed, .integer(-1)) && many.set(decomposed, .integer(-2)))
        #expect(!many.set(composed, .integer(-3)) && many.count == 102)
        #expect(many[composed] == .integer(-3) && many[decomposed] == .integer(-2))
        #expect(many["k50"] == .integer(50) && many["k100"] == nil)
    }

    @Test func nestingIsLimited() throws {
        func nested(_ depth: Int, _ open: String, _ close: String) -> [UInt8] {
            Array(
                (String(repeating: open, count: depth) + String(repeating: close, count: depth))
                    .utf8)
        }
        #expect(error(nested(200, "[", "]")) == nil)
        #expect(error(nested(201, "[", "]"))?.code == .tooLarge)
        #expect(error(nested(201, "[", "]"))?.offset == 200)
        #expect(error(nested(1_000_000, "[", ""))?.code == .tooLarge)
        #expect(error(Array(String(repeating: "{\"a\":", count: 300).utf8))?.code == .tooLarge)
        let shallow = JSONRules(maximumDepth: 2)
        #expect(error(Array("[[],{}]".utf8), shallow) == nil)
        #expect(error(Array("[[[]]]".utf8), shallow)?.code == .tooLarge)
        // Side by side is not deep.
        #expect(error(Array("[\(String(repeating: "[[]],", count: 500))1]".utf8)) == nil)
    }

    /// Errors show where, and a few bytes of what is there, nothing that a terminal would obey.
    @Test func errorsShowAPlace() {
        let found = error(Array("[1, \u{1b}[2Jé".utf8) + Array(repeating: 0x61, count: 1000))
        #expect(found?.offset == 4)
        #expect(found?.found == #"'\x1b[2J\xc3\xa9aaaaaa'"#)
        #expect(error(Array("[1".utf8))?.found == "the end")
    }
}

/// Walking a document, and hostile ones.
@Suite struct JSONWalkTests {
    private let text = #"""
        {"info": {"a": [1, {"b": "}"}]}, "rows": [{"id": 7, "q": "\"x\\"}, {"id": 8, "q": "é"}],
         "more": [true, null, -1.5e3]}
        """#

    @Test func offsetsCanBeReadLater() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("t.json", text: text)
        let file = try MappedFile(path: path)
        var places: [Int] = []
        var ids: [Int] = []
        var reader = JSONReader(file)
        try reader.object { reader, key in
            guard key == "rows" else {
                try reader.skip()
                return
            }
            try reader.array { reader, number in
                #expect(number == places.count)
                places.append(reader.offset)
                try reader.object { reader, key in
                    if key == "id" { ids.append(try reader.int("id")) } else { try reader.skip() }
                }
            }
        }
        try reader.finish()
        #expect(ids == [7, 8])
        var second = JSONReader(file, at: places[1])
        #expect(try second.value()["q"]?.text == "é")
        var part = JSONReader(file, in: 9..<31)
        #expect(try part.skip() == 9..<31)
        try part.finish()
        var first = JSONReader(file, at: places[0])
        #expect(throws: InputError.self) { try first.array { _, _ in } }
        #expect(throws: InputError.self) { _ = try first.int("id") }
    }

    @Test func wrongKindsNameWhatWasAskedFor() throws {
        func reader(_ text: StaticString) -> JSONReader {
            JSONReader(
                UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount),
                file: "test")
        }
        var number = reader(" 1.5")
        let int = #expect(throws: InputError.self) { _ = try number.int("id") }
        #expect(int?.description == "test: id is not an integer (at byte 1)")
        var list = reader("[]")
        let text = #expect(throws: InputError.self) { _ = try list.text("name") }
        #expect(text?.description == "test: name is not a string (at byte 0)")
        #expect(throws: InputError.self) { try list.object { _, _ in } }
    }

    /// A document that ends anywhere is an error at or before its end.
    @Test func cutAtEveryByte() throws {
        let bytes = Array(text.utf8)
        #expect(error(bytes) == nil)
        for length in 0..<bytes.count {
            let found = try #require(error(Array(bytes[..<length])), "\(length)")
            #expect(found.code == .badHeader && (found.offset ?? .max) <= length)
        }
    }

    /// Whatever the bytes are: an error, or a value that is written and read as itself.
    @Test func randomMutations() throws {
        var random = SplitMix64(seed: 11)
        func number(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
        let good = Array(text.utf8)
        let tokens = ["{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "d83d", "0", "-", "e", "."]
            .map { Array($0.utf8) }
        var read = 0
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0...number(4) {
                let at = number(bytes.count)
                switch number(4) {
                case 0: bytes[at] = UInt8(number(256))
                case 1: bytes.replaceSubrange(at..<at, with: tokens[number(tokens.count)])
                case 2: bytes.removeSubrange(at..<min(bytes.count, at + 1 + number(5)))
                default: bytes.replaceSubrange(at..<at, with: bytes[at..<min(bytes.count, at + 9)])
                }
                if bytes.isEmpty { break }
            }
            for rules in [JSONRules.strict, .lastKeyWins, .halfPairsReplaced] {
                if error(bytes, rules) == nil {
                    let value = try JSONValue(parsing: bytes, file: "test", rules: rules)
                    for style in [JSONStyle.compact, .python] {
                        let again = Array(value.encoded(style).utf8)
                        #expect(try JSONValue(parsing: again, file: "again") == value)
                    }
                    read += 1
                }
            }
        }
        #expect(read > 100)
    }
}
