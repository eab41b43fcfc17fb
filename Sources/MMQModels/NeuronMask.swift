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
        let parsed: [String: [[MaskIndex]]]
        let form = "{\"module\": [[neuron, ...], ...], ...}"
        do {
            parsed = try JSONDecoder().decode([String: [[MaskIndex]]].self, from: json)
        } catch let DecodingError.typeMismatch(_, context) {
            throw fault(file, context.codingPath, expected: form, found: "something else")
        } catch let DecodingError.valueNotFound(_, context) {
            throw fault(file, context.codingPath, expected: form, found: "null")
        } catch {
            throw fault(file, expected: form, found: "text that is not JSON")
        }
        var layers: [String: [[Int]]] = [:]
        for (name, lists) in parsed.sorted(by: { $0.key < $1.key }) {
            _ = try Self.shape(of: name, among: modules, layers: lists.count, file: file)
            layers[name] = try lists.enumerated().map { layer, list in
                try list.map { index in
                    guard let value = index.value else {
                        throw fault(
                            file, module: name, layer: layer, expected: "integers",
                            found: index.written)
                    }
                    return value
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

/// The error about the place that decoding had come to.
private func fault(
    _ file: String, _ path: [any CodingKey], expected: String, found: String
) -> InputError {
    fault(
        file, module: path.first?.stringValue, layer: path.count > 1 ? path[1].intValue : nil,
        expected: expected, found: found)
}

/// One element of a layer's list. What is not an integer keeps its spelling, for the error: a
/// decoding error alone could not say more than its place.
private struct MaskIndex: Decodable {
    let value: Int?
    let written: String

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode(Int.self) {
            (self.value, written) = (value, String(value))
        } else if let number = try? container.decode(Double.self) {
            (value, written) = (nil, String(number))
        } else if let text = try? container.decode(String.self) {
            (value, written) = (nil, "\"\(text)\"")
        } else if let flag = try? container.decode(Bool.self) {
            (value, written) = (nil, String(flag))
        } else if container.decodeNil() {
            (value, written) = (nil, "null")
        } else {
            (value, written) = (nil, "a list or an object")
        }
    }
}
