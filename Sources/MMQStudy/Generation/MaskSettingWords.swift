import MMQBase
import MMQModels

/// A setting's name, cut into its parts; what they mean is the architecture's.
struct MaskSettingWords {
    var set: String?
    var core: String
    /// Behind '#'.
    var draw: Int?
    /// Behind '*'.
    var count: Int?
    var domain: Domain?
    var kind: String?

    /// The greatest number of a control.
    static let most = 10_000

    init(_ name: String) throws {
        var rest = name[...]
        if let colon = rest.firstIndex(of: ":") {
            kind = String(rest[rest.index(after: colon)...])
            rest = rest[..<colon]
        }
        if let slash = rest.lastIndex(of: "/") {
            set = String(rest[..<slash])
            rest = rest[rest.index(after: slash)...]
        }
        if let at = rest.firstIndex(of: "@") {
            let text = String(rest[rest.index(after: at)...])
            if let mark = text.first(where: { "*#".contains($0) }) {
                throw Self.fault(name, "'\(mark)' and its number stand in front of '@'")
            }
            guard let found = Domain(rawValue: text) else {
                let names = Domain.allCases.map(\.rawValue).joined(separator: ", ")
                throw Self.fault(name, "'\(text)' is not a domain; the domains are \(names)")
            }
            domain = found
            rest = rest[..<at]
        }
        func number(_ mark: Character) throws -> Int? {
            guard let place = rest.firstIndex(of: mark) else { return nil }
            let text = rest[rest.index(after: place)...]
            guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), text.first != "0",
                let value = Int(text), (1...Self.most).contains(value)
            else {
                throw Self.fault(name, "expected a number from 1 to \(Self.most) behind '\(mark)'")
            }
            rest = rest[..<place]
            return value
        }
        count = try number("*")
        draw = try number("#")
        guard count == nil || draw == nil else {
            throw Self.fault(name, "'#' names one control, '*' says how many: not both")
        }
        core = String(rest)
    }

    /// Of `prefix-lang` the `lang`; nil inside for `prefix` alone, nil if it is neither.
    func base(of prefix: String) -> String?? {
        if core == prefix { return .some(nil) }
        guard core.hasPrefix(prefix + "-") else { return nil }
        return .some(String(core.dropFirst(prefix.count + 1)))
    }

    static func fault(_ name: String, _ problem: String) -> InputError {
        InputError(.badInput, file: "masks", item: name, problem)
    }

    /// Where a setting stands among others.
    struct Order: Comparable {
        var places: [Int]
        var set = ""
        var kind = ""

        static func < (a: Order, b: Order) -> Bool {
            if a.set != b.set { return a.set < b.set }
            if a.places != b.places { return a.places.lexicographicallyPrecedes(b.places) }
            return a.kind < b.kind
        }
    }

    static func order(_ name: String) -> Order {
        let bases = ["none"] + Architectures.maskNames + ["all"]
        let last = Order(places: [.max], set: "\u{10ffff}")
        guard let words = try? MaskSettingWords(name) else { return last }
        var core: String? = words.core
        var control = 0
        for (number, candidate) in MaskSetting.Control.allCases.enumerated() {
            guard let base = words.base(of: candidate.rawValue) else { continue }
            control = number + 1
            core = base
        }
        guard let place = bases.firstIndex(of: core ?? "all") else { return last }
        return Order(
            places: [
                control, core == nil ? -1 : place, words.domain.map { $0.place + 1 } ?? 0,
                words.draw ?? 0,
            ],
            set: words.set ?? "", kind: words.kind ?? "")
    }

    /// The name that these parts make.
    var name: String {
        (set.map { $0 + "/" } ?? "") + core + (draw.map { "#\($0)" } ?? "")
            + (domain.map { "@\($0.rawValue)" } ?? "") + (kind.map { ":" + $0 } ?? "")
    }
}

// MARK: - Names of stored settings

extension MaskSetting {
    /// The set that a stored name takes neurons of; nil for `none` and what is no setting's name.
    public static func set(of name: String) -> SetName? {
        guard let words = try? MaskSettingWords(name), words.core != "none" else { return nil }
        return words.set.map { try? SetName($0) } ?? .usual
    }

    /// What a stored name is called among the neuron sets of every name; nil for `none` and what is
    /// no setting's name.
    static func withoutSet(_ name: String) -> String? {
        guard var words = try? MaskSettingWords(name), words.core != "none" else { return nil }
        words.set = nil
        return words.name
    }

    /// Whether a stored name is that of a control with a number.
    static func isNumbered(_ name: String) -> Bool { numbered(name) != nil }

    /// Of the name of a control with a number: how it was drawn, and what it is a control of.
    static func numbered(_ name: String) -> (name: String, control: String, real: String)? {
        guard var words = try? MaskSettingWords(name), words.draw != nil else { return nil }
        for control in Control.allCases {
            guard let base = words.base(of: control.rawValue) else { continue }
            words.core = base ?? "all"
            words.draw = nil
            return (name, control.rawValue, words.name)
        }
        return nil
    }

    /// The setting without the domain whose neurons it masks, and that domain; nil for `none`, for
    /// controls and for what is no setting's name.
    static func family(_ name: String) -> (name: String, domain: Domain?)? {
        guard var words = try? MaskSettingWords(name), words.core != "none", words.draw == nil,
            !Control.allCases.contains(where: { words.base(of: $0.rawValue) != nil })
        else { return nil }
        let domain = words.domain
        words.domain = nil
        return (words.name, domain)
    }

    /// How a setting with a domain's neurons is called among a domain's answers.
    static func member(of family: String, _ domain: Domain, on bench: Domain) -> String? {
        guard var words = try? MaskSettingWords(family) else { return nil }
        words.domain = domain == bench ? nil : domain
        return words.name
    }
}
