import CSIMD
import Foundation
import MMQBase

/// One tensor of a GGUF file.
public struct GGUFTensor: Sendable, Equatable {
    /// Its name.
    public let name: String
    /// Its element type.
    public let type: GGUFTensorType
    /// Its shape, rows first (ggml's dimensions reversed).
    public let shape: [Int]
    /// Where its first byte lies in the file.
    public let offset: Int
    /// Its size in bytes.
    public let byteCount: Int
}

/// A GGUF file (version 2 or 3, little endian), mapped into memory.
///
/// Everything is checked when the file is opened: lengths, counts, types, names, offsets, overlaps
/// and the end of the file. A tensor's bytes are then always inside the mapping.
public final class GGUFFile: Sendable {
    /// The path, as the caller gave it.
    public var path: String { file.path }
    /// The format's version.
    public let version: Int
    /// Alignment of the tensors' data in bytes.
    public let alignment: Int
    /// Keys and values.
    public let metadata: GGUFMetadata
    /// All tensors in the order of the file's list.
    public let tensors: [GGUFTensor]
    /// The size of the file in bytes.
    public var byteCount: Int { file.count }
    /// The whole file, mapped.
    public var bytes: UnsafeRawBufferPointer { file.bytes }
    private let file: MappedFile
    private let index: [String: Int]

    /// Opens and checks a file.
    public init(path: String) throws {
        let file = try MappedFile(path: path, largePages: true)
        var reader = GGUFReader(file: file)
        let header = try reader.header()
        self.file = file
        version = header.version
        alignment = header.alignment
        metadata = header.metadata
        tensors = header.tensors
        index = Dictionary(uniqueKeysWithValues: header.tensors.enumerated().map { ($1.name, $0) })
    }

    /// The tensor of that name, or nil.
    public subscript(name: String) -> GGUFTensor? { index[name].map { tensors[$0] } }

    /// The tensor of that name; an error that names it if there is none.
    public func tensor(_ name: String) throws -> GGUFTensor {
        guard let tensor = self[name] else {
            throw InputError(.missingTensor, file: path, item: tensorItem(name))
        }
        return tensor
    }

    /// A tensor's bytes; valid as long as this object lives.
    public func bytes(_ tensor: GGUFTensor) throws -> UnsafeRawBufferPointer {
        try file.bytes(at: tensor.offset, count: tensor.byteCount)
    }

    /// A tensor's elements as f32, row-major.
    public func floats(_ name: String) throws -> [Float] {
        let tensor = try tensor(name)
        guard let type = tensor.type.kernelType else {
            throw InputError(
                .badType, file: path, item: tensorItem(name),
                expected: GGUFTensorType.computableNames, found: tensor.type.name)
        }
        let bytes = try bytes(tensor)
        let count = tensor.byteCount / tensor.type.blockBytes * tensor.type.blockElements
        guard count > 0, let source = bytes.baseAddress else { return [] }
        return [Float](unsafeUninitializedCapacity: count) { output, used in
            if let base = output.baseAddress { _ = csimd_dequantize_row(type, source, base, count) }
            used = count
        }
    }
}

/// Reads a GGUF header from a mapping, field by field.
struct GGUFReader {
    let file: MappedFile
    var position = 0
    private var elements = 0

    /// More metadata array elements than any real vocabulary needs: a hostile file.
    static let maximumElements = 1 << 24
    /// Longer names are refused before they are copied.
    static let maximumNameBytes = 65535

    struct Header {
        var version: Int
        var alignment: Int
        var metadata: GGUFMetadata
        var tensors: [GGUFTensor]
    }

    init(file: MappedFile) { self.file = file }

    mutating func header() throws -> Header {
        let path = file.path
        let magic = try file.bytes(at: 0, count: min(4, file.count))
        guard magic.elementsEqual("GGUF".utf8) else {
            throw InputError(
                .badMagic, file: path, offset: 0, expected: "a GGUF file ('GGUF' at the start)",
                found: file.count == 0 ? "an empty file" : "other bytes")
        }
        position = 4
        let version = try number(UInt32.self, "version")
        guard version == 2 || version == 3 else {
            let swapped = version.byteSwapped == 2 || version.byteSwapped == 3
            throw InputError(
                .unsupportedVersion, file: path, item: "version", offset: 4,
                expected: "GGUF version 2 or 3, little endian",
                found: swapped ? "a big-endian file" : "version \(version)")
        }
        let tensorCount = try count("tensor count", minimumBytes: 24)
        let keyCount = try count("metadata count", minimumBytes: 13)
        let metadata = try readMetadata(keyCount)
        let alignment = try Self.alignment(metadata)
        var infos: [(name: String, type: GGUFTensorType, shape: [Int], offset: UInt64)] = []
        infos.reserveCapacity(tensorCount)
        for _ in 0..<tensorCount { infos.append(try tensorInfo(alignment: alignment)) }
        let (padded, overflow) = position.addingReportingOverflow(alignment - 1)
        guard !overflow else {
            throw InputError(.overflow, file: path, item: "general.alignment")
        }
        let dataOffset = padded / alignment * alignment
        let tensors = try place(infos, dataOffset: dataOffset)
        return Header(
            version: Int(version), alignment: alignment, metadata: metadata, tensors: tensors)
    }

