import MMQBase
import MMQModels

/// Which neurons are masked, and how: `[SET/]SETTING[@DOMAIN][:KIND]`.
///
/// SETTING is `none`, one of the architecture's (`lang`, ...) or `all`; `random` and `matched`, or
/// `random-lang`, name controls, `random#3` the third of them. `lang` masks the neurons of the domain
/// that the questions are of, `lang@med` those of medicine whatever they are of. KIND is an
/// ``Intervention``, `zero` where none is named. SET names neuron sets beside the usual ones.
public struct MaskSetting: Hashable, Sendable {
    /// Neurons that stand in for the identified ones: a control, with as many in each layer.
    public enum Control: String, Hashable, Sendable, CaseIterable {
        /// Each choice equally likely.
        case random
        /// Neurons that fire about as often in the set's domain, and are not in the set.
        case matched
    }

    /// The neuron sets.
    public let set: SetName
    /// The setting without set, domain and kind: `lang`, or `random-lang#3`.
    public let core: String
    /// The modules whose neurons are masked; empty for `none`.
    public let modules: [String]
    /// What stands in for the identified neurons; nil if they are masked themselves.
    public let control: Control?
    /// Which of the controls, from 1; nil for the one that the run's seed draws.
    public let draw: Int?
    /// Whose neurons; nil for those of the domain that the questions are of.
    public let domain: Domain?
    /// What is done to them.
    public let intervention: Intervention

    /// The name, in the command line, in a study and as the name of an exported file: one for each
    /// setting, however it was spelt.
    public var name: String {
        (set.isUsual ? "" : set.name + "/") + core + (domain.map { "@\($0.rawValue)" } ?? "")
            + (intervention == .zero ? "" : ":" + intervention.word)
    }

    /// Whether other neurons stand in for the identified ones.
    public var isRandom: Bool { control != nil }
    /// Whether nothing is masked.
    public var isNone: Bool { modules.isEmpty }
    /// The setting that a control is one of; the setting itself if it is none.
    public var real: MaskSetting {
        guard let control else { return self }
        let tail = core.dropFirst(control.rawValue.count + 1)
        let base = String(tail.prefix { $0 != "#" })
        return MaskSetting(
            set: set, core: core.hasPrefix(control.rawValue + "-") ? base : "all", modules: modules,
            control: nil, draw: nil, domain: domain, intervention: intervention)
    }

    /// The settings of a model: `none`, those of its architecture in the order of the official
    /// code, `all`, and the control of all, `random`.
    public static func standard(of architecture: any Architecture) -> [MaskSetting] {
        ([("none", [])] + masking(architecture))
            .map { MaskSetting(core: $0, modules: $1) }
            + [MaskSetting(core: "random", modules: masking(architecture).last?.1 ?? [], .random)]
    }

    /// Names and modules of the settings that mask identified neurons; the last is `all`.
    private static func masking(_ architecture: any Architecture) -> [(String, [String])] {
        architecture.masks.map { ($0.name, $0.modules) }
            + [("all", architecture.modules.map(\.name))]
    }

    /// The setting called `name`.
    ///
    /// - Parameter set: the neuron sets where the name has none.
    /// - Throws: `InputError`, `.badInput` naming the settings of the model.
    public init(
        name: String, of architecture: any Architecture, set: SetName = .usual
    ) throws {
        let words = try MaskSettingWords(name)
        guard words.count == nil else {
            throw MaskSettingWords.fault(name, "'*' names several settings where one is wanted")
        }
        self = try Self.setting(words, name, architecture, set)
    }

