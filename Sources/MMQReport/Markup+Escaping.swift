import Foundation
import MMQBase

extension Markup {
    /// A text as HTML content or as an attribute's value in double quotes.
    ///
    /// Control characters, and those that turn the direction of what follows, become U+FFFD: a name
    /// must not rearrange the page.
    static func escaped(_ text: String) -> String {
        var out = ""
        out.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "'": out += "&#39;"
            case "\n", "\t": out.unicodeScalars.append(scalar)
            default: out.unicodeScalars.append(isRefused(scalar) ? "\u{FFFD}" : scalar)
            }
        }
        return out
    }

    /// What no page may contain: what a reader obeys rather than shows, and what HTML forbids.
    fileprivate static func isRefused(_ scalar: Unicode.Scalar) -> Bool {
        scalar.isUnruly || scalar.value == 0xFFFE || scalar.value == 0xFFFF
    }
}

/// The content of a script or a style: what is ours, or JSON that cannot end its element.
struct Verbatim {
    /// The characters.
    let text: String

    /// A file of this module's resources, which a test knows to be free of end tags.
    init(resource: [UInt8]) { text = "\n" + String(decoding: resource, as: UTF8.self) }

    /// A document as JSON without `<`, `>`, `&` and anything unruly, all written as escapes. They
    /// occur in JSON inside texts alone.
    ///
    /// - Throws: what encoding throws.
    init(json document: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let json = String(decoding: try encoder.encode(document), as: UTF8.self)
        var out = ""
        out.reserveCapacity(json.utf8.count)
        for scalar in json.unicodeScalars {
            switch scalar {
            case "<": out += "\\u003c"
            case ">": out += "\\u003e"
            case "&": out += "\\u0026"
            default:
                if Markup.isRefused(scalar) {
                    out += String(format: "\\u%04x", scalar.value)
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        text = out
    }
}
