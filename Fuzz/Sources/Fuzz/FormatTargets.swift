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
            let folder = try Golden.converted("llava-next/hub-f16", .q8_0)
            return [Seed("every-value", try Golden.bytes("formats/every-value.gguf"))]
                + (try [ModelFileRole.language, .vision].map {
                    let file = try HeadCases.Case(gguf: ModelFiles.file($0, in: folder))
                    return Seed("\($0)", file.head + file.rest.prefix(2000))
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