    /// The settings of a list with commas, each once: names of settings, `random*N` and `matched*N`
    /// (also `random-lang*N`) for N controls, `matrix` for no mask and every setting with the neurons
    /// of every domain, `matrix-lang` for those of one setting.
    ///
    /// - Parameters:
    ///   - domains: whose neurons `matrix` masks.
    ///   - set: the neuron sets where a name has none.
    /// - Throws: `InputError`, `.badInput` naming the settings of the model.
    public static func list(
        _ list: String, of architecture: any Architecture, domains: [Domain],
        set: SetName = .usual
    ) throws -> [MaskSetting] {
        var settings: [MaskSetting] = []
        for part in list.split(separator: ",", omittingEmptySubsequences: false) {
            let name = String(part.filter { $0 != " " })
            let words = try MaskSettingWords(name)
            let several: [MaskSetting]
            if let base = words.base(of: "matrix") {
                guard words.domain == nil, words.count == nil, words.draw == nil else {
                    throw MaskSettingWords.fault(name, "matrix takes every domain's neurons")
                }
                let cores = base.map { [$0] } ?? masking(architecture).map(\.0)
                several =
                    [MaskSetting(core: "none", modules: [])]
                    + (try cores.flatMap { core in
                        try domains.map { domain in
                            var words = words
                            words.core = core
                            words.domain = domain
                            return try setting(words, name, architecture, set)
                        }
                    })
            } else if let count = words.count {
                several = try (1...count).map { draw in
                    var words = words
                    words.count = nil
                    words.draw = draw
                    return try setting(words, name, architecture, set)
                }
            } else {
                several = [try setting(words, name, architecture, set)]
            }
            for setting in several where !settings.contains(setting) { settings.append(setting) }
        }
        return settings
    }

    /// Things in the order of the settings that they are called after, whatever the model; others
    /// last, as they came.
    public static func sorted<T>(_ things: [T], by name: (T) -> String) -> [T] {
        things.enumerated().map { place, thing in
            (MaskSettingWords.order(name(thing)), place, thing)
        }
        .sorted { ($0.0, $0.1) < ($1.0, $1.1) }.map(\.2)
    }

    private init(
        set: SetName = .usual, core: String, modules: [String], _ control: Control? = nil
    ) {
        self.init(
            set: set, core: core, modules: modules, control: control, draw: nil, domain: nil,
            intervention: .zero)
    }

    private init(
        set: SetName, core: String, modules: [String], control: Control?, draw: Int?,
        domain: Domain?, intervention: Intervention
    ) {
        self.set = set
        self.core = core
        self.modules = modules
        self.control = control
        self.draw = draw
        self.domain = domain
        self.intervention = intervention
    }

    private static func setting(
        _ words: MaskSettingWords, _ name: String, _ architecture: any Architecture, _ set: SetName
    ) throws -> MaskSetting {
        func unknown() -> InputError {
            InputError(
                .badInput, file: "masks", item: name,
                "no such setting; this model has "
                    + standard(of: architecture).map(\.name).joined(separator: ", ")
                    + ", and random-<setting> or matched-<setting> for a control of one of them")
        }
        let masking = masking(architecture)
        if words.core == "none" {
            guard words.set == nil, words.domain == nil, words.kind == nil, words.draw == nil else {
                throw MaskSettingWords.fault(name, "nothing is masked by none")
            }
            return MaskSetting(core: "none", modules: [])
        }
        var core = words.core
        var control: Control?
        for candidate in Control.allCases {
            guard let base = words.base(of: candidate.rawValue) else { continue }
            control = candidate
            core = base ?? "all"
        }
        guard let modules = masking.first(where: { $0.0 == core })?.1 else { throw unknown() }
        if let control {
            // The control of all has one name only.
            core = core == "all" ? control.rawValue : "\(control.rawValue)-\(core)"
        }
        if let draw = words.draw {
            guard control != nil else {
                throw MaskSettingWords.fault(name, "only controls have numbers")
            }
            core += "#\(draw)"
        }
        return MaskSetting(
            set: try words.set.map(SetName.init) ?? set, core: core, modules: modules,
            control: control, draw: words.draw, domain: words.domain,
            intervention: try words.kind.map { try intervention($0, name) } ?? .zero)
    }

    private static func intervention(_ kind: String, _ name: String) throws -> Intervention {
        let found = try Intervention(kind, source: "mask '\(name)'")
        if case .mean(let domain?) = found, Domain(rawValue: domain) == nil {
            throw MaskSettingWords.fault(name, "'\(domain)' is not a domain")
        }
        return found
    }

    /// The setting as it is called among a domain's answers: `lang@med` is `lang` there where the
    /// questions are medical.
    public func on(_ domain: Domain) -> MaskSetting {
        guard self.domain == domain else { return self }
        return MaskSetting(
            set: set, core: core, modules: modules, control: control, draw: draw, domain: nil,
            intervention: intervention)
    }
}
