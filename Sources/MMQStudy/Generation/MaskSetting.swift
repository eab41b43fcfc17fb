import MMQBase
import MMQModels

/// Which modules' domain-specific neurons are off while answering.
public struct MaskSetting: Hashable, Sendable {
    /// The name, in the command line, in a study and as the name of an exported file.
    public let name: String
    /// The modules whose neurons are off; empty for `none`.
    public let modules: [String]
    /// Whether as many neurons, drawn at random, stand in for the identified ones: the control.
    public let isRandom: Bool

    /// The settings of a model: `none`, those of its architecture in the order of the official
    /// code, `all`, and the control of all, `random`.
    public static func standard(of architecture: any Architecture) -> [MaskSetting] {
        let all = architecture.modules.map(\.name)
        let own = architecture.masks.map { ($0.name, $0.modules) }
        return ([("none", [])] + own + [("all", all)])
            .map { MaskSetting(name: $0, modules: $1, isRandom: false) }
            + [MaskSetting(name: "random", modules: all, isRandom: true)]
    }

    /// Things in the order of the settings that they are called after, whatever the model; others
    /// last, as they came.
    public static func sorted<T>(_ things: [T], by name: (T) -> String) -> [T] {
        let order = ["none"] + Architectures.maskNames + ["all", "random"]
        return things.enumerated().sorted {
            let (a, b) = (
                order.firstIndex(of: name($0.element)), order.firstIndex(of: name($1.element))
            )
            return (a ?? order.count, $0.offset) < (b ?? order.count, $1.offset)
        }.map(\.element)
    }

    /// The setting called `name`: one of `standard`, or `random-<setting>` for the control of one
    /// of them.
    ///
    /// - Throws: `InputError`, `.badInput` naming the settings of the model.
    public init(name: String, of architecture: any Architecture) throws {
        let standard = Self.standard(of: architecture)
        if let found = standard.first(where: { $0.name == name }) {
            self = found
            return
        }
        let prefix = "random-"
        let base = standard.first { $0.name == name.dropFirst(prefix.count) }
        if name.hasPrefix(prefix), let base, !base.isRandom, !base.modules.isEmpty {
            // The control of all has one name only.
            self =
                base.name == "all"
                ? MaskSetting(name: "random", modules: base.modules, isRandom: true)
                : MaskSetting(name: name, modules: base.modules, isRandom: true)
            return
        }
        throw InputError(
            .badInput, file: "masks", item: name,
            "no such setting; this model has " + standard.map(\.name).joined(separator: ", ")
                + ", and random-<setting> for the control of one of them")
    }

    private init(name: String, modules: [String], isRandom: Bool) {
        self.name = name
        self.modules = modules
        self.isRandom = isRandom
    }

    /// The neurons that are off for a domain: for each module one ascending list per layer.
    ///
    /// - Parameters:
    ///   - study: holds the neuron sets.
    ///   - seed: for the control; the same seed draws the same neurons.
    /// - Throws: `InputError`, `.mismatch` naming the module that nothing was identified in.
    public func neurons(
        of domain: Domain, in study: Study, seed: UInt64
    ) throws -> [String: [[Int]]] {
        var off: [String: [[Int]]] = [:]
        for name in modules {
            guard let found = try study.identification(module: name) else {
                throw InputError(
                    .mismatch, file: study.path, item: name,
                    "the mask setting '\(self.name)' needs this module's neurons: "
                        + "run \(CommandHint.identify(name)) first")
            }
            guard let layers = found.neurons(of: domain) else {
                throw InputError(
                    .mismatch, file: study.path, item: name,
                    "the mask setting '\(self.name)' needs this module's neurons of "
                        + "\(domain.rawValue), which \(CommandHint.identify(name)) did not compare")
            }
            off[name] =
                isRandom
                ? layers.enumerated().map { layer, real in
                    Self.draw(
                        real.count, of: found.module.neurons,
                        seed: seedHash(seed, domain.rawValue, self.name, name, String(layer)))
                } : layers
        }
        return off
    }

    /// `count` different numbers below `range`, each choice equally likely, ascending: Floyd's
    /// method (Bentley and Floyd, A sample of brilliance, 1987).
    static func draw(_ count: Int, of range: Int, seed: UInt64) -> [Int] {
        var generator = SplitMix64(seed: seed)
        var drawn: Set<Int> = []
        for last in max(0, range - count)..<range {
            let candidate = generator.number(below: last + 1)
            drawn.insert(drawn.contains(candidate) ? last : candidate)
        }
        return drawn.sorted()
    }
}

/// A seed of its own for each place that draws: FNV-1a over the run's seed and the names of the
/// place, mixed once more so that neighbours share no bits.
func seedHash(_ seed: UInt64, _ parts: String...) -> UInt64 {
    var hash = StableHash()
    // 0 ends a part: no name holds it, so ("a", "bc") and ("ab", "c") differ.
    for part in [String(seed)] + parts {
        hash.add(part.utf8)
        hash.add(UInt8(0))
    }
    var generator = SplitMix64(seed: hash.value)
    return generator.next()
}
