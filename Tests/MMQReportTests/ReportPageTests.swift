import Foundation
import MMQBase
import MMQFormats
import MMQModels
import MMQStudy
import StudySupport
import Support
import Testing

@testable import MMQReport

#if canImport(FoundationXML)
    import FoundationXML
#endif

/// Collects the names of an XML document's elements; any problem with its form is an error.
private final class Elements: NSObject, XMLParserDelegate {
    var names: [String] = []

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
        qualifiedName: String?, attributes: [String: String] = [:]
    ) { names.append(name) }

    static func read(_ xml: String) throws -> [String] {
        let elements = Elements()
        let parser = XMLParser(data: Data(xml.utf8))
        parser.delegate = elements
        guard parser.parse() else {
            throw InputError(
                .failed, file: "svg", "\(parser.parserError.map { "\($0)" } ?? "")\n\(xml)")
        }
        return elements.names
    }
}

@Suite struct ReportPageTests {
    static let nasty = [
        "</script><script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a & b 'c' \"d\"",
        "<!-- <script>", "line\u{2028}end\u{2029}", "\u{202E}txt.lmth\u{202C}", "nul\u{0}\u{1B}[0m",
        "]]>", "\\u003c/script>", "&lt;b&gt;", "🙂 ▁ ﷽",
    ]

    private func parts(_ page: String, from start: String, to end: String) -> [String] {
        page.components(separatedBy: start).dropFirst().compactMap {
            $0.components(separatedBy: end).first
        }
    }

