import MMQBase

/// A layer of a module whose activations are wanted: `mlp:MODULE.LAYER` in words.
public struct ActivationSite: Hashable, Sendable {
    /// The module's place in the model's list.
    public let module: Int
    /// The layer in it.
    public let layer: Int
    /// `mlp:MODULE.LAYER`.
    public let name: String
}

extension ActivationSite {
    /// The sites that words name, in the model's order, each once: `mlp` all of them, `mlp:MODULE`
    /// those of a module, `mlp:MODULE.LAYER` one.
    ///
    /// - Throws: `InputError`, `.badValue` naming the word and what there is.
    public static func sites(_ words: [String], of modules: [ModuleShape]) throws
        -> [ActivationSite]
    {
        var wanted = modules.map { [Bool](repeating: false, count: $0.layers) }
        for word in words {
            for (module, layers) in try places(word, modules) {
                for layer in layers { wanted[module][layer] = true }
            }
        }
        return modules.enumerated().flatMap { module, shape in
            wanted[module].indices.filter { wanted[module][$0] }.map {
                ActivationSite(module: module, layer: $0, name: "mlp:\(shape.name).\($0)")
            }
        }
    }

    private static func places(_ word: String, _ modules: [ModuleShape]) throws
        -> [(module: Int, layers: Range<Int>)]
    {
        func fault(_ expected: String) -> InputError {
            InputError(.badValue, file: "sites", expected: expected, found: quoted(word))
        }
        if word == "mlp" { return modules.enumerated().map { ($0, 0..<$1.layers) } }
        guard word.hasPrefix("mlp:") else { throw fault("mlp, mlp:MODULE or mlp:MODULE.LAYER") }
        let parts = word.dropFirst(4).split(separator: ".", omittingEmptySubsequences: false)
        guard let module = modules.firstIndex(where: { $0.name == parts[0] }), parts.count <= 2
        else {
            throw fault(
                "mlp: and one of the modules " + modules.map(\.name).joined(separator: ", "))
        }
        let layers = 0..<modules[module].layers
        guard parts.count == 2 else { return [(module, layers)] }
        guard let layer = Int(parts[1]), layers.contains(layer) else {
            throw fault("a layer of \(modules[module].name) in \(layers)")
        }
        return [(module, layer..<layer + 1)]
    }
}

extension [ActivationSite] {
    /// A tap for these sites of a model; nil if there are none.
    ///
    /// - Parameter receive: gets the next rows [rows, neurons] of a site, valid during the call; what
    ///   it throws the tap's `check` does.
    public func tap(
        of modules: [ModuleShape],
        receive: @escaping (ActivationSite, UnsafeBufferPointer<Float>) throws -> Void
    ) -> ActivationTap? {
        guard !isEmpty else { return nil }
        var places = modules.map { [ActivationSite?](repeating: nil, count: $0.layers) }
        for site in self { places[site.module][site.layer] = site }
        return ActivationTap(wanted: places.map { $0.map { $0 != nil } }) { module, layer, rows in
            if let site = places[module][layer] { try receive(site, rows) }
        }
    }
}
