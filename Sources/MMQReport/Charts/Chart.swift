import Foundation

/// A drawing with its words: what a reader sees, hears or copies.
///
/// All charts are drawn 360 units wide, about a phone's width, and stand side by side on wider
/// pages, so that their text has one size everywhere.
struct Chart {
    /// The width of every chart.
    static let width = 360.0

    /// The heading above it.
    var title: String
    /// What it shows, in a sentence, for readers who do not see it.
    var summary: String
    /// The drawing's height.
    var height: Double
    /// The drawing.
    var drawing: SVGDrawing
    /// The same numbers.
    var table: PageTable
}

/// Elements of a drawing.
///
/// Colours are classes of the page's style, so that they follow dark mode and print.
struct SVGDrawing {
    private(set) var body = Markup.empty

    /// A number of at most two places.
    static func f(_ value: Double) -> String {
        guard value.isFinite else { return "0" }
        let rounded = (value * 100).rounded() / 100
        return rounded == rounded.rounded()
            ? String(Int(max(-1e6, min(1e6, rounded)))) : String(format: "%.2f", rounded)
    }

    mutating func rect(
        _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String,
        opacity: Double? = nil, tip: String? = nil
    ) {
        let f = Self.f
        body += element(
            .rect,
            [
                "x": f(x), "y": f(y), "width": f(max(0, width)), "height": f(max(0, height)),
                "class": style, "fill-opacity": opacity.map { String(format: "%.3f", $0) },
            ]
        ) {
            if let tip { element(.title) { tip } }
        }
    }

    mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) {
        let f = Self.f
        body += element(
            .line, ["x1": f(x1), "y1": f(y1), "x2": f(x2), "y2": f(y2), "class": style])
    }

    /// `style` may name `end` or `mid` for where the text is anchored.
    mutating func text(_ text: String, _ x: Double, _ y: Double, _ style: String = "") {
        body += element(.text, ["x": Self.f(x), "y": Self.f(y), "class": style]) { text }
    }

    mutating func polyline(_ points: [(Double, Double)], _ style: String) {
        guard points.count > 1 else { return }
        body += element(.polyline, ["points": Self.list(points), "class": style])
    }

    mutating func polygon(_ points: [(Double, Double)], _ style: String) {
        body += element(.polygon, ["points": Self.list(points), "class": style])
    }

    /// One of five shapes, so that lines differ without their colours.
    mutating func mark(_ shape: Int, _ x: Double, _ y: Double, _ style: String, size r: Double = 3)
    {
        let f = Self.f
        switch shape % 5 {
        case 0:
            body += element(.circle, ["cx": f(x), "cy": f(y), "r": f(r), "class": style])
        case 1: rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8, style)
        case 2:
            polygon(
                [(x, y - r * 1.2), (x + r * 1.1, y + r * 0.8), (x - r * 1.1, y + r * 0.8)], style)
        case 3:
            polygon(
                [(x, y - r * 1.3), (x + r * 1.3, y), (x, y + r * 1.3), (x - r * 1.3, y)], style)
        default:
            polygon(
                [(x, y + r * 1.2), (x + r * 1.1, y - r * 0.8), (x - r * 1.1, y - r * 0.8)], style)
        }
    }

    private static func list(_ points: [(Double, Double)]) -> String {
        points.map { "\(f($0.0)),\(f($0.1))" }.joined(separator: " ")
    }
}

/// Numbers from `low` to `high` on a line of the drawing.
struct ChartScale {
    let low: Double
    let high: Double
    let start: Double
    let end: Double

    /// A scale whose ends are ticks.
    ///
    /// - Parameters:
    ///   - least: the least distance of its ends; equal values are no reason to show their last
    ///     digits.
    ///   - most: where it ends though a tick may lie beyond: shares are at most 100 per cent.
    init(
        _ values: [Double], from start: Double, to end: Double, ticks wanted: Int = 4,
        least: Double = 0, most: Double? = nil
    ) {
        let values = values.filter(\.isFinite)
        let bottom = values.min() ?? 0
        let span = max(least, abs(bottom) * 0.02)
        let peak = max(values.max() ?? 1, bottom + (span > 0 ? span : 1e-3))
        let step = Self.step(bottom, peak, wanted)
        low = (bottom / step).rounded(.down) * step
        var top = (peak / step - 1e-9).rounded(.up) * step
        if let most, values.allSatisfy({ $0 <= most }), low < most { top = min(top, most) }
        high = top > low ? top : low + step
        self.start = start
        self.end = end
    }

    /// A scale with these ends.
    init(low: Double, high: Double, from start: Double, to end: Double) {
        self.low = low
        self.high = high > low ? high : low + 1
        self.start = start
        self.end = end
    }

    func callAsFunction(_ value: Double) -> Double {
        start + (value - low) / (high - low) * (end - start)
    }

    /// 1, 2 or 5 times a power of ten.
    private static func step(_ low: Double, _ high: Double, _ wanted: Int) -> Double {
        let rough = max(high - low, abs(high) * 1e-6, 1e-9) / Double(wanted)
        let power = pow(10, log10(rough).rounded(.down))
        return ([1, 2, 5].map { $0 * power }.first { $0 >= rough * 0.999 }) ?? 10 * power
    }

    /// Round numbers within the scale, and the places that they need.
    func ticks(_ wanted: Int = 4) -> (values: [Double], places: Int) {
        let step = Self.step(low, high, wanted)
        let first = Int((low / step - 1e-9).rounded(.up))
        let last = Int((high / step + 1e-9).rounded(.down))
        let places = max(0, -Int((log10(step) + 1e-9).rounded(.down)))
        return ((first...max(first, last)).map { Double($0) * step }, places)
    }
}
