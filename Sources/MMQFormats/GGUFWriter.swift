import MMQBase

/// Writes a GGUF version 3 file: metadata and tensors are declared first, the data stream in any
/// order from any thread, and the file appears under its name only when every byte is there.
public final class GGUFWriter: Sendable {
    /// A tensor to be written.
    public struct Declaration: Sendable, Equatable {
        /// Its name.
        public let name: String
        /// Its element type.
        public let type: GGUFTensorType
        /// Its shape, rows first.
        public let shape: [Int]

        /// A tensor of that name, type and shape.
        public init(name: String, type: GGUFTensorType, shape: [Int]) {
            self.name = name
            self.type = type
            self.shape = shape
        }
    }

    /// Alignment of every tensor's data; ggml's default.
    public static let alignment = 32

    /// Where a digest of all tensors' data is left, so that two files can be told apart without
    /// reading them: `uint64`, filled in by `finish`.
    public static let digestKey = "mmq.digest"

    /// The final path.
    public var path: String { output.path }
    /// The size that the file will have in bytes.
    public let byteCount: Int
    private let output: OutputFile
    private let dataOffset: Int
    /// Where the digest's value lies.
    private let digestOffset: Int?
    private let places: TensorPlaces

    /// Creates the file with its header.
    ///
    /// - Parameter metadata: with the key `digestKey`, whatever its value, the file gets a digest.
    public init(
        path: String, metadata: [(key: String, value: GGUFValue)], tensors: [Declaration]
    ) throws {
        var header = GGUFHeader()
        header.bytes = Array("GGUF".utf8)
        header.append(UInt32(3))
        header.append(UInt64(tensors.count))
        header.append(UInt64(metadata.count))
        var keys = Set<String>()
        var digestOffset: Int?
        for (key, value) in metadata {
            guard keys.insert(key).inserted else {
                throw InputError(.duplicate, file: path, item: "key " + quoted(key))
            }
            header.append(Array(key.utf8))
            header.append(value.type.rawValue)
            if key == Self.digestKey, value.type == .uint64 { digestOffset = header.bytes.count }
            header.append(value)
        }
        self.digestOffset = digestOffset
        var relative: [(name: String, offset: Int, count: Int)] = []
        var position = 0
        for tensor in tensors {
            guard let bytes = tensor.type.byteCount(shape: tensor.shape),
                (1...4).contains(tensor.shape.count),
                case let (end, overflow) = position.addingReportingOverflow(bytes), !overflow,
                end < Int.max - Self.alignment
            else {
                throw InputError(
                    .badShape, file: path, item: tensorItem(tensor.name),
                    expected: "a shape that \(tensor.type.name) can store",
                    found: "\(tensor.shape)")
            }
            // ggml refuses longer names.
            guard tensor.name.utf8.count < 64 else {
                throw InputError(
                    .tooLarge, file: path, item: tensorItem(tensor.name),
                    expected: "a name of at most 63 bytes")
            }
            header.append(Array(tensor.name.utf8))
            header.append(UInt32(tensor.shape.count))
            for size in tensor.shape.reversed() { header.append(UInt64(size)) }
            header.append(tensor.type.rawValue)
            header.append(UInt64(position))
            relative.append((tensor.name, position, bytes))
            position = Self.padded(end)
        }
        let dataOffset = Self.padded(header.bytes.count)
        self.dataOffset = dataOffset
        places = try TensorPlaces(relative, from: dataOffset, file: path)
        byteCount = dataOffset + position
        header.bytes += [UInt8](repeating: 0, count: dataOffset - header.bytes.count)
        output = try OutputFile(path: path, mapped: byteCount)
        do {
            try output.write(header.bytes, at: 0)
            // The last tensor's padding is part of the file; readers expect it.
            if position > 0, let last = relative.last {
                let end = last.offset + last.count
                try output.write(
                    [UInt8](repeating: 0, count: position - end), at: dataOffset + end)
            }
        } catch {
            output.abandon()
            throw error
        }
    }

    private static func padded(_ size: Int) -> Int {
        (size + alignment - 1) / alignment * alignment
    }

    /// Writes a part of a tensor's data, starting at `byte` of the tensor. Every byte must be
    /// written once; threads may write at the same time.
    public func write(_ name: String, _ bytes: UnsafeRawBufferPointer, at byte: Int = 0) throws {
        try output.write(bytes, at: places.take(name, bytes.count, at: byte))
    }

    /// Checks that everything was written and makes it durable, without giving the file its name.
    public func finish() throws {
        try places.checkComplete()
        if let digestOffset {
            // Read back, mostly from the page cache: the data came in any order from any thread.
            let digest = try output.digest(from: dataOffset, to: byteCount)
            try withUnsafeBytes(of: digest.littleEndian) { try output.write($0, at: digestOffset) }
        }
        try output.sync()
    }

    /// Checks that everything was written, syncs the file and gives it its name.
    public func commit() throws {
        try finish()
        try output.commit()
    }

    /// Removes what was written so far. Does nothing after `commit`.
    public func abandon() { output.abandon() }
}

extension GGUFValue {
    /// The value as a file holds it, without its type.
    public var encoded: [UInt8] {
        var header = GGUFHeader()
        header.append(self)
        return header.bytes
    }
}

/// Header bytes under construction.
private struct GGUFHeader {
    var bytes: [UInt8] = []

    mutating func append<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// A string: length and bytes.
    mutating func append(_ text: [UInt8]) {
        append(UInt64(text.count))
        bytes.append(contentsOf: text)
    }

    /// A value without its type.
    mutating func append(_ value: GGUFValue) {
        switch value {
        case .uint8(let number): append(number)
        case .int8(let number): append(number)
        case .uint16(let number): append(number)
        case .int16(let number): append(number)
        case .uint32(let number): append(number)
        case .int32(let number): append(number)
        case .float32(let number): append(number.bitPattern)
        case .bool(let flag): append(UInt8(flag ? 1 : 0))
        case .bytes(let text): append(text)
        case .uint64(let number): append(number)
        case .int64(let number): append(number)
        case .float64(let number): append(number.bitPattern)
        case .array(let type, let values):
            append(type.rawValue)
            append(UInt64(values.count))
            for value in values { append(value) }
        }
    }
}
