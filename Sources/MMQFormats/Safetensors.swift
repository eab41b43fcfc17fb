import CSIMD
import Foundation
import MMQBase

/// Element types of a safetensors file.
public enum SafetensorsType: String, Sendable, Codable, CaseIterable {
    /// 64-bit float.
    case f64 = "F64"
    /// 32-bit float.
    case f32 = "F32"
    /// 16-bit float (IEEE half).
    case f16 = "F16"
    /// The upper half of a 32-bit float.
    case bf16 = "BF16"
    /// Signed 64-bit integer.
    case i64 = "I64"
    /// Signed 32-bit integer.
    case i32 = "I32"
    /// Signed 16-bit integer.
    case i16 = "I16"
    /// Signed byte.
    case i8 = "I8"
    /// Unsigned byte.
    case u8 = "U8"
    /// A byte, 0 or 1.
    case bool = "BOOL"

    /// Bytes of one element.
    public var byteSize: Int {
        switch self {
        case .f64, .i64: 8
        case .f32, .i32: 4
        case .f16, .bf16, .i16: 2
        case .i8, .u8, .bool: 1
        }
    }

    /// Whether elements are floating point.
    public var isFloat: Bool {
        switch self {
        case .f64, .f32, .f16, .bf16: true
        default: false
        }
    }
}

/// One tensor of a safetensors file.
public struct SafetensorsTensor: Sendable, Equatable {
    /// Its name.
    public let name: String
    /// Its element type.
    public let type: SafetensorsType
    /// Its shape, rows first; empty for a scalar.
    public let shape: [Int]
    /// Where its first byte lies in the file.
    public let offset: Int
    /// Its size in bytes.
    public let byteCount: Int
    /// The number of elements.
    public var elementCount: Int { byteCount / type.byteSize }
}

/// A safetensors file, open for reading.
///
/// The header is checked completely when the file is opened: names, types, shapes against byte
/// counts, overlaps, holes and the end of the file. Data is read on demand.
/// Format: 8 bytes header length (little endian), a JSON object, then the tensors without gaps.
public final class SafetensorsFile: Sendable {
    /// The path, as the caller gave it.
    public var path: String { file.path }
    /// The `__metadata__` entry.
    public let metadata: [String: String]
    /// All tensors in the order of their data.
    public let tensors: [SafetensorsTensor]
    /// The size of the file in bytes.
    public var byteCount: Int { file.count }
    private let file: InputFile
    private let index: [String: Int]

    /// The reference implementation's limit on the header.
    static let maximumHeaderBytes = 100_000_000

    /// Opens and checks a file.
    public init(path: String) throws {
        let file = try InputFile(path: path)
        let header = try Self.readHeader(file)
        let dataOffset = 8 + header.count
        let json = try JSONValue(parsing: header, file: path)
        guard case .object(let object) = json else {
            throw InputError(
                .badHeader, file: path, item: "header", offset: 8, expected: "a JSON object",
                found: json.kind)
        }
        var metadata: [String: String] = [:]
        var tensors: [SafetensorsTensor] = []
        for (name, value) in object.members {
            if name == "__metadata__" {
                metadata = try Self.readMetadata(value, file: path)
            } else {
                tensors.append(
                    try Self.readTensor(
                        name, value, file: path, dataOffset: dataOffset,
                        dataBytes: file.count - dataOffset))
            }
        }
        tensors.sort { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
        try Self.checkLayout(tensors, file: path, dataOffset: dataOffset, end: file.count)
        self.file = file
        self.metadata = metadata
        self.tensors = tensors
        index = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
    }

    /// The tensor of that name, or nil.
    public subscript(name: String) -> SafetensorsTensor? { index[name].map { tensors[$0] } }

    /// The tensor of that name; an error that names it if there is none.
    public func tensor(_ name: String) throws -> SafetensorsTensor {
        guard let tensor = self[name] else {
            throw InputError(.missingTensor, file: path, item: tensorItem(name))
        }
        return tensor
    }

    /// Reads a part of a tensor's bytes.
    ///
    /// - Parameters:
    ///   - tensor: a tensor of this file.
    ///   - byte: offset in the tensor's data.
    ///   - buffer: filled completely; must not reach past the tensor's end.
    public func read(
        _ tensor: SafetensorsTensor, from byte: Int = 0, into buffer: UnsafeMutableRawBufferPointer
    ) throws {
        guard byte >= 0, byte <= tensor.byteCount, buffer.count <= tensor.byteCount - byte else {
            throw InputError(
                .truncated, file: path, item: tensorItem(tensor.name),
                expected: "\(buffer.count) bytes from byte \(byte)",
                found: "\(tensor.byteCount) bytes in all")
        }
        try file.read(at: tensor.offset + byte, into: buffer)
    }

    /// A tensor's bytes.
    public func bytes(_ name: String) throws -> [UInt8] {
        let tensor = try tensor(name)
        return try file.bytes(at: tensor.offset, count: tensor.byteCount)
    }

    /// A floating point tensor's elements as f32, row-major (F64 is rounded).
    public func floats(_ name: String) throws -> [Float] {
        let tensor = try tensor(name)
        let bytes = try bytes(name)
        let count = tensor.elementCount
        return try bytes.withUnsafeBytes { raw in
            try [Float](unsafeUninitializedCapacity: count) { output, used in
                if count > 0, let base = output.baseAddress {
                    guard convertToFloats(tensor.type, raw, base, count) else {
                        throw InputError(
                            .badType, file: path, item: tensorItem(name),
                            expected: "F64, F32, F16 or BF16", found: tensor.type.rawValue)
                    }
                }
                used = count
            }
        }
    }

    /// A floating point tensor's elements as f64, row-major.
    public func doubles(_ name: String) throws -> [Double] {
        let tensor = try tensor(name)
        guard tensor.type == .f64 else { return try floats(name).map(Double.init) }
        return try bytes(name).withUnsafeBytes { raw in
            (0..<tensor.elementCount).map {
                Double(
                    bitPattern: UInt64(
                        littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)))
            }
        }
    }

