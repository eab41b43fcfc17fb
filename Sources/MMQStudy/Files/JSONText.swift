import MMQBase
import MMQFormats

extension JSONValue {
    /// The text, if this is a string.
    public var asText: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    /// The elements, if this is a list.
    public var asList: [JSONValue]? {
        if case .array(let elements) = self { return elements }
        return nil
    }

    /// The number, if this is an integer.
    public var asInteger: Int? {
        if case .integer(let number) = self { return Int(exactly: number) }
        return nil
    }

    /// JSON on one line, spaced as Python's `json.dumps(..., ensure_ascii=False)`. What JSON cannot
    /// express (NaN, infinity) is written as Python writes it.
    public var jsonLine: String {
        var out = ""
        write(to: &out)
        return out
    }

    private func write(to out: inout String) {
        switch self {
        case .null: out += "null"
        case .bool(let flag): out += flag ? "true" : "false"
        case .integer(let number): out += String(number)
        case .number(let number):
            if number.isNaN {
                out += "NaN"
            } else if number.isInfinite {
                out += number < 0 ? "-Infinity" : "Infinity"
            } else {
                out += pythonRepr(number)
            }
        case .string(let text): out += jsonString(text)
        case .array(let elements):
            out += "["
            for (i, element) in elements.enumerated() {
                if i > 0 { out += ", " }
                element.write(to: &out)
            }
            out += "]"
        case .object(let object):
            out += "{"
            for (i, member) in object.members.enumerated() {
                if i > 0 { out += ", " }
                out += jsonString(member.key)
                out += ": "
                member.value.write(to: &out)
            }
            out += "}"
        }
    }
}
