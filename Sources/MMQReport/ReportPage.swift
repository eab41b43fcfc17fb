import Foundation
import MMQBase
import MMQModels
import MMQStudy

/// A report as one HTML file: no network, no library, readable without its script, on paper, in the
/// dark and on a phone.
///
/// The script (`Resources/report.js`) is for the lens over single pictures; everything else needs
/// none. It puts texts into the page as text nodes only. Colours of the domains in the style
/// (`Resources/report.css`) are Okabe and Ito's (Color Universal Design, 2008), darker or lighter
/// where a thin line on this background needs it; each domain also has a mark of its own.
public final class ReportPage {
    let document: ReportDocument
    let commands: ReportCommands
    /// Charts so far: each has a number, which its words refer to.
    private var charts = 0

    /// A page of a document.
    ///
    /// - Parameter commands: what it says about the command line.
    public init(_ document: ReportDocument, commands: ReportCommands = ReportCommands()) {
        self.document = document
        self.commands = commands
    }

    /// The file's bytes.
    ///
    /// - Throws: what encoding a lens as JSON throws.
    public func html() throws -> [UInt8] {
        charts = 0
        let file = try page(["lang": "en"]) {
            head
            try element(.body) {
                header
                try element(.main) {
                    neurons
                    overlap
                    entropies
                    gallery
                    stability
                    scores
                    claims
                    sweeps
                    lens
                    try pictures()
                    deviations
                    comparisons
                    facts
                }
                element(.script, [:], Verbatim(resource: PackageResources.report_js))
            }
        }
        return Array(file.source.utf8)
    }

