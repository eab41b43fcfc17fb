import Foundation
import MMQBase

/// Neurons to switch off, per module and layer.
///
/// As JSON: `{"lang": [[12, 40], [], ...], "vision": [...]}`, for each module one list of neuron
/// indices per layer. A module that is not named is not masked.
public struct NeuronMask: Sendable, Equatable {
    /// For each masked module, one ascending list of neuron indices per layer.
    public let layers: [String: [[Int]]]

    /// One byte per neuron, 1 = off; only for layers that have a masked neuron.
    private let bitmaps: [String: [[UInt8]?]]

    /// A mask of given neurons, checked against the modules of a model.
    ///
    /// - Parameters:
    ///   - layers: for each module, one list of neuron indices per layer, in any order.
    ///   - modules: the modules that the model has.
    ///   - file: what to call the mask in an error.
    public init(layers: [String: [[Int]]], modules: [ModuleShape], file: String = "mask") throws {
        var sorted: [String: [[Int]]] = [:]
        var bitmaps: [String: [[UInt8]?]] = [:]
        for (name, lists) in layers.sorted(by: { $0.key < $1.key }) {
            let shape = try Self.shape(of: name, among: modules, layers: lists.count, file: file)
            var maps: [[UInt8]?] = []
            for (layer, list) in lists.enumerated() {
                var map = [UInt8](repeating: 0, count: shape.neurons)
                for index in list {
                    guard index >= 0, index < shape.neurons else {
                        throw fault(
                            file, module: name, layer: layer,
                            expected: "indices in 0..<\(shape.neurons)", found: "\(index)")
                    }
                    guard map[index] == 0 else {
                        throw fault(
                            file, module: name, layer: layer, expected: "each index once",
                            found: "\(index) twice")
                    }
                    map[index] = 1
                }
                maps.append(list.isEmpty ? nil : map)
            }
            sorted[name] = lists.map { $0.sorted() }
            bitmaps[name] = maps
        }
        self.layers = sorted
        self.bitmaps = bitmaps
    }

    /// Reads a mask from JSON text.
    ///
    /// - Parameters:
    ///   - json: the bytes of the file.
    ///   - modules: the modules that the model has.
    ///   - file: the name of the file, for errors.
    public init(json: Data, modules: [ModuleShape], file: String) throws {
        let form = "{\"module\": [[neuron, ...], ...], ...}"
        let document = try JSONValue(parsing: [UInt8](json), file: file)
        guard let members = document.members else {
            throw fault(file, expected: form, found: document.kind)
        }
        var layers: [String: [[Int]]] = [:]
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            guard let lists = value.array else {
                throw fault(file, module: name, expected: form, found: value.kind)
            }
            layers[name] = try lists.enumerated().map { layer, list in
                guard let list = list.array else {
                    throw fault(file, module: name, layer: layer, expected: form, found: list.kind)
                }
                return try list.map { index in
                    guard let number = index.integer ?? index.double.flatMap(Int.init(exactly:))
                    else {
                        throw fault(
                            file, module: name, layer: layer, expected: "integers",
                            found: index.kind)
                    }
                    return number
                }
            }
        }
        try self.init(layers: layers, modules: modules, file: file)
    }

    /// Reads a mask file.
    ///
    /// - Parameters:
    ///   - path: the JSON file.
    ///   - modules: the modules that the model has.
    public init(path: String, modules: [ModuleShape]) throws {
        try self.init(json: Data(readSmallFile(path)), modules: modules, file: path)
    }

    /// Which neurons of a layer are off: `neurons` bytes, 1 = off; nil if none is.
    public func isMasked(module: String, layer: Int) -> [UInt8]? {
        guard let maps = bitmaps[module], maps.indices.contains(layer) else { return nil }
        return maps[layer]
    }

    /// Number of neurons off in a module, or in all of them.
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
            throw fault(file, module: name, expected: "one of the modules \(names)", found: name)
        }
        guard layers == shape.layers else {
            throw fault(
                file, module: name, expected: "\(shape.layers) layers", found: "\(layers)")
        }
        return shape
    }
}

/// The error about a place in a mask.
private func fault(
    _ file: String, module: String? = nil, layer: Int? = nil, expected: String, found: String
) -> InputError {
    var item = "mask"
    if let module { item = "module \(module)" }
    if let layer { item += ", layer \(layer)" }
    return InputError(.badValue, file: file, item: item, expected: expected, found: found)
}
