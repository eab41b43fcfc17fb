import Foundation
import MMQBase
import MMQFormats
import MMQImage
import MMQModels

extension Targets {
    static func picture() throws -> Target {
        Target {
            let index = try JSONValue(
                parsing: Golden.bytes("image/decode.json"), file: "image/decode.json")
            let all = try Golden.bytes("image/decode.bin")
            let cases = try (index["cases"]?.array ?? []).enumerated().map { number, value in
                guard let offset = value["offset"]?.integer, let count = value["bytes"]?.integer
                else { throw InputError(.badInput, file: "image/decode.json", "no offset") }
                return Seed("case-\(number)", Array(all[offset..<offset + count]))
            }
            let files = try Golden.files("bench", ending: ".png", ".jpg").prefix(6)
            return try cases
                + files.enumerated().map { Seed("file-\($0)", try Golden.bytes($1)) }
        } run: { input in
            let picture = try input.withUnsafeBytes {
                try RGBImage.decode(bytes: $0, name: "picture")
            }
            precondition(picture.pixels.count == picture.width * picture.height * 3)
            if picture.width * picture.height <= 1 << 16 {
                _ = picture.resizedBicubic(width: 5, height: 3)
            }
        }
    }

    static func safetensors() throws -> Target {
        let path = Scratch.path("input.safetensors")
        return Target {
            let made = Scratch.path("made.safetensors")
            let writer = try SafetensorsWriter(
                path: made,
                tensors: SafetensorsType.allCases.map {
                    .init(name: "a." + $0.rawValue, type: $0, shape: [2, 3])
                }, metadata: ["format": "pt"])
            for type in SafetensorsType.allCases {
                let bytes = [UInt8](repeating: 0, count: 6 * type.byteSize)
                try bytes.withUnsafeBytes { try writer.write("a." + type.rawValue, $0) }
            }
            try writer.commit()
            let files = try Golden.files("lens", ending: ".safetensors")
            return try [Seed("made", readSmallFile(made))]
                + files.enumerated().map { Seed("lens-\($0)", try Golden.bytes($1)) }
                .filter { $0.bytes.count <= largestSeed }
        } run: { input in
            try Scratch.write(input, to: path)
            let file = try SafetensorsFile(path: path)
            for tensor in file.tensors.prefix(64) where tensor.elementCount <= 1 << 16 {
                attempt { _ = try file.floats(tensor.name) }
                attempt { _ = try file.integers(tensor.name) }
                attempt { _ = try file.doubles(tensor.name) }
            }
            _ = try Inspection(path: path)
        }
    }

    static func gguf() throws -> Target {
        let path = Scratch.path("input.gguf")
        return Target {
            [Seed("every-value", try Golden.bytes("formats/every-value.gguf"))]
                + (try model(named: "llava-next/hub-f16", .q8_0).map {
                    Seed($0.name, Array($0.bytes.prefix($0.dataOffset + 2000)))
                })
        } run: { input in
            try Scratch.write(input, to: path)
            let file = try GGUFFile(path: path)
            for tensor in file.tensors.prefix(64)
            where elementCount(tensor.shape) ?? .max <= 1 << 16 {
                attempt { _ = try file.floats(tensor.name) }
            }
            for key in file.metadata.keys.prefix(64) {
                attempt { _ = try file.metadata.integer(key) }
                attempt { _ = try file.metadata.integers(key) }
                attempt { _ = try file.metadata.floats(key) }
                attempt { _ = try file.metadata.strings(key) }
            }
            let inspection = try Inspection(path: path)
            precondition(inspection.problems.allSatisfy { $0.utf8.count < 4096 })
        }
    }

    /// A file of a converted model.
    private struct ModelFile {
        let name: String
        let folder: String
        let bytes: [UInt8]
        let dataOffset: Int
    }

    /// The files of a golden checkpoint, converted.
    private static func model(named name: String, _ type: StoredType) throws -> [ModelFile] {
        let folder = try Golden.converted(name, type)
        return try [ModelFileRole.language, .vision].map { role in
            let path = try ModelFiles.file(role, in: folder)
            let file = try GGUFFile(path: path)
            return ModelFile(
                name: (path as NSString).lastPathComponent, folder: folder,
                bytes: try readSmallFile(path),
                dataOffset: file.tensors.map(\.offset).min() ?? 0)
        }
    }

    /// Models whose language or vision file has another header: the first byte says which file, the
    /// rest stands before its weights.
    static func model() throws -> Target {
        var files: [ModelFile] = []
        for name in ["llava-next/hub-f16", "instructblip/new-f16", "llava-1.5/hub-f16"] {
            files += try model(named: name, .q8_0)
        }
        let all = files
        var damaged: ModelFile?
        return Target {
            all.enumerated().map {
                Seed(
                    "\($0)-\($1.name)",
                    [UInt8($0)] + $1.bytes.prefix($1.dataOffset))
            }
        } run: { input in
            guard let first = input.first else { return }
            let file = all[Int(first) % all.count]
            if let damaged {
                try Scratch.write(damaged.bytes, to: damaged.folder + "/" + damaged.name)
            }
            damaged = file
            var bytes = Array(input.dropFirst())
            while bytes.count % GGUFWriter.alignment != 0 { bytes.append(0) }
            bytes += file.bytes[file.dataOffset...]
            try Scratch.write(bytes, to: file.folder + "/" + file.name)
            let inspection = try Inspection(path: file.folder)
            precondition(inspection.problems.allSatisfy { $0.utf8.count < 4096 })
            _ = try ModelFiles.open(folder: file.folder).open()
        }
    }

    static func json() -> Target {
        Target {
            [
                Seed("values", text: #"{"a":[1,-2.5e3,true,null,"\ud83d\ude00\u00e9\n"],"b":{}}"#),
                Seed("lone", text: #""\ud83d\u00e9""#),
            ]
        } run: { input in
            for rules in [JSONRules.strict, .lastKeyWins] {
                attempt {
                    let value = try JSONValue(parsing: input, file: "json", rules: rules)
                    for style in [JSONStyle.compact, .python] {
                        let text = value.encoded(style)
                        let again = try JSONValue(parsing: Array(text.utf8), file: "json")
                        precondition(again == value, "\(text) is not what was read")
                    }
                }
            }
        }
    }
}
