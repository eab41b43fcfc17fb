import Foundation
import MMQBase

/// Neurons that are off, or changed in another way, per module and layer.
///
/// As JSON: `{"lang": [[12, 40], [], ...], "vision": [...]}`, for each module one list of neurons
/// per layer, or what else a ``LayerMask`` may be. A module that is not named is left alone.
public struct NeuronMask: Sendable, Equatable {
    /// For each masked module, what happens in each layer.
    public let layers: [String: [LayerMask]]

    /// A mask of given neurons, checked against the modules of a model.
    ///
    /// - Parameters:
    ///   - layers: for each module, one mask per layer.
    ///   - modules: the modules that the model has.
    ///   - file: what to call the mask in an error.
    public init(layers: [String: [LayerMask]], modules: [ModuleShape], file: String = "mask") throws
    {
        for (name, masks) in layers.sorted(by: { $0.key < $1.key }) {
            let shape = try Self.shape(of: name, among: modules, layers: masks.count, file: file)
            for (layer, mask) in masks.enumerated() {
                func fault(_ expected: String, _ found: String) -> InputError {
                    maskFault(file, module: name, layer: layer, expected: expected, found: found)
                }
                if let wrong = mask.neurons.first(where: { !(0..<shape.neurons).contains($0) }) {
                    throw fault("indices in 0..<\(shape.neurons)", "\(wrong)")
                }
                if let twice = zip(mask.neurons, mask.neurons.dropFirst()).first(where: ==) {
                    throw fault("each index once", "\(twice.0) twice")
                }
            }
        }
        self.layers = layers
    }

    /// A mask of neurons that are off: for each module, one list of indices per layer, in any order.
    public init(
        layers: [String: [[Int]]], modules: [ModuleShape], file: String = "mask"
    ) throws {
        try self.init(
            layers: layers.mapValues { $0.map { LayerMask(off: $0) } }, modules: modules, file: file
        )
    }

    /// Reads a mask from JSON text.
    ///
    /// - Parameters:
    ///   - json: the bytes of the file.
    ///   - modules: the modules that the model has.
    ///   - file: the name of the file, for errors.
    ///   - resolve: what `mean` and `add` do in a layer of a module; without one they are an error.
    public init(
        json: Data, modules: [ModuleShape], file: String,
        resolve: ((_ module: String, _ layer: Int) throws -> LayerMask.Resolver)? = nil
    ) throws {
        try self.init(
            document: JSONValue(parsing: [UInt8](json), file: file), modules: modules, file: file,
            resolve: resolve)
    }

    /// The mask that a JSON document describes; parameters as for its text.
    public init(
        document: JSONValue, modules: [ModuleShape], file: String,
        resolve: ((_ module: String, _ layer: Int) throws -> LayerMask.Resolver)? = nil
    ) throws {
        let form = "{\"module\": [[neuron, ...], ...], ...}"
        guard let members = document.members else {
            throw maskFault(file, expected: form, found: document.kind)
        }
        var layers: [String: [LayerMask]] = [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            guard let lists = value.array else {
                throw maskFault(file, module: name, expected: form, found: value.kind)
            }
            // Counts are looked for in modules that there are.
            _ = try Self.shape(of: name, among: modules, layers: lists.count, file: file)
            layers[name] = try lists.enumerated().map { layer, list in
                try LayerMask(
                    json: list,
                    fault: {
                        maskFault(file, module: name, layer: layer, expected: $0, found: $1)
                    }, resolve: try resolve?(name, layer))
            }
        }
        try self.init(layers: layers, modules: modules, file: file)
    }

    /// Reads a mask file.
    ///
    /// - Parameters:
    ///   - path: the JSON file.
    ///   - modules: the modules that the model has.
    ///   - resolve: what `mean` and `add` do in a layer of a module; without one they are an error.
    public init(
        path: String, modules: [ModuleShape],
        resolve: ((_ module: String, _ layer: Int) throws -> LayerMask.Resolver)? = nil
    ) throws {
        try self.init(
            json: Data(readSmallFile(path)), modules: modules, file: path, resolve: resolve)
    }

    /// What happens in a layer; nil if nothing does.
    public func layer(_ layer: Int, of module: String) -> LayerMask? {
        guard let masks = layers[module], masks.indices.contains(layer), !masks[layer].isEmpty
        else { return nil }
        return masks[layer]
    }

    /// Number of neurons masked in a module, or in all of them.
    public func count(module: String? = nil) -> Int {
        layers.reduce(0) { sum, entry in
            guard module == nil || module == entry.key else { return sum }
            return sum + entry.value.reduce(0) { $0 + $1.count }
        }
    }

    /// The module called `name`, if the model has it with that many layers.
    private static func shape(
        of name: String, among modules: [ModuleShape], layers: Int, file: String
    ) throws -> ModuleShape {
        guard let shape = modules.first(where: { $0.name == name }) else {
            let names = modules.map(\.name).joined(separator: ", ")
            throw maskFault(
                file, module: name, expected: "one of the modules \(names)", found: name)
        }
        guard layers == shape.layers else {
            throw maskFault(
                file, module: name, expected: "\(shape.layers) layers", found: "\(layers)")
        }
        return shape
    }
}

/// The error about a place in a mask.
private func maskFault(
    _ file: String, module: String? = nil, layer: Int? = nil, expected: String, found: String
) -> InputError {
    var item = "mask"
    if let module { item = "module \(module)" }
    if let layer { item += ", layer \(layer)" }
    return InputError(.badValue, file: file, item: item, expected: expected, found: found)
}
