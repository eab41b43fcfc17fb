import Foundation
import MMQBase
import Testing

@Suite("What a terminal gets to see")
struct ShownTextTests {
    @Test func escapesWhatATerminalObeys() {
        #expect(shown("a\u{1b}[31mb\r") == #"a\u001b[31mb\u000d"#)
        #expect(shown("\u{9b}2J\u{7f}") == #"\u009b2J\u007f"#)
        #expect(shown("\u{202e}abc\u{2066}\u{2028}") == #"\u202eabc\u2066\u2028"#)
        #expect(shown("two\nlines\tand tabs") == "two\nlines\tand tabs")
        #expect(shown("two\nlines", lines: false) == #"two\u000alines"#)
        #expect(shown("Grüße, 東京 👩‍👩‍👧 e\u{301}") == "Grüße, 東京 👩‍👩‍👧 e\u{301}")
    }

    /// No C0, C1 or bidirectional control is left of any text, and JSON says the same as before.
    @Test func jsonStaysWhatItIs() throws {
        let text = (0..<0x2100).compactMap { Unicode.Scalar($0) }.map(String.init).joined()
        let document = String(decoding: try JSONEncoder().encode([text]), as: UTF8.self)
        let safe = shown(document)
        #expect(
            !safe.unicodeScalars.contains {
                $0.value < 0x20 || (0x7f..<0xa0).contains($0.value)
                    || $0.properties.isBidiControl
            })
        #expect(try JSONDecoder().decode([String].self, from: Data(safe.utf8)) == [text])
    }
}