    /// An integer or boolean tensor's elements, row-major.
    public func integers(_ name: String) throws -> [Int64] {
        let tensor = try tensor(name)
        let bytes = try bytes(name)
        return try bytes.withUnsafeBytes { raw in
            let count = tensor.elementCount
            switch tensor.type {
            case .i64:
                return (0..<count).map {
                    Int64(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self))
                }
            case .i32:
                return (0..<count).map {
                    Int64(
                        Int32(
                            littleEndian: raw.loadUnaligned(
                                fromByteOffset: $0 * 4, as: Int32.self)))
                }
            case .i16:
                return (0..<count).map {
                    Int64(
                        Int16(
                            littleEndian: raw.loadUnaligned(
                                fromByteOffset: $0 * 2, as: Int16.self)))
                }
            case .i8: return raw.map { Int64(Int8(bitPattern: $0)) }
            case .u8, .bool: return raw.map { Int64($0) }
            case .f64, .f32, .f16, .bf16:
                throw InputError(
                    .badType, file: path, item: tensorItem(name), expected: "an integer type",
                    found: tensor.type.rawValue)
            }
        }
    }
}

/// Converts floating point elements to f32; false for integer types.
///
/// - Parameters:
///   - source: at least `count` elements, of any alignment.
///   - output: room for `count` f32.
public func convertToFloats(
    _ type: SafetensorsType, _ source: UnsafeRawBufferPointer,
    _ output: UnsafeMutablePointer<Float>, _ count: Int
) -> Bool {
    guard type.isFloat else { return false }
    guard count > 0, let base = source.baseAddress else { return true }
    precondition(source.count >= count * type.byteSize, "source holds all elements")
    switch type {
    case .f32: UnsafeMutableRawPointer(output).copyMemory(from: base, byteCount: count * 4)
    case .f16, .bf16:
        let convert = type == .f16 ? csimd_f16_to_f32 : csimd_bf16_to_f32
        if Int(bitPattern: base) % 2 == 0 {
            convert(base.assumingMemoryBound(to: UInt16.self), output, count)
        } else {
            let aligned = (0..<count).map {
                source.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)
            }
            convert(aligned, output, count)
        }
    default:
        for i in 0..<count {
            let bits = UInt64(
                littleEndian: source.loadUnaligned(fromByteOffset: i * 8, as: UInt64.self))
            output[i] = Float(Double(bitPattern: bits))
        }
    }
    return true
}

extension SafetensorsFile {
    private static func readHeader(_ file: InputFile) throws -> [UInt8] {
        guard file.count >= 8 else {
            throw InputError(
                .truncated, file: file.path, item: "header length", offset: 0, expected: "8 bytes",
                found: "\(file.count)")
        }
        let length = try file.bytes(at: 0, count: 8).reversed().reduce(UInt64(0)) {
            $0 << 8 | UInt64($1)
        }
        guard length <= UInt64(maximumHeaderBytes) else {
            throw InputError(
                .tooLarge, file: file.path, item: "header length", offset: 0,
                expected: "at most \(maximumHeaderBytes)", found: "\(length)")
        }
        guard length <= UInt64(file.count - 8) else {
            throw InputError(
                .truncated, file: file.path, item: "header", offset: 8,
                expected: "\(length) bytes", found: "\(file.count - 8)")
        }
        guard length >= 2 else {
            throw InputError(
                .badHeader, file: file.path, item: "header", offset: 0,
                expected: "a JSON object", found: "\(length) bytes")
        }
        return try file.bytes(at: 8, count: Int(length))
    }