    // MARK: Fields

    func truncated(_ item: String, _ wanted: Int) -> InputError {
        InputError(
            .truncated, file: file.path, item: item, offset: position,
            expected: "\(wanted) bytes", found: "\(file.count - position)")
    }

    mutating func number<T: FixedWidthInteger>(_ type: T.Type, _ item: String) throws -> T {
        let size = MemoryLayout<T>.size
        guard size <= file.count - position else { throw truncated(item, size) }
        let bytes = try file.bytes(at: position, count: size)
        position += size
        return T(littleEndian: bytes.loadUnaligned(as: T.self))
    }

    /// A count of things that take at least `minimumBytes` each, checked against what is left.
    mutating func count(_ item: String, minimumBytes: Int) throws -> Int {
        let start = position
        let value = try number(UInt64.self, item)
        guard value <= UInt64((file.count - position) / minimumBytes) else {
            throw InputError(
                .truncated, file: file.path, item: item, offset: start,
                expected: "room for \(value) entries", found: "\(file.count - position) bytes")
        }
        return Int(value)
    }

    mutating func byteString(_ item: String, limit: Int = Int.max) throws -> [UInt8] {
        let start = position
        let length = try number(UInt64.self, item)
        guard length <= UInt64(file.count - position) else {
            throw InputError(
                .truncated, file: file.path, item: item, offset: start,
                expected: "\(length) bytes of text", found: "\(file.count - position)")
        }
        guard length <= UInt64(limit) else {
            throw InputError(
                .tooLarge, file: file.path, item: item, offset: start,
                expected: "at most \(limit) bytes", found: "\(length)")
        }
        let bytes = try file.bytes(at: position, count: Int(length))
        position += Int(length)
        return Array(bytes)
    }

    mutating func name(_ item: String) throws -> String {
        let start = position
        let bytes = try byteString(item, limit: Self.maximumNameBytes)
        guard let text = strictUTF8(bytes), !bytes.isEmpty else {
            throw InputError(
                .badHeader, file: file.path, item: item, offset: start,
                expected: "UTF-8 text", found: bytes.isEmpty ? "an empty name" : "other bytes")
        }
        return text
    }

    // MARK: Metadata

    mutating func readMetadata(_ count: Int) throws -> GGUFMetadata {
        var metadata = GGUFMetadata(file: file.path)
        for i in 0..<count {
            let start = position
            let key = try name("metadata key \(i)")
            let item = "key " + quoted(key)
            let type = try valueType(item)
            guard metadata.add(key, try value(type, item, depth: 0)) else {
                throw InputError(.duplicate, file: file.path, item: item, offset: start)
            }
        }
        return metadata
    }

    mutating func valueType(_ item: String) throws -> GGUFValueType {
        let start = position
        let raw = try number(UInt32.self, item)
        guard let type = GGUFValueType(rawValue: raw) else {
            throw InputError(
                .unknownType, file: file.path, item: item, offset: start,
                expected: "a GGUF value type (0 to 12)", found: "\(raw)")
        }
        return type
    }

    mutating func value(_ type: GGUFValueType, _ item: String, depth: Int) throws -> GGUFValue {
        switch type {
        case .uint8: return .uint8(try number(UInt8.self, item))
        case .int8: return .int8(try number(Int8.self, item))
        case .uint16: return .uint16(try number(UInt16.self, item))
        case .int16: return .int16(try number(Int16.self, item))
        case .uint32: return .uint32(try number(UInt32.self, item))
        case .int32: return .int32(try number(Int32.self, item))
        case .float32: return .float32(Float(bitPattern: try number(UInt32.self, item)))
        case .uint64: return .uint64(try number(UInt64.self, item))
        case .int64: return .int64(try number(Int64.self, item))
        case .float64: return .float64(Double(bitPattern: try number(UInt64.self, item)))
        case .string: return .bytes(try byteString(item))
        case .bool:
            let start = position
            let byte = try number(UInt8.self, item)
            guard byte <= 1 else {
                throw InputError(
                    .badValue, file: file.path, item: item, offset: start,
                    expected: "0 or 1 as a boolean", found: "\(byte)")
            }
            return .bool(byte == 1)
        case .array: return try array(item, depth: depth)
        }
    }

