import Foundation
import MMQBase
import MMQModels
import MMQStudy

/// What is kept of an answer's passes, for heat maps.
struct PassRecord: Sendable {
    /// What the page calls it.
    let id: String
    /// The prompt's tokens as the vocabulary spells them, image placeholders included, and the
    /// answer's behind them.
    let words: [String]
    /// Which of the prompt's positions hold image tokens.
    let isImage: [Bool]
    /// [module]: how its rows lie in the picture, a tower's tile by tile.
    let grids: [[PictureGrid]]
    let activations: KeptActivations
}

/// The last passes, the oldest forgotten first.
struct PassShelf {
    /// How many are kept: two answers that are compared, and two before.
    private static let limit = 4
    private var passes: [PassRecord] = []

    mutating func put(_ pass: PassRecord) {
        passes.append(pass)
        if passes.count > Self.limit { passes.removeFirst() }
    }

    subscript(id: String) -> PassRecord? { passes.last { $0.id == id } }
}

extension PassRecord {
    static func json(_ value: some Encodable) -> JSONValue {
        guard let data = try? JSONEncoder().encode(value),
            let json = try? JSONValue(parsing: [UInt8](data), file: "page")
        else { return .null }
        return json
    }

    /// Neurons of sets that are told for a position.
    private static let mostNeurons = 24

    /// A neuron over the pass.
    ///
    /// - Returns: the values in the order of the rows, and for a module that is not the decoder
    ///   how they lie in the picture; nil if the neuron was not kept.
    func neuron(_ neuron: Int, layer: Int, module: Int, isDecoder: Bool) -> JSONValue? {
        guard let values = activations.column(module: module, layer: layer, neuron: neuron) else {
            return nil
        }
        var told = JSONObject([
            ("values", .array(values.map { $0.isFinite ? .number(Double($0)) : .null }))
        ])
        if !isDecoder { told.set("grids", Self.json(grids[module])) }
        return .object(told)
    }

    /// The neurons of domains' sets that fire most at a position of a module, the most active first.
    func firing(at row: Int, module: Int, name: String, sets: NeuronSets) -> JSONValue {
        var found: [(value: Float, layer: Int, neuron: Int)] = []
        for (layer, kept) in activations.layers[module].enumerated() where kept != nil {
            for neuron in sets.neurons(module: name, layer: layer) {
                let value = activations.value(
                    module: module, layer: layer, neuron: neuron, row: row)
                if let value, value > 0 { found.append((value, layer, neuron)) }
            }
        }
        found.sort { ($1.value, $0.layer, $0.neuron) < ($0.value, $1.layer, $1.neuron) }
        return .array(
            found.prefix(Self.mostNeurons).map { entry in
                let domains = sets.domains(module: name, layer: entry.layer, neuron: entry.neuron)
                return .object(
                    JSONObject([
                        ("layer", .integer(entry.layer)), ("neuron", .integer(entry.neuron)),
                        ("value", .number(Double(entry.value))),
                        ("domains", .array(domains.map { .string($0.rawValue) })),
                    ]))
            })
    }
}
