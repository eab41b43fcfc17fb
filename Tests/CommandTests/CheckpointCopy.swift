import Foundation
import Support
import Testing

/// A copy of a golden checkpoint that a test may damage.
final class CheckpointCopy: Sendable {
    let folder: TemporaryFolder
    var path: String { folder("checkpoint") }

    init(_ golden: GoldenModel) throws {
        folder = try TemporaryFolder()
        try FileManager.default.copyItem(atPath: golden.checkpoint, toPath: folder("checkpoint"))
    }

    func file(_ name: String) -> URL { URL(fileURLWithPath: path + "/" + name) }

    func data(_ name: String) throws -> Data { try Data(contentsOf: file(name)) }

    func write(_ name: String, _ data: Data) throws { try data.write(to: file(name)) }

    func remove(_ name: String) throws { try FileManager.default.removeItem(at: file(name)) }

    /// Changes a JSON file.
    func edit(_ name: String, _ change: (inout [String: Any]) -> Void) throws {
        var object = try #require(
            JSONSerialization.jsonObject(with: data(name)) as? [String: Any])
        change(&object)
        try write(name, JSONSerialization.data(withJSONObject: object))
    }

    /// Changes an object within `config.json`.
    func editSection(_ section: String, _ change: @escaping (inout [String: Any]) -> Void) throws {
        try edit("config.json") {
            var object = $0[section] as? [String: Any] ?? [:]
            change(&object)
            $0[section] = object
        }
    }

    /// Changes the picture settings, wherever the checkpoint has them; gives back the file's name.
    @discardableResult
    func editPictures(_ change: (inout [String: Any]) -> Void) throws -> String {
        let name = "preprocessor_config.json"
        if FileManager.default.fileExists(atPath: file(name).path) {
            try edit(name, change)
            return name
        }
        try edit("processor_config.json") {
            var object = $0["image_processor"] as? [String: Any] ?? [:]
            change(&object)
            $0["image_processor"] = object
        }
        return "processor_config.json"
    }

    /// Changes the header of `model.safetensors`; the weights stay.
    func editHeader(_ change: (inout [String: Any]) -> Void) throws {
        let bytes = try data("model.safetensors")
        let length = Int(
            bytes.prefix(8).enumerated().reduce(UInt64(0)) {
                $0 | UInt64($1.element) << (8 * UInt64($1.offset))
            })
        var header = try #require(
            JSONSerialization.jsonObject(with: bytes.dropFirst(8).prefix(length))
                as? [String: Any])
        change(&header)
        var text = try JSONSerialization.data(withJSONObject: header)
        // As the format has it: padded with spaces to a multiple of eight.
        text += Data(repeating: 0x20, count: (8 - text.count % 8) % 8)
        try write(
            "model.safetensors",
            littleEndian(UInt64(text.count)) + text + bytes.dropFirst(8 + length))
    }

    /// Changes the entry of one tensor in the header.
    func editTensor(_ name: String, _ change: (inout [String: Any]) -> Void) throws {
        try editHeader {
            var entry = $0[name] as? [String: Any] ?? [:]
            change(&entry)
            $0[name] = entry
        }
    }

    /// `mmq convert` must refuse it, name what `words` say, and leave nothing behind.
    func expectRefusal(
        naming words: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let output = folder("output")
        try CommandTests.expectRefusal(
            ["convert", path, "--output", output], naming: words, sourceLocation: sourceLocation)
        #expect(
            !FileManager.default.fileExists(atPath: output), sourceLocation: sourceLocation)
    }
}

/// A number's bytes as file formats have them.
func littleEndian<T: FixedWidthInteger>(_ value: T) -> Data {
    withUnsafeBytes(of: value.littleEndian) { Data($0) }
}
