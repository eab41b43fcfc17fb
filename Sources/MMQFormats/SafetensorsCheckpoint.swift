import Foundation
import MMQBase

/// The tensors of a checkpoint folder: one safetensors file, or shards with or without an index.
public final class SafetensorsCheckpoint: Sendable {
    /// The folder, as the caller gave it.
    public let folder: String
    /// The files, in name order.
    public let files: [SafetensorsFile]
    /// All tensor names, sorted.
    public let names: [String]
    private let place: [String: Int]

    /// Opens a folder. As transformers does: `model.safetensors` if it is there, else the shards of
    /// `model.safetensors.index.json`, else every other `*.safetensors` file.
    public init(folder: String) throws {
        let entries: [String]
        do {
            entries = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        } catch {
            throw InputError(.unreadable, file: folder, expected: "a checkpoint folder")
        }
        func path(_ name: String) -> String { (folder as NSString).appendingPathComponent(name) }
        let weights = entries.filter { $0.hasSuffix(".safetensors") && !$0.hasPrefix(".") }
        let indexes = entries.filter { $0.hasSuffix(".safetensors.index.json") }
        var map: [(tensor: String, file: String)]?
        var fileNames: [String]
        var indexPath = ""
        if weights.contains("model.safetensors") {
            fileNames = ["model.safetensors"]
        } else if let name = indexes.contains("model.safetensors.index.json")
            ? "model.safetensors.index.json" : indexes.first
        {
            indexPath = path(name)
            let entries = try Self.readIndex(indexPath)
            map = entries
            fileNames = Set(entries.map(\.file)).sorted()
        } else {
            fileNames = weights
        }
        guard !fileNames.isEmpty else {
            let other = entries.first { $0.hasSuffix(".bin") || $0.hasSuffix(".pt") }
            throw InputError(
                .unreadable, file: folder, expected: "a *.safetensors file",
                found: other.map { "only " + quoted($0) } ?? "none")
        }
        let files = try fileNames.map { try SafetensorsFile(path: path($0)) }
        var place: [String: Int] = [:]
        for (index, file) in files.enumerated() {
            for tensor in file.tensors {
                if let first = place.updateValue(index, forKey: tensor.name) {
                    throw InputError(
                        .duplicate, file: file.path, item: tensorItem(tensor.name),
                        expected: "each tensor in one file",
                        found: "it in \(quoted(fileNames[first])) too")
                }
            }
        }
        if let map {
            try Self.check(map, indexPath: indexPath, fileNames: fileNames, files: files, place)
        }
        self.folder = folder
        self.files = files
        self.place = place
        names = place.keys.sorted()
    }

    /// The tensor of that name and the file that holds it, or nil.
    public subscript(name: String) -> (file: SafetensorsFile, tensor: SafetensorsTensor)? {
        guard let index = place[name], let tensor = files[index][name] else { return nil }
        return (files[index], tensor)
    }

    private static func readIndex(_ path: String) throws -> [(tensor: String, file: String)] {
        let json = try JSONValue(file: path)
        guard case .object(let map) = json["weight_map"] ?? .null else {
            throw InputError(
                .missingKey, file: path, item: "weight_map", expected: "an object",
                found: json["weight_map"]?.kind ?? "none")
        }
        return try map.members.map { name, value in
            guard case .string(let file) = value, !file.isEmpty, !file.contains("/"),
                !file.hasPrefix("."), !file.utf8.contains(0)
            else {
                throw InputError(
                    .badValue, file: path, item: "weight_map." + name,
                    expected: "the name of a file in the same folder", found: value.kind)
            }
            return (name, file)
        }
    }

    private static func check(
        _ map: [(tensor: String, file: String)], indexPath: String, fileNames: [String],
        files: [SafetensorsFile], _ place: [String: Int]
    ) throws {
        for (tensor, fileName) in map {
            guard let index = place[tensor], fileNames[index] == fileName else {
                let found =
                    place[tensor].map { "it in " + quoted(fileNames[$0]) } ?? "no such tensor"
                throw InputError(
                    .missingTensor, file: indexPath, item: tensorItem(tensor),
                    expected: "it in " + quoted(fileName), found: found)
            }
        }
        let mapped = Set(map.map(\.tensor))
        for file in files {
            for tensor in file.tensors where !mapped.contains(tensor.name) {
                throw InputError(
                    .extraTensor, file: file.path, item: tensorItem(tensor.name),
                    expected: "every tensor in the index", found: "it in the file only")
            }
        }
    }
}