    mutating func array(_ item: String, depth: Int) throws -> GGUFValue {
        let start = position
        let type = try valueType(item)
        let count = try count(item, minimumBytes: type.minimumBytes)
        elements += count
        guard elements <= Self.maximumElements, depth < 4 else {
            throw InputError(
                .tooLarge, file: file.path, item: item, offset: start,
                expected: "at most \(Self.maximumElements) elements in 4 levels",
                found: "\(elements) elements in level \(depth + 1)")
        }
        var values: [GGUFValue] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try value(type, item, depth: depth + 1)) }
        return .array(type, values)
    }

    static func alignment(_ metadata: GGUFMetadata) throws -> Int {
        guard let value = metadata["general.alignment"] else { return 32 }
        guard let alignment = value.integer, alignment > 0, alignment <= 1 << 20,
            alignment & (alignment - 1) == 0
        else {
            throw InputError(
                .badValue, file: metadata.file, item: "key 'general.alignment'",
                expected: "a power of two up to 2^20", found: value.summary)
        }
        return alignment
    }

    // MARK: Tensors

    mutating func tensorInfo(
        alignment: Int
    ) throws -> (name: String, type: GGUFTensorType, shape: [Int], offset: UInt64) {
        let name = try name("tensor name")
        let item = tensorItem(name)
        let start = position
        let dimensions = try number(UInt32.self, item)
        guard (1...4).contains(dimensions) else {
            throw InputError(
                .badShape, file: file.path, item: item, offset: start,
                expected: "1 to 4 dimensions", found: "\(dimensions)")
        }
        var shape: [Int] = []
        for _ in 0..<dimensions {
            let start = position
            let size = try number(UInt64.self, item)
            guard let size = Int(exactly: size) else {
                throw InputError(
                    .overflow, file: file.path, item: item, offset: start,
                    expected: "dimensions below 2^63", found: "\(size)")
            }
            shape.insert(size, at: 0)
        }
        let typeStart = position
        let raw = try number(UInt32.self, item)
        guard let type = GGUFTensorType(rawValue: raw) else {
            throw InputError(
                .unknownType, file: file.path, item: item, offset: typeStart,
                expected: "a known ggml type", found: "type \(raw)")
        }
        let offsetStart = position
        let offset = try number(UInt64.self, item)
        guard offset % UInt64(alignment) == 0 else {
            throw InputError(
                .badOffset, file: file.path, item: item, offset: offsetStart,
                expected: "a multiple of the alignment \(alignment)", found: "\(offset)")
        }
        return (name, type, shape, offset)
    }

    func place(
        _ infos: [(name: String, type: GGUFTensorType, shape: [Int], offset: UInt64)],
        dataOffset: Int
    ) throws -> [GGUFTensor] {
        let path = file.path
        var names = Set<String>()
        let tensors = try infos.map { info in
            let item = tensorItem(info.name)
            guard names.insert(info.name).inserted else {
                throw InputError(.duplicate, file: path, item: item)
            }
            guard elementCount(info.shape) != nil else {
                throw InputError(
                    .overflow, file: path, item: item, expected: "a size that fits 64 bits",
                    found: "shape \(info.shape)")
            }
            guard (info.shape.last ?? 1) % info.type.blockElements == 0 else {
                throw InputError(
                    .badShape, file: path, item: item,
                    expected: "rows in blocks of \(info.type.blockElements) for \(info.type.name)",
                    found: "shape \(info.shape)")
            }
            guard let bytes = info.type.byteCount(shape: info.shape) else {
                throw InputError(
                    .overflow, file: path, item: item, expected: "a size that fits 64 bits",
                    found: "shape \(info.shape)")
            }
            let available = max(0, file.count - dataOffset)
            guard info.offset <= UInt64(available), bytes <= available - Int(info.offset) else {
                throw InputError(
                    .truncated, file: path, item: item, offset: dataOffset,
                    expected: "\(bytes) bytes of data from \(info.offset)",
                    found: "\(available) bytes of data in all")
            }
            return GGUFTensor(
                name: info.name, type: info.type, shape: info.shape,
                offset: dataOffset + Int(info.offset), byteCount: bytes)
        }
        var end = dataOffset
        var previous = ""
        for tensor in tensors.sorted(by: { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) })
        {
            if tensor.offset < end, tensor.byteCount > 0 {
                throw InputError(
                    .overlap, file: path, item: tensorItem(tensor.name),
                    offset: tensor.offset,
                    expected: "data after that of \(quoted(previous))", found: "shared bytes")
            }
            end = max(end, tensor.offset + tensor.byteCount)
            previous = tensor.name
        }
        return tensors
    }
}
