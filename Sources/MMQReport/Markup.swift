/// A piece of a page: HTML that is well formed and whose texts are escaped, by construction.
///
/// A text becomes markup by being escaped, an element by `element`, which opens and closes its tag
/// and escapes its attributes. Nothing else makes markup, so no caller escapes by hand. What cannot
/// be escaped (a script, a style) comes in as `Verbatim`.
struct Markup: Sendable {
    /// The piece as it stands in the file.
    private(set) var source: String

    /// Nothing.
    static let empty = Markup(trusted: "")

    /// A text.
    init(_ text: String) { source = Self.escaped(text) }

    /// The door for what is markup already: open to the builder alone.
    fileprivate init(trusted source: String) { self.source = source }

    /// Pieces one after the other.
    init(@MarkupBuilder _ content: () throws -> Markup) rethrows { self = try content() }

    /// Puts a piece behind another.
    static func += (markup: inout Markup, piece: Markup) { markup.source += piece.source }
}

/// Puts pieces together: texts are escaped, markup stays as it is, and lists, conditions and loops
/// of them follow one another.
@resultBuilder enum MarkupBuilder {
    static func buildExpression(_ text: String) -> Markup { Markup(text) }
    static func buildExpression(_ piece: Markup) -> Markup { piece }
    static func buildExpression(_ pieces: [Markup]) -> Markup { buildArray(pieces) }
    static func buildBlock(_ pieces: Markup...) -> Markup { buildArray(pieces) }
    static func buildOptional(_ piece: Markup?) -> Markup { piece ?? .empty }
    static func buildEither(first piece: Markup) -> Markup { piece }
    static func buildEither(second piece: Markup) -> Markup { piece }
    static func buildArray(_ pieces: [Markup]) -> Markup {
        pieces.reduce(into: .empty) { $0 += $1 }
    }
}

// MARK: - Elements

/// The attributes of an element, in the order in which they are written. Names are the page's own
/// words; values are texts, escaped here. nil leaves one out, `""` is for one that is just there.
typealias Attributes = KeyValuePairs<StaticString, String?>

/// The elements of a page.
enum Tag: String {
    case html, head, meta, title, style, body, script
    case header, nav, main, section, article, div, details, summary
    case h1, h2, h3, h4, p, pre, ul, li, dl, dt, dd, figure, figcaption
    case a, b, bdi, code, img, mark, small, span, strong
    case table, caption, thead, tbody, tr, th, td
    case svg, defs, desc, use, image, circle, line, polygon, polyline, rect, text

    /// Has no content and no end, by HTML's rules.
    fileprivate var isVoid: Bool { self == .meta || self == .img }

    /// A shape of a drawing: ends itself where it has no content.
    fileprivate var isShape: Bool {
        switch self {
        case .circle, .image, .line, .polygon, .polyline, .rect, .use: true
        default: false
        }
    }

    /// Ends its line of the file. All others might stand in a line with their neighbours, where
    /// the end of a line would show as a space.
    fileprivate var endsLine: Bool {
        switch self {
        case .html, .head, .meta, .style, .body, .script, .header, .main, .section, .article, .div,
            .details, .h1, .h2, .h3, .h4, .p, .pre, .ul, .dl, .figure, .img:
            true
        default: false
        }
    }
}

/// An element: the only place where a tag is opened and closed.
///
/// - Parameter content: what stands in it.
func element(
    _ tag: Tag, _ attributes: Attributes = [:],
    @MarkupBuilder _ content: () throws -> Markup
) rethrows -> Markup {
    let content = try content().source
    var out = "<\(tag.rawValue)"
    for (name, value) in attributes {
        if let value { out += " \(name)=\"\(Markup.escaped(value))\"" }
    }
    if tag.isShape, content.isEmpty {
        out += "/>"
    } else {
        out += tag.isVoid ? ">" : ">\(content)</\(tag.rawValue)>"
    }
    if tag.endsLine { out += "\n" }
    return Markup(trusted: out)
}

/// An element with nothing in it.
func element(_ tag: Tag, _ attributes: Attributes) -> Markup {
    element(tag, attributes) { Markup.empty }
}

/// A script or a style. Its content is not escaped, because a browser reads it as it stands, up to
/// the end tag.
func element(_ tag: Tag, _ attributes: Attributes, _ content: Verbatim) -> Markup {
    element(tag, attributes) { Markup(trusted: content.text) }
}

/// A whole file: the document type in front of its root element.
func page(_ attributes: Attributes, @MarkupBuilder _ content: () throws -> Markup) rethrows
    -> Markup
{
    let root = try element(.html, attributes, content)
    return Markup(trusted: "<!DOCTYPE html>\n" + root.source)
}
