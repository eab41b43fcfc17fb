import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQModels

/// Calibrations that no run would write: an error that names the file and what is wrong in it.
@Suite struct DamagedImportanceTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder("file")
    }

    /// A calibration of the one weight `a`.
    private struct Parts {
        var domains = ["rs", "com"]
        /// Of every domain.
        var progress: [UInt64] = [4, 2, 1, 0]
        var sums = [1, 3]
        var squares = [2, 3]
        var positions = [5.0, 7]
    }

    private func write(_ change: (inout Parts) -> Void) throws -> ImportanceFile {
        var parts = Parts()
        change(&parts)
        let texts = GGUFValue.strings(parts.domains.map { Array($0.utf8) })
        var tensors: [(GGUFWriter.Declaration, [UInt8])] = []
        func add(_ name: String, _ type: GGUFTensorType, _ shape: [Int], _ element: [UInt8]) {
            let count = type.byteCount(shape: shape) ?? 0
            tensors.append(
                (
                    .init(name: "a." + name, type: type, shape: shape),
                    (0..<count).map { element[$0 % element.count] }
                ))
        }
        let positions = parts.positions.flatMap { withUnsafeBytes(of: $0) { Array($0) } }
        add("in_sum2", .f32, parts.sums, withUnsafeBytes(of: Float(1)) { Array($0) })
        add("counts", .f32, [1, 1], withUnsafeBytes(of: Float(12)) { Array($0) })
        for part in ["image", "text"] {
            add(
                "mmq_\(part)_sum2", .f64, parts.squares, withUnsafeBytes(of: 0.5) { Array($0) })
            add("mmq_\(part)_count", .f64, [parts.domains.count], positions)
        }
        let key = "mmq.calibration."
        let writer = try GGUFWriter(
            path: path,
            metadata: [
                ("general.type", .string("imatrix")), (key + "model", .string("m")),
                (key + "split", .string("train")), (key + "prompt", .string("full")),
                (key + "image_weight", .float32(1)), (key + "domains", texts),
                (key + "benches", texts),
                (
                    key + "progress",
                    .array(
                        .uint64,
                        parts.domains.flatMap { _ in parts.progress.map { .uint64($0) } })
                ),
            ], tensors: tensors.map(\.0))
        for (tensor, bytes) in tensors where !bytes.isEmpty {
            try bytes.withUnsafeBytes { try writer.write(tensor.name, $0) }
        }
        try writer.commit()
        return try ImportanceFile(path: path)
    }

    private func expectRefusal(
        _ code: InputError.Code, _ words: String..., change: (inout Parts) -> Void,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let file = try write(change)
        let error = #expect(throws: InputError.self, sourceLocation: sourceLocation) {
            try file.calibration()
        }
        #expect(error?.code == code, sourceLocation: sourceLocation)
        for word in words + [path] {
            #expect(
                error?.description.contains(word) == true, "\(String(describing: error))",
                sourceLocation: sourceLocation)
        }
    }

    @Test func aWholeOneIsRead() throws {
        let calibration = try write { _ in }.calibration()
        #expect(calibration.domains.map(\.domain) == ["rs", "com"])
        #expect(calibration.statistics.map { $0.products["a"]?.text.positions } == [5, 7])
        #expect(calibration.total.products["a"]?.image.squares == [1, 1, 1])
    }

    @Test(arguments: [[0, 1 << 62], [1 << 62, 0], [0, 3], [1, 0], [2, 3]])
    func widthsThatCannotBe(_ shape: [Int]) throws {
        try expectRefusal(.badShape, "a.in_sum2") { $0.sums = shape }
        try expectRefusal(.badShape, "a.in_sum2") {
            $0.sums = shape
            $0.squares = [0, 1 << 62]
        }
    }

    @Test(arguments: [[2, 2], [3, 2], [6], [0, 1 << 62], [1 << 62, 0]])
    func sumsOfAnotherShape(_ shape: [Int]) throws {
        try expectRefusal(.badShape, "a.mmq_image_sum2", "[2, 3]") { $0.squares = shape }
    }

    @Test(arguments: [-1, 0.5, 0x1.0000000000001p53, 0x1p62, 0x1p63])
    func positionsThatDoNotAddUp(_ positions: Double) throws {
        #expect(throws: InputError.self) {
            try write { $0.positions = [1, positions] }.calibration()
        }
    }

    @Test(arguments: 0..<4)
    func progressThatDoesNotAddUp(_ place: Int) throws {
        for number in [(1 << 53) + 1, UInt64(Int.max), .max] {
            try expectRefusal(.badValue, "mmq.calibration.progress") { $0.progress[place] = number }
        }
    }

    @Test func moreDomainsThanAddUp() throws {
        try expectRefusal(.badValue, "mmq.calibration.progress") {
            $0.domains = (0..<257).map(String.init)
        }
    }

    /// The greatest numbers that are taken can be added up and written.
    @Test func theGreatestNumbersAddUp() throws {
        let greatest = 1 << 53
        let file = try write {
            $0.domains = (0..<256).map(String.init)
            $0.progress = Array(repeating: UInt64(greatest), count: 4)
            $0.positions = [Double(greatest)]
            $0.squares = [256, 3]
        }
        let calibration = try file.calibration()
        #expect(calibration.total.products["a"]?.image.positions == 256 * greatest)
        try ImportanceFile.write(calibration, to: folder("again"))
        #expect(try ImportanceFile(path: folder("again")).names == ["a"])
    }
}