    private var head: Markup {
        // What the policy forbids cannot happen by mistake: nothing is ever fetched.
        let policy =
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            + "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        return element(.head) {
            element(.meta, ["charset": "utf-8"])
            element(.meta, ["http-equiv": "Content-Security-Policy", "content": policy])
            element(
                .meta, ["name": "viewport", "content": "width=device-width, initial-scale=1"])
            element(.meta, ["name": "color-scheme", "content": "light dark"])
            element(.meta, ["name": "generator", "content": "mmq report"])
            element(.title) { "\(document.title) – mmq report" }
            element(.style, [:], Verbatim(resource: PackageResources.report_css))
        }
    }

    // MARK: - Pieces

    /// A section with a heading.
    func section(
        _ id: String, _ title: String, _ intro: Markup? = nil,
        @MarkupBuilder _ content: () throws -> Markup
    ) rethrows -> Markup {
        try element(.section, ["id": id, "aria-labelledby": "\(id)-h"]) {
            element(.h2, ["id": "\(id)-h"]) { title }
            if let intro { element(.p, ["class": "intro"]) { intro } }
            try content()
        }
    }

    /// A paragraph of small print.
    func note(@MarkupBuilder _ content: () -> Markup) -> Markup {
        element(.p, ["class": "note"], content)
    }

    /// A paragraph in place of something that is not there.
    func missing(_ what: String) -> Markup { element(.p, ["class": "missing"]) { what } }

    /// What to run for a section that has nothing to show.
    func missing(_ what: String, _ gaps: ReportCommands.Gap...) -> Markup {
        element(.p, ["class": "missing"]) {
            what + " "
            for (place, command) in gaps.compactMap({ commands.filling[$0] }).enumerated() {
                if place > 0 { ", then " }
                code(command)
            }
        }
    }

    /// Charts side by side, as many as there is room for, or two where the first two belong
    /// together.
    func row(_ charts: [Chart], inPairs: Bool = false) -> Markup {
        guard !charts.isEmpty else { return .empty }
        return element(.div, ["class": inPairs ? "charts pairs" : "charts"]) {
            for chart in charts { figure(chart) }
        }
    }

    /// A chart with its words and numbers.
    func figure(_ chart: Chart) -> Markup {
        charts += 1
        let id = "chart-\(charts)"
        let size = "\(SVGDrawing.f(Chart.width)) \(SVGDrawing.f(chart.height))"
        return element(.figure, ["class": "chart"]) {
            element(.figcaption) { chart.title }
            element(
                .svg,
                ["viewBox": "0 0 \(size)", "role": "img", "aria-labelledby": "\(id)-t \(id)-d"]
            ) {
                element(.title, ["id": "\(id)-t"]) { chart.title }
                element(.desc, ["id": "\(id)-d"]) { chart.summary }
                chart.drawing.body
            }
            element(.details) {
                element(.summary) { "Numbers" }
                chart.table.markup
            }
        }
    }

    /// A legend of lines with their marks.
    func legend(_ entries: [(name: String, color: String, shape: Int)]) -> Markup {
        element(.ul, ["class": "legend"]) {
            for entry in entries {
                element(.li) {
                    element(.svg, ["viewBox": "0 0 26 12", "aria-hidden": "true"]) {
                        sample(entry.color, entry.shape)
                    }
                    entry.name
                }
            }
        }
    }

    private func sample(_ color: String, _ shape: Int) -> Markup {
        var drawing = SVGDrawing()
        drawing.line(0, 6, 26, 6, "line s-\(color)")
        drawing.mark(shape, 13, 6, "f-\(color) mark")
        return drawing.body
    }

    /// One entry per domain.
    func legend(_ domains: [Domain], _ name: (Domain) -> String) -> Markup {
        legend(domains.map { (name($0), $0.colorClass, $0.place) })
    }

    /// A table that folds.
    func fold(_ title: String, _ table: PageTable) -> Markup {
        element(.details, ["class": "more"]) {
            element(.summary) { title }
            table.markup
        }
    }

    /// A text from outside, kept from changing the direction of its surroundings.
    func foreign(_ text: String) -> Markup { element(.bdi) { text } }

    /// Something to type, or a fingerprint.
    func code(_ text: String) -> Markup { element(.code) { text } }

    /// Each name once, in the order of its first.
    func unique(_ names: [String]) -> [String] {
        names.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    /// A spot of a domain's colour.
    func swatch(_ domain: Domain) -> Markup {
        element(.span, ["class": "swatch b-\(domain.colorClass)"])
    }

    // MARK: - Head

    private var header: Markup {
        let facts = document.facts
        return element(.header) {
            element(.p, ["class": "kicker"]) { "mmq · multimodal neurons, quantized" }
            element(.h1) { foreign(document.title) }
            element(.p, ["class": "byline"]) {
                if let model = facts.fingerprint {
                    "model "
                    code(model)
                    " · "
                }
                if let model = facts.model { Self.types(model) + " · " }
                "report of \(document.made.prefix(10))"
            }
            tiles
            element(.nav, ["aria-label": "Sections"]) {
                for (id, name) in Self.sections { element(.a, ["href": "#\(id)"]) { name } }
            }
        }
    }

    private static let sections = [
        ("neurons", "Neurons"), ("overlap", "Overlap"), ("entropy", "Selectivity"),
        ("gallery", "Gallery"), ("stability", "Stability"), ("scores", "Scores"),
        ("claims", "Claims"), ("sweep", "Sweeps"),
        ("lens", "Lens"), ("pictures", "Pictures"), ("deviation", "Deviation"),
        ("fidelity", "Fidelity"), ("facts", "Facts"),
    ]

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

    private var tiles: Markup {
        let identified = document.modules.filter(\.isIdentified)
        let counted = Set(document.facts.passes.map(\.domain)).count
        let all = identified.reduce(0) { $0 + $1.module.layers * $1.module.neurons }
        let selected = identified.reduce(0) { $0 + $1.selected }
        let answered = document.facts.answers.reduce(0) { $0 + $1.answered }
        let settings = Set(document.facts.answers.map(\.setting)).count
        let lensSamples = document.lens.reduce(0) { $0 + $1.pass.samples }
        let tiles: [(Int, String)] = [
            (counted, counted == 1 ? "domain counted" : "domains counted"),
            (selected, "of \(PageText.whole(all)) neurons selected"),
            (answered, "answers under \(settings) mask setting\(settings == 1 ? "" : "s")"),
            (lensSamples, "samples under the lens"),
        ]
        return element(.ul, ["class": "tiles"]) {
            for (number, what) in tiles {
                element(.li) {
                    element(.strong) { PageText.whole(number) }
                    element(.span) { what }
                }
            }
        }
    }
}
