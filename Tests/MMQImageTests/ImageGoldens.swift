import Foundation
import MMQBase
import MMQImage
import Support
import Testing

/// The files of Tests/Golden/image (SCHEMA.md there says what they hold) and what their
/// comparisons need.
enum ImageGoldens {
    static func json<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(Golden.bytes("image/" + name)))
    }

    /// The same pictures that tools/goldens/image.py makes: a linear congruential generator's
    /// top bytes.
    static func noise(width: Int, height: Int, seed: UInt64) -> RGBImage {
        var state = seed
        let pixels = (0..<width * height * 3).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(state >> 56)
        }
        return RGBImage(width: width, height: height, pixels: pixels)
    }

    /// CRC-32 of numbers as they lie in memory, low byte first.
    static func checksum(_ values: [Float]) -> UInt32 {
        values.withUnsafeBytes { crc32(Array($0)) }
    }
}

/// Decodes bytes that stand for a file.
func decode(_ bytes: [UInt8], name: String = "picture") throws -> RGBImage {
    try bytes.withUnsafeBytes { try RGBImage.decode(bytes: $0, name: name) }
}

/// The error a call throws; a failed test if it throws none or another kind.
func imageError<Result>(
    _ location: SourceLocation = #_sourceLocation, from body: () throws -> Result
) -> InputError? {
    do {
        _ = try body()
        Issue.record("no error", sourceLocation: location)
    } catch let error as InputError {
        return error
    } catch {
        Issue.record("not an InputError: \(error)", sourceLocation: location)
    }
    return nil
}

struct DecodeGoldens: Decodable {
    struct Case: Decodable {
        let name: String
        let offset: Int
        let bytes: Int
        let width: Int?
        let height: Int?
        let crc32: UInt32?
    }

    /// Variants of one good file.
    struct Broken: Decodable {
        let `case`: Int
        let lengths: [Int]
        let crc32: [UInt32?]
        /// Place, value, and CRC-32 of what Pillow reads, or null.
        let flips: [[UInt32?]]
    }

    let cases: [Case]
    let broken: [Broken]

    static let all: Result<(DecodeGoldens, [UInt8]), any Error> = Result {
        let goldens = try ImageGoldens.json("decode.json", as: DecodeGoldens.self)
        return (goldens, try Golden.bytes("image/decode.bin"))
    }

    static func load() throws -> (DecodeGoldens, [UInt8]) { try all.get() }
}

extension DecodeGoldens.Case {
    /// The file's bytes.
    func file(in blob: [UInt8]) -> [UInt8] { Array(blob[offset..<offset + bytes]) }
}
