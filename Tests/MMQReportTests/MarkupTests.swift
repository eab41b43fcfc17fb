import Foundation
import Testing

@testable import MMQReport

/// Walks through the tags of a page.
enum TagStack {
    struct Unbalanced: Error { var problem: String }

    /// Fails unless every element is closed in its place, and every attribute is a name with a
    /// value in double quotes.
    static func check(_ page: String) throws {
        var open: [Substring] = []
        var rest = page[...]
        while let start = rest.firstIndex(of: "<") {
            rest = rest[start...].dropFirst()
            if rest.hasPrefix("!DOCTYPE html>") { continue }
            guard let end = rest.firstIndex(of: ">") else { throw Unbalanced(problem: "no end") }
            let tag = rest[..<end]
            rest = rest[end...].dropFirst()
            if tag.hasPrefix("/") {
                let name = open.popLast()
                guard name == tag.dropFirst() else {
                    throw Unbalanced(problem: "<\(tag)> closes \(name ?? "nothing")")
                }
                continue
            }
            let form = #/([a-z0-9]+)(?: [a-zA-Z0-9-]+="[^"]*")*(\/?)/#
            guard let found = tag.wholeMatch(of: form)
            else { throw Unbalanced(problem: "<\(tag)> is no tag") }
            let name = found.1
            if ["script", "style"].contains(name) {
                guard let close = rest.range(of: "</\(name)>") else {
                    throw Unbalanced(problem: "<\(name)> is not closed")
                }
                rest = rest[close.upperBound...]
            } else if found.2.isEmpty, !["meta", "img"].contains(name) {
                open.append(name)
            }
        }
        guard open.isEmpty else { throw Unbalanced(problem: "left open: \(open)") }
    }
}

@Suite struct MarkupTests {
    @Test func textsAndAttributesAreEscaped() {
        let evil = "\"><script>'&"
        let piece = element(.p, ["class": evil, "id": nil, "hidden": ""]) {
            evil
            element(.b) { "a" }
            for number in 1...2 { "\(number)<" }
            if evil.isEmpty { "never" } else { element(.img, ["alt": evil]) }
        }
        let safe = "&quot;&gt;&lt;script&gt;&#39;&amp;"
        #expect(
            piece.source
                == "<p class=\"\(safe)\" hidden=\"\">\(safe)<b>a</b>1&lt;2&lt;<img alt=\"\(safe)\">\n</p>\n"
        )
    }

    @Test func drawingsEndThemselves() {
        var drawing = SVGDrawing()
        drawing.rect(0, 1, 2, -1, "hit", tip: "<")
        drawing.line(0, 0, 1, 1, "x")
        #expect(
            drawing.body.source
                == "<rect x=\"0\" y=\"1\" width=\"2\" height=\"0\" class=\"hit\">"
                + "<title>&lt;</title></rect>"
                + "<line x1=\"0\" y1=\"0\" x2=\"1\" y2=\"1\" class=\"x\"/>")
    }

    @Test func theCheckOfTagsFindsWhatIsWrong() throws {
        try TagStack.check("<!DOCTYPE html>\n<p class=\"a\">x<img alt=\"\"><rect x=\"1\"/></p>")
        for wrong in [
            "<p>", "</p>", "<p><b></p></b>", "<p class=a></p>", "<p", "<script>", "< p></p>",
            "<p onclick=\"x\" y></p>",
        ] {
            #expect(throws: TagStack.Unbalanced.self, "\(wrong)") { try TagStack.check(wrong) }
        }
    }

    /// Nothing escapes script and style: they must not hold what would end them.
    @Test func resourcesCannotEndTheirElements() {
        for bytes in [PackageResources.report_css, PackageResources.report_js] {
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text.utf8.count == bytes.count && text.utf8.count > 1000)
            for end in ["</", "<!--", "<script", "\u{FFFD}", "\u{0}"] {
                #expect(!text.contains(end), "\(end)")
            }
        }
    }

    /// Brackets of the style close, and every variable that it uses is there, in the dark and on
    /// paper too.
    @Test func theStyleIsWhole() throws {
        var css = String(decoding: PackageResources.report_css, as: UTF8.self)
        css.replace(#/\/\*(?s:.)*?\*\//#, with: "")
        css.replace(#/"[^"\n]*"/#, with: "\"\"")
        var open: [Character] = []
        let pairs: [Character: Character] = ["}": "{", ")": "(", "]": "["]
        for character in css {
            if "{([".contains(character) { open.append(character) }
            if let start = pairs[character] {
                #expect(open.popLast() == start, "\(character)")
            }
        }
        #expect(open.isEmpty)
        func names(_ text: Substring) -> Set<Substring> {
            Set(text.matches(of: #/(--[a-z0-9-]+):/#).map { $0.1 })
        }
        let roots = css.matches(of: #/:root \{([^}]*)\}/#).map { names($0.1) }
        #expect(roots.count == 3 && Set(roots).count == 1)
        let used = Set(css.matches(of: #/var\((--[a-z0-9-]+)/#).map { $0.1 })
        // --p: set by the script, with a value in case it is not.
        #expect(used.subtracting(["--p"]) == roots[0])
    }
}
