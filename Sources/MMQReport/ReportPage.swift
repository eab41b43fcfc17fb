import Foundation
import MMQBase
import MMQModels
import MMQStudy

/// A report as one HTML file: no network, no library, readable without its script, on paper, in the
/// dark and on a phone.
public final class ReportPage {
    let document: ReportDocument
    private var body = ""
    private var charts = 0

    /// A page of a document.
    public init(_ document: ReportDocument) { self.document = document }

    /// The file's bytes.
    ///
    /// - Throws: what encoding a lens as JSON throws.
    public func html() throws -> [UInt8] {
        body = ""
        charts = 0
        writeHeader()
        writeNeurons()
        writeOverlap()
        writeEntropies()
        writeScores()
        writeLens()
        try writePictures()
        writeDeviations()
        writeComparisons()
        writeFacts()
        let title = PageText.escaped(document.title)
        // What the policy forbids cannot happen by mistake: nothing is ever fetched.
        let policy =
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            + "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        let text = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="\(policy)">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <meta name="generator" content="mmq report">
            <title>\(title) – mmq report</title>
            <style>\(ReportStyle.css)</style>
            </head>
            <body>
            \(body)
            <script>\(ReportScript.javaScript)</script>
            </body>
            </html>

            """
        return Array(text.utf8)
    }

    // MARK: - Pieces

    /// Adds HTML.
    func add(_ html: String) { body += html + "\n" }

    /// A section with a heading.
    func section(_ id: String, _ title: String, _ intro: String, _ content: () throws -> Void)
        rethrows
    {
        add("<section id=\"\(id)\" aria-labelledby=\"\(id)-h\">")
        add("<h2 id=\"\(id)-h\">\(title)</h2>")
        if !intro.isEmpty { add("<p class=\"intro\">\(intro)</p>") }
        try content()
        add("</section>")
    }

    /// What to run for a section that has nothing to show.
    func missing(_ what: String, _ commands: String...) {
        let list = commands.map { "<code>\(PageText.escaped($0))</code>" }
        add("<p class=\"missing\">\(what) \(list.joined(separator: ", then "))</p>")
    }

    /// Charts side by side, as many as there is room for, or two where the first two belong
    /// together.
    func row(_ charts: [Chart], inPairs: Bool = false) {
        guard !charts.isEmpty else { return }
        add("<div class=\"charts\(inPairs ? " pairs" : "")\">")
        for chart in charts { add(figure(chart)) }
        add("</div>")
    }

    private func figure(_ chart: Chart) -> String {
        charts += 1
        let id = "chart-\(charts)"
        return """
            <figure class="chart"><figcaption>\(PageText.escaped(chart.title))</figcaption>
            <svg viewBox="0 0 \(SVGDrawing.f(Chart.width)) \(SVGDrawing.f(chart.height))" \
            role="img" aria-labelledby="\(id)-t \(id)-d"><title \
            id="\(id)-t">\(PageText.escaped(chart.title))</title><desc \
            id="\(id)-d">\(PageText.escaped(chart.summary))</desc>\(chart.drawing.body)</svg>
            <details><summary>Numbers</summary>\(chart.table.html)</details></figure>
            """
    }

    /// A legend of lines with their marks.
    func legend(_ entries: [(name: String, color: String, shape: Int, isDashed: Bool)]) {
        let items = entries.map { entry -> String in
            var drawing = SVGDrawing()
            drawing.line(
                0, 6, 26, 6, "line s-\(entry.color)" + (entry.isDashed ? " dashed" : ""))
            drawing.mark(entry.shape, 13, 6, "f-\(entry.color) mark")
            return "<li><svg viewBox=\"0 0 26 12\" aria-hidden=\"true\">\(drawing.body)</svg>"
                + PageText.escaped(entry.name) + "</li>"
        }
        add("<ul class=\"legend\">\(items.joined())</ul>")
    }

    /// One entry per domain.
    func legend(_ domains: [Domain], _ name: (Domain) -> String) {
        legend(domains.map { (name($0), $0.colorClass, $0.place, false) })
    }

    /// A table that folds.
    func fold(_ title: String, _ table: PageTable) {
        add(
            "<details class=\"more\"><summary>\(PageText.escaped(title))</summary>"
                + "\(table.html)</details>")
    }

    /// A text from outside, kept from changing the direction of its surroundings.
    func foreign(_ text: String) -> String { "<bdi>\(PageText.escaped(text))</bdi>" }

    /// The study's file as an argument of a command.
    var studyArgument: String { "--study " + Self.quoted(document.facts.file) }

    /// A word of a shell command.
    static func quoted(_ text: String) -> String {
        let isPlain = text.unicodeScalars.allSatisfy {
            ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
                || "-_./+,=:".unicodeScalars.contains($0)
        }
        return isPlain && !text.isEmpty
            ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }

    // MARK: - Head

    private func writeHeader() {
        let facts = document.facts
        add("<header><p class=\"kicker\">mmq · multimodal neurons, quantized</p>")
        add("<h1>\(foreign(document.title))</h1>")
        var line: [String] = []
        if let model = facts.fingerprint {
            line.append("model <code>\(PageText.escaped(model))</code>")
        }
        if let model = facts.model {
            line.append(PageText.escaped(Self.types(model)))
        }
        line.append("report of \(PageText.escaped(document.made.prefix(10).description))")
        add("<p class=\"byline\">\(line.joined(separator: " · "))</p>")
        writeTiles()
        let sections = [
            ("neurons", "Neurons"), ("overlap", "Overlap"), ("entropy", "Selectivity"),
            ("scores", "Scores"), ("lens", "Lens"), ("pictures", "Pictures"),
            ("deviation", "Deviation"), ("fidelity", "Fidelity"), ("facts", "Facts"),
        ]
        let links = sections.map { "<a href=\"#\($0.0)\">\($0.1)</a>" }
        add("<nav aria-label=\"Sections\">\(links.joined())</nav></header><main>")
    }

    /// The type of each file's matrices: norms and biases are f32 in every model.
    private static func types(_ model: ReportFacts.Model) -> String {
        [ModelFileRole.language, .vision].map(\.rawValue).compactMap { file in
            let weights = model.weights.filter { $0.file == file }
            let matrices = weights.filter { $0.type != "F32" }
            return (matrices.isEmpty ? weights : matrices)
                .max { ($0.tensors, $0.bytes) < ($1.tensors, $1.bytes) }
                .map { "\(file) \($0.type)" }
        }.joined(separator: ", ")
    }

    private func writeTiles() {
        let identified = document.modules.filter(\.isIdentified)
        let counted = Set(document.facts.passes.map(\.domain)).count
        let all = identified.reduce(0) { $0 + $1.module.layers * $1.module.neurons }
        let selected = identified.reduce(0) { $0 + $1.selected }
        let answered = document.facts.answers.reduce(0) { $0 + $1.answered }
        let settings = Set(document.facts.answers.map(\.setting)).count
        let lensSamples = document.lens.reduce(0) { $0 + $1.pass.samples }
        let tiles: [(String, String)] = [
            (PageText.whole(counted), counted == 1 ? "domain counted" : "domains counted"),
            (PageText.whole(selected), "of \(PageText.whole(all)) neurons selected"),
            (
                PageText.whole(answered),
                "answers under \(settings) mask setting\(settings == 1 ? "" : "s")"
            ),
            (PageText.whole(lensSamples), "samples under the lens"),
        ]
        let items = tiles.map {
            "<li><strong>\($0.0)</strong><span>\(PageText.escaped($0.1))</span></li>"
        }
        add("<ul class=\"tiles\">\(items.joined())</ul>")
    }
}
