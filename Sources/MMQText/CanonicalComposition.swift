import Foundation

/// Unicode's normalization form C as the reference has it (tables of Unicode 9).
///
/// Foundation only decomposes single scalars here: its `precomposedStringWithCanonicalMapping`
/// leaves 가 + U+11A8 and U+0CCA + U+0CD5 apart.
enum CanonicalComposition {
    /// The composed form of UTF-8 text.
    static func compose(_ text: [UInt8]) -> [UInt8] {
        let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
        // Nothing below the first combining mark ever changes.
        guard scalars.contains(where: { $0.value >= 0x300 }) else { return text }
        var result = String.UnicodeScalarView()
        result.append(contentsOf: composed(sorted(scalars.flatMap(decomposed))))
        return Array(String(result).utf8)
    }

    /// What came after Unicode 9 neither decomposes nor composes nor is sorted.
    private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x300 || (scalar.properties.age?.major ?? 10) <= 9
    }

    private static func order(_ scalar: Unicode.Scalar) -> UInt8 {
        isKnown(scalar) ? scalar.properties.canonicalCombiningClass.rawValue : 0
    }

    private static func decomposed(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        guard scalar.value >= 0xC0, isKnown(scalar) else { return [scalar] }
        return Array(String(scalar).decomposedStringWithCanonicalMapping.unicodeScalars)
    }

    /// Marks in the order of their classes between scalars of class 0, equal ones as they came.
    private static func sorted(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result = scalars
        var i = 0
        while i < result.count {
            guard order(result[i]) > 0 else {
                i += 1
                continue
            }
            let end = result[i...].firstIndex { order($0) == 0 } ?? result.count
            let run = result[i..<end].enumerated().sorted {
                (order($0.element), $0.offset) < (order($1.element), $1.offset)
            }
            result.replaceSubrange(i..<end, with: run.map(\.element))
            i = end
        }
        return result
    }

    /// Each scalar joins the last one of class 0 before it if the two have a composed form and no
    /// scalar of class 0 or of its own class or a higher one stands between.
    private static func composed(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var starter: Int?
        var last: UInt8 = 0
        for scalar in scalars {
            let order = order(scalar)
            if let place = starter, place == result.count - 1 || (last != 0 && last < order),
                let whole = pair(result[place], scalar)
            {
                result[place] = whole
                continue
            }
            if order == 0 { starter = result.count }
            last = order
            result.append(scalar)
        }
        return result
    }

    /// The composed form of two scalars, if they have one.
    private static func pair(_ a: Unicode.Scalar, _ b: Unicode.Scalar) -> Unicode.Scalar? {
        guard b.value >= 0x300 else { return nil }
        if (0x1100...0x1112).contains(a.value), (0x1161...0x1175).contains(b.value) {
            return Unicode.Scalar(0xAC00 + ((a.value - 0x1100) * 21 + b.value - 0x1161) * 28)
        }
        let syllable = a.value &- 0xAC00
        if syllable < 11172, syllable % 28 == 0, (0x11A8...0x11C2).contains(b.value) {
            return Unicode.Scalar(a.value + (b.value - 0x11A7))
        }
        return wholes[Pair(a, b)]
    }

    private struct Pair: Hashable {
        let first: Unicode.Scalar
        let second: Unicode.Scalar

        init(_ first: Unicode.Scalar, _ second: Unicode.Scalar) {
            self.first = first
            self.second = second
        }
    }

    /// What pairs compose to, Hangul aside: a scalar's decomposition without its last mark is that
    /// of another scalar (or a single one), and with that mark it makes the pair.
    private static let wholes: [Pair: Unicode.Scalar] = {
        var byDecomposition: [[Unicode.Scalar]: Unicode.Scalar] = [:]
        for value in ranges.joined() {
            guard let scalar = Unicode.Scalar(value), !excluded.contains(where: { $0 ~= value })
            else { continue }
            let parts = decomposed(scalar)
            // Of scalars that mean the same (Å and the ångström sign) the first is the composed form.
            if parts.count > 1, order(parts[0]) == 0, byDecomposition[parts] == nil {
                byDecomposition[parts] = scalar
            }
        }
        var wholes: [Pair: Unicode.Scalar] = [:]
        for (parts, whole) in byDecomposition {
            let rest = Array(parts.dropLast())
            guard let first = rest.count == 1 ? rest[0] : byDecomposition[rest] else { continue }
            wholes[Pair(first, parts[parts.count - 1])] = whole
        }
        return wholes
    }()

    /// Where Unicode 9 has scalars that decompose into several.
    private static let ranges: [ClosedRange<UInt32>] = [0xC0...0x30FF, 0x11000...0x115FF]

    /// Unicode's composition exclusions within `ranges`: they decompose for good.
    private static let excluded: [ClosedRange<UInt32>] = [
        0x958...0x95F, 0x9DC...0x9DD, 0x9DF...0x9DF, 0xA33...0xA33, 0xA36...0xA36, 0xA59...0xA5B,
        0xA5E...0xA5E, 0xB5C...0xB5D, 0xF43...0xF43, 0xF4D...0xF4D, 0xF52...0xF52, 0xF57...0xF57,
        0xF5C...0xF5C, 0xF69...0xF69, 0xF76...0xF76, 0xF78...0xF78, 0xF93...0xF93, 0xF9D...0xF9D,
        0xFA2...0xFA2, 0xFA7...0xFA7, 0xFAC...0xFAC, 0xFB9...0xFB9, 0x2ADC...0x2ADC,
    ]
}
