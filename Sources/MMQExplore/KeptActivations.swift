import MMQModels

/// Activations of a pass: of chosen neurons at every position that ran.
struct KeptActivations: Sendable {
    /// A layer's: of these neurons, ascending; nil for all.
    struct Layer: Sendable {
        var neurons: [Int]?
        /// [rows, neurons kept]
        var values: [Float] = []

        /// A neuron's place in a row of `width` neurons; nil if it was not kept.
        func place(of neuron: Int, width: Int) -> Int? {
            guard let neurons else { return (0..<width).contains(neuron) ? neuron : nil }
            return neurons.firstIndex(of: neuron)
        }
    }

    private let modules: [ModuleShape]
    /// [module][layer]; nil for a layer of which nothing is kept.
    private(set) var layers: [[Layer?]]

    /// - Parameters:
    ///   - sets: neurons that are always kept.
    ///   - whole: layers that are kept whole.
    init(_ modules: [ModuleShape], sets: NeuronSets, whole: [ActivationSite]) {
        self.modules = modules
        layers = modules.map { module in
            (0..<module.layers).map { layer in
                let neurons = sets.neurons(module: module.name, layer: layer)
                return neurons.isEmpty ? nil : Layer(neurons: neurons)
            }
        }
        for site in whole { layers[site.module][site.layer] = Layer() }
    }

    /// Which layers a tap has to follow.
    var wanted: [[Bool]] { layers.map { $0.map { $0 != nil } } }

    /// Takes the next rows [rows, neurons] of a layer.
    mutating func append(_ rows: UnsafeBufferPointer<Float>, module: Int, layer: Int) {
        let width = modules[module].neurons
        guard let neurons = layers[module][layer]?.neurons else {
            layers[module][layer]?.values += rows
            return
        }
        for start in stride(from: 0, to: rows.count, by: width) {
            layers[module][layer]?.values += neurons.lazy.map { rows[start + $0] }
        }
    }

    /// How many rows a layer has.
    func rows(module: Int, layer: Int) -> Int {
        guard let kept = layers[module][layer] else { return 0 }
        return kept.values.count / max(1, kept.neurons?.count ?? modules[module].neurons)
    }

    /// A neuron's value in every row; nil if it was not kept.
    func column(module: Int, layer: Int, neuron: Int) -> [Float]? {
        let width = modules[module].neurons
        guard let kept = layers[module][layer], let place = kept.place(of: neuron, width: width)
        else { return nil }
        let step = kept.neurons?.count ?? width
        return stride(from: place, to: kept.values.count, by: step).map { kept.values[$0] }
    }

    /// A neuron's value in one row; nil if it was not kept or there is no such row.
    func value(module: Int, layer: Int, neuron: Int, row: Int) -> Float? {
        let width = modules[module].neurons
        guard let kept = layers[module][layer], let place = kept.place(of: neuron, width: width),
            (0..<rows(module: module, layer: layer)).contains(row)
        else { return nil }
        return kept.values[row * (kept.neurons?.count ?? width) + place]
    }
}