    @Test func textsFromOutsideStayTexts() throws {
        for text in Self.nasty {
            let safe = Markup(text).source
            #expect(!safe.contains { "<>\"'".contains($0) }, "\(safe)")
            #expect(!safe.unicodeScalars.contains { (0x2028...0x202E).contains($0.value) })
            #expect(!safe.unicodeScalars.contains { $0.value < 32 })
            let json = try Verbatim(json: [text]).text
            #expect(
                !json.unicodeScalars.contains { "<>&\u{2028}\u{2029}".unicodeScalars.contains($0) })
            #expect(try JSONDecoder().decode([String].self, from: Data(json.utf8)) == [text])
        }
        #expect(Markup("a<b>&\"'").source == "a&lt;b&gt;&amp;&quot;&#39;")
    }

    @Test func nastyNamesDoNotBreakThePage() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let name = "\"><script>alert(1)<script>&'\u{202E}.sqlite"
        let study = try ReportFixture.study(folder.path + "/" + name, model)
        let words = Self.nasty
        let lens = PictureLens(
            name: Self.nasty[0], prompt: words.joined(), model: Self.nasty[1],
            values: LensValues(
                layers: 2, top: 2, inputIDs: [0, 1, 2], isImage: [false, true, false],
                topIDs: (0..<12).map { Int32($0 % words.count) },
                topProbabilities: Array(repeating: 0.25, count: 12),
                entropies: [1, 2, 3, 4, 5, 6]),
            top: 2, limit: 1 << 20, word: { words[Int($0)] })
        let page = String(
            decoding: try ReportPage(
                try ReportDocument(
                    study, others: [study], pictures: [lens],
                    options: ReportOptions(title: Self.nasty.joined()))
            ).html(), as: UTF8.self)
        // Everything that is opened is closed; no text has become a tag.
        try TagStack.check(page)
        // Script elements are ours: the data of one picture, and the script.
        #expect(page.components(separatedBy: "<script").count == 3)
        #expect(page.components(separatedBy: "</script").count == 3)
        #expect(!page.contains("<img"))
        #expect(!page.contains("onerror=alert(1)>"))
        #expect(page.components(separatedBy: "<!--").count == 1)
        let marks = page.unicodeScalars.filter { (0x2028...0x202E).contains($0.value) }
        #expect(marks.isEmpty)
        // The words come out of the page as they went in.
        let data = try #require(
            parts(page, from: "<script type=\"application/json\">", to: "</script>").first)
        let packed = try JSONValue(parsing: Array(data.utf8), file: "page")
        let shown = try #require(packed["words"]?.array).map { try #require($0.text) }
        #expect(shown.allSatisfy(words.contains))
        #expect(shown.count == words.count)
    }

    @Test func theFileStandsAlone() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let model = try LensFixture.model(in: folder)
        let study = try ReportFixture.study(folder.path + "/a.sqlite", model)
        let lens = try PictureLens(
            path: Golden.folder + "/llava-next/images/wide.png", prompt: "<image>\nWhy?",
            model: model)
        let document = try ReportDocument(
            study, others: [study], pictures: [lens], options: ReportOptions(title: "T"))
        let page = String(decoding: try ReportPage(document).html(), as: UTF8.self)
        for address in ["http:", "https:", "@import", "url(", "<link", "<base", "<iframe"] {
            #expect(!page.contains(address), "\(address)")
        }
        #expect(parts(page, from: "src=\"", to: "\"").allSatisfy { $0.hasPrefix("data:image/") })
        #expect(page.contains("default-src &#39;none&#39;"))
        #expect(page.contains("prefers-color-scheme: dark"))
        #expect(page.contains("@media print"))
        #expect(page.contains("name=\"viewport\""))
        #expect(!page.contains("nan"))
        #expect(!page.contains("inf\""))
        // A piece of markup that got into a text would show as Swift describes it.
        #expect(!page.contains("Markup("))
        // Every id once, and every link inside the page leads somewhere.
        let ids = parts(page, from: " id=\"", to: "\"")
        #expect(Set(ids).count == ids.count)
        for link in parts(page, from: "href=\"#", to: "\"") { #expect(ids.contains(link)) }
    }

    @Test func everyChartHasWordsAndNumbers() throws {
        kernelSettings.lock()
        defer { kernelSettings.unlock() }
        let folder = try TemporaryFolder()
        let study = try ReportFixture.study(
            folder.path + "/a.sqlite", LensFixture.model(in: folder), sweep: true)
        let page = String(
            decoding: try ReportPage(try ReportDocument(study, others: [study])).html(),
            as: UTF8.self)
        let figures = parts(page, from: "<figure class=\"chart\">", to: "</figure>")
        // Bars, overlap and entropies of three modules; two for the stability of each, for the
        // decoder's by positions too; their neurons by rate; four of the lens; two of the deviation.
        #expect(figures.count > 33)
        for figure in figures {
            let svg = try #require(parts(figure, from: "<svg", to: "</svg>").first)
            let names = try Elements.read("<svg" + svg + "</svg>")
            #expect(Array(names.prefix(3)) == ["svg", "title", "desc"])
            #expect(names.count > 5)
            #expect(svg.contains("role=\"img\""))
            let table = try #require(parts(figure, from: "<table>", to: "</table>").first)
            #expect(try Elements.read("<table>" + table + "</table>").contains("td"))
            // Nothing is drawn outside the chart.
            for key in [" x=\"", " x1=\"", " x2=\"", " cx=\""] {
                for value in parts(svg, from: key, to: "\"") {
                    let x = try #require(Double(value))
                    #expect((-2...Chart.width + 2).contains(x), "\(key)\(value)")
                }
            }
        }
    }

    @Test func scalesEndAtRoundNumbers() {
        for values in [
            [0.0, 0.0], [5.15, 5.34], [0, 100], [-3.2, 7], [1e-9, 2e-9], [99.99, 100],
        ] {
            let scale = ChartScale(values, from: 100, to: 0)
            #expect(scale.low <= (values.min() ?? 0) && scale.high >= (values.max() ?? 0))
            let ticks = scale.ticks().values
            #expect((2...12).contains(ticks.count), "\(values) \(ticks)")
            #expect(ticks.allSatisfy { $0 >= scale.low - 1e-9 && $0 <= scale.high + 1e-9 })
            #expect(scale(scale.low) == 100 && abs(scale(scale.high)) < 1e-9)
        }
        #expect(ChartScale([.nan, 3, .infinity], from: 0, to: 1).high.isFinite)
    }

    @Test func linesRunAlongWhatTheyAreGiven() throws {
        func chart(_ places: [Double]) -> Chart {
            LineChart(
                title: "t", summary: "s",
                series: [.init(name: "a", color: "c0", shape: 0, values: places.map { _ in 0.5 })],
                axis: "y", format: { PageText.percent($0) }, isShare: true,
                along: .init(
                    name: "pictures", labels: places.map { PageText.number($0, 0) }, places: places)
            ).chart
        }
        let source = chart([1, 2, 4, 35]).drawing.body.source
        #expect(source.contains("pictures 35\na: 50.0"))
        // A mark at each place, in the places' distances.
        let marks = parts(source, from: "<circle cx=\"", to: "\"").compactMap(Double.init)
        #expect(marks.count == 4)
        for (mark, place) in zip(marks, [1.0, 2, 4, 35]) {
            #expect(abs(mark - (54 + (place - 1) / 34 * 288)) < 0.01)
        }
        #expect(
            chart([1, 2, 4, 35]).table.rows == [
                ["1", "50.0"], ["2", "50.0"], ["4", "50.0"], ["35", "50.0"],
            ])
        // Lines on one another: the lower one's marks look out from below.
        let equal = LineChart(
            title: "t", summary: "s",
            series: (0..<3).map {
                .init(name: "\($0)", color: "c\($0)", shape: 0, values: [1, $0 == 2 ? 5 : 1])
            }, axis: "y", format: { PageText.number($0) },
            along: .init(name: "rate", labels: ["1", "2"])
        ).chart.drawing.body.source
        #expect(
            parts(equal, from: " r=\"", to: "\"") == ["5.40", "4.20", "4.20", "3", "3", "3"])
        // Labels that would touch are left out, never the last.
        let dense = chart((1...100).map(Double.init)).drawing.body.source
        let labels = parts(dense, from: "y=\"201\" class=\"mid num\">", to: "<")
        #expect(labels.last == "100" && (5...30).contains(labels.count))
    }

    @Test func numbersAsTheyAreWritten() {
        #expect(PageText.number(-0.00001, 2) == "0.00")
        #expect(PageText.number(-1.5, 1) == "\u{2212}1.5")
        #expect(PageText.number(1.5, 1, sign: true) == "+1.5")
        #expect(PageText.number(nil) == "–" && PageText.number(.nan) == "–")
        #expect(PageText.whole(0) == "0" && PageText.whole(-1234567) == "-1,234,567")
        #expect(PageText.whole(999) == "999" && PageText.whole(1000) == "1,000")
        #expect(PageText.size(1_500_000) == "1.5 MB")
        #expect(LineChart.ticks(32).last == 31 && LineChart.ticks(1) == [0])
        #expect(ForestChart.shortened("random-lang:me") == "random-lang:me")
        #expect(ForestChart.shortened("top-rate=0.02/lang") == "top-ra…02/lang")
    }
}
