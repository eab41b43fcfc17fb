import MMQModels
import MMQStudy

/// The neurons that a study found for its domains: [module][domain], a list per layer.
public struct NeuronSets: Sendable {
    /// A module's neurons of each domain, in the order of the domains.
    public let modules: [String: [(domain: Domain, layers: [[Int]])]]

    /// None.
    public init() { modules = [:] }

    /// Those of a study under a set's name; modules where none were looked for have none.
    ///
    /// - Throws: `InputError` if the study cannot be read or does not fit itself.
    public init(of study: Study, set: SetName, modules: [ModuleShape]) throws {
        try study.checkSet(set)
        var found: [String: [(domain: Domain, layers: [[Int]])]] = [:]
        for module in modules {
            guard let identification = try study.identification(module: module.name, set: set)
            else { continue }
            found[module.name] = identification.domains.compactMap { domain in
                identification.neurons(of: domain).map { (domain, $0) }
            }
        }
        self.modules = found
    }

    /// The neurons of any domain in a layer, each once, ascending.
    func neurons(module: String, layer: Int) -> [Int] {
        Set((modules[module] ?? []).flatMap { $0.layers[layer] }).sorted()
    }

    /// The domains that a neuron belongs to.
    func domains(module: String, layer: Int, neuron: Int) -> [Domain] {
        (modules[module] ?? []).filter { $0.layers[layer].contains(neuron) }.map(\.domain)
    }
}
