import MMQBase
import MMQModels

extension Study {
    /// What an intervention does to neurons of a module.
    ///
    /// - Parameters:
    ///   - neurons: one list per layer.
    ///   - split: the split whose counts tell means and deviations.
    /// - Throws: `InputError`, `.mismatch` if it needs counts that the study does not hold.
    func masks(
        _ neurons: [[Int]], in module: ModuleShape, _ intervention: Intervention,
        split: String = "train"
    ) throws -> [LayerMask] {
        let known = neurons.map { intervention.applied(to: $0) }
        if !known.contains(where: { $0 == nil }) { return known.compactMap { $0 } }
        let resolve = try resolver(module, intervention, split: split)
        return try neurons.enumerated().map { layer, neurons in
            try resolve(layer, neurons)
        }
    }

    /// Knows what interventions of a mask file do, out of the study's counts.
    ///
    /// - Parameter split: the split whose counts tell means and deviations.
    public func resolver(
        split: String = "train"
    ) -> (_ module: String, _ layer: Int) throws -> LayerMask.Resolver {
        { module, layer in
            { intervention, neurons in
                let shape = try self.module(module)
                if let wrong = neurons.first(where: { !(0..<shape.neurons).contains($0) }) {
                    throw InputError(
                        .badValue, file: "mask", item: "module \(module), layer \(layer)",
                        expected: "indices in 0..<\(shape.neurons)", found: "\(wrong)")
                }
                return try self.resolver(shape, intervention, split: split)(layer, neurons)
            }
        }
    }

    /// Means, or deviations, of a module's neurons, as they change a layer's.
    private func resolver(
        _ module: ModuleShape, _ intervention: Intervention, split: String
    ) throws -> (_ layer: Int, _ neurons: [Int]) throws -> LayerMask {
        var named: Domain?
        if case .mean(let name?) = intervention {
            guard let domain = Domain(rawValue: name) else {
                throw InputError(
                    .badInput, file: "masks", item: intervention.word,
                    "'\(name)' is not a domain")
            }
            named = domain
        }
        let total = try totals(of: module, named, split: split, for: intervention)
        let path = path
        func value(_ layer: Int, _ neuron: Int) throws -> Float {
            let i = layer * module.neurons + neuron
            let mean = total.sums[i] / Double(total.tokens)
            var value = mean
            if case .add(let steps) = intervention {
                // Of the whole population: E[a²] - E[a]², which rounding may take below 0.
                let variance = total.squares[i] / Double(total.tokens) - mean * mean
                value = steps * max(0, variance).squareRoot()
                if variance.isNaN { value = .nan }
            }
            guard Float(value).isFinite else {
                throw InputError(
                    .mismatch, file: path, item: "\(module.name), layer \(layer), neuron \(neuron)",
                    "its counts are not finite: \(intervention.word) has no value there")
            }
            return Float(value)
        }
        return { layer, neurons in
            let values = try neurons.map { try value(layer, $0) }
            if case .add = intervention {
                return LayerMask(neurons, scales: neurons.map { _ in 1 }, shifts: values)
            }
            return LayerMask(neurons, scales: neurons.map { _ in 0 }, shifts: values)
        }
    }

    /// What was counted in a module, over all domains or one.
    private func totals(
        of module: ModuleShape, _ domain: Domain?, split: String, for intervention: Intervention
    ) throws -> ModuleCounts {
        let needs = "the intervention '\(intervention.word)' needs "
        let held = try passes().filter {
            $0.split == split && $0.form == .simple && (domain == nil || $0.domain == domain)
        }
        let counts = try held.compactMap { pass in
            try self.counts(domain: pass.domain, split: split).first { $0.shape == module }
        }
        guard var total = counts.first, counts.contains(where: { $0.tokens > 0 }) else {
            throw InputError(
                .mismatch, file: path, item: module.name,
                needs + "counts" + (domain.map { " of \($0.rawValue)" } ?? "")
                    + " of the \(split) split, which the study does not hold")
        }
        for other in counts.dropFirst() { total.add(other) }
        if case .add = intervention, total.squares.isEmpty {
            throw InputError(
                .mismatch, file: path, item: module.name,
                needs + "sums of squares, which imported counts and those of an older mmq lack; "
                    + "count with \(CommandHint.again)")
        }
        return total
    }
}