    private static func readMetadata(_ value: JSONValue, file: String) throws -> [String: String] {
        guard case .object(let object) = value else {
            throw InputError(
                .badHeader, file: file, item: "__metadata__", expected: "an object",
                found: value.kind)
        }
        var metadata: [String: String] = [:]
        for (key, value) in object.members {
            guard case .string(let text) = value else {
                throw InputError(
                    .badHeader, file: file, item: "__metadata__." + key, expected: "a string",
                    found: value.kind)
            }
            metadata[key] = text
        }
        return metadata
    }

    private static func readTensor(
        _ name: String, _ value: JSONValue, file: String, dataOffset: Int, dataBytes: Int
    ) throws -> SafetensorsTensor {
        let item = tensorItem(name)
        guard case .object(let object) = value else {
            throw InputError(
                .badHeader, file: file, item: item, expected: "an object", found: value.kind)
        }
        for key in object.keys where !["dtype", "shape", "data_offsets"].contains(key) {
            throw InputError(
                .badHeader, file: file, item: item, expected: "dtype, shape and data_offsets",
                found: "key " + quoted(key))
        }
        guard case .string(let typeName) = object["dtype"] ?? .null else {
            throw InputError(
                .badHeader, file: file, item: item, expected: "a dtype",
                found: object["dtype"]?.kind ?? "none")
        }
        guard let type = SafetensorsType(rawValue: typeName) else {
            throw InputError(
                .unknownType, file: file, item: item,
                expected: SafetensorsType.allCases.map(\.rawValue).joined(separator: ", "),
                found: quoted(typeName))
        }
        let shape = try integers(object["shape"], "shape", item: item, file: file)
        let offsets = try integers(object["data_offsets"], "data_offsets", item: item, file: file)
        guard offsets.count == 2 else {
            throw InputError(
                .badHeader, file: file, item: item, expected: "two data_offsets",
                found: "\(offsets.count)")
        }
        guard offsets[0] <= offsets[1] else {
            throw InputError(
                .badOffset, file: file, item: item, expected: "data_offsets in order",
                found: "\(offsets[0]), \(offsets[1])")
        }
        guard let count = elementCount(shape),
            case let (bytes, overflow) = count.multipliedReportingOverflow(by: type.byteSize),
            !overflow
        else {
            throw InputError(
                .overflow, file: file, item: item, expected: "a size that fits 64 bits",
                found: "shape \(shape)")
        }
        guard bytes == offsets[1] - offsets[0] else {
            throw InputError(
                .badShape, file: file, item: item,
                expected: "\(bytes) bytes for shape \(shape) of \(type.rawValue)",
                found: "\(offsets[1] - offsets[0])")
        }
        guard offsets[1] <= dataBytes else {
            throw InputError(
                .truncated, file: file, item: item, offset: dataOffset,
                expected: "data up to byte \(offsets[1])", found: "\(dataBytes) bytes of data")
        }
        return SafetensorsTensor(
            name: name, type: type, shape: shape, offset: dataOffset + offsets[0],
            byteCount: bytes)
    }

    private static func integers(
        _ value: JSONValue?, _ key: String, item: String, file: String
    ) throws -> [Int] {
        guard case .array(let values) = value ?? .null else {
            throw InputError(
                .badHeader, file: file, item: item, expected: "a list as \(key)",
                found: value?.kind ?? "none")
        }
        return try values.map {
            guard case .integer(let number) = $0, number >= 0 else {
                throw InputError(
                    .badHeader, file: file, item: item,
                    expected: "integers from 0 to 2^63 - 1 in \(key)", found: $0.kind)
            }
            return Int(number)
        }
    }

    private static func checkLayout(
        _ tensors: [SafetensorsTensor], file: String, dataOffset: Int, end: Int
    ) throws {
        var position = dataOffset
        var previous = ""
        for tensor in tensors {
            if tensor.offset < position, tensor.byteCount > 0 {
                throw InputError(
                    .overlap, file: file, item: tensorItem(tensor.name),
                    offset: tensor.offset,
                    expected: "data after that of \(quoted(previous))", found: "shared bytes")
            }
            if tensor.offset > position {
                throw InputError(
                    .hole, file: file, item: tensorItem(tensor.name), offset: position,
                    expected: "data without gaps",
                    found: "\(tensor.offset - position) bytes of no tensor before it")
            }
            position = max(position, tensor.offset + tensor.byteCount)
            previous = tensor.name
        }
        if position < end {
            throw InputError(
                .hole, file: file, item: "data", offset: position,
                expected: "the end of the file", found: "\(end - position) bytes of no tensor")
        }
    }
}
