import MMQBase

/// Writes a safetensors file: tensors are declared first, their data streams in any order, and the
/// file appears under its name only when every byte is there.
public final class SafetensorsWriter: Sendable {
    /// A tensor to be written.
    public struct Declaration: Sendable {
        /// Its name.
        public let name: String
        /// Its element type.
        public let type: SafetensorsType
        /// Its shape, rows first.
        public let shape: [Int]

        /// A tensor of that name, type and shape.
        public init(name: String, type: SafetensorsType, shape: [Int]) {
            self.name = name
            self.type = type
            self.shape = shape
        }
    }

    private let output: OutputFile
    private let places: TensorPlaces

    /// Creates the file with its header.
    ///
    /// - Parameters:
    ///   - path: the final path.
    ///   - tensors: everything that will be written.
    ///   - metadata: strings for `__metadata__`.
    public init(path: String, tensors: [Declaration], metadata: [String: String] = [:]) throws {
        // Wider types first, so that every tensor lies aligned to its element size.
        let ordered = tensors.enumerated()
            .sorted {
                ($1.element.type.byteSize, $0.offset) < ($0.element.type.byteSize, $1.offset)
            }
            .map(\.element)
        var entries: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key < $1.key }
                .map { jsonString($0.key) + ":" + jsonString($0.value) }
            entries.append("\"__metadata__\":{" + pairs.joined(separator: ",") + "}")
        }
        var relative: [(name: String, offset: Int, count: Int)] = []
        var position = 0
        for tensor in ordered {
            guard let count = elementCount(tensor.shape),
                case let (bytes, overflow) = count.multipliedReportingOverflow(
                    by: tensor.type.byteSize), !overflow,
                case let (end, past) = position.addingReportingOverflow(bytes), !past
            else {
                throw InputError(
                    .overflow, file: path, item: tensorItem(tensor.name),
                    found: "shape \(tensor.shape)")
            }
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            entries.append(
                "\(jsonString(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\","
                    + "\"shape\":[\(shape)],\"data_offsets\":[\(position),\(end)]}")
            relative.append((tensor.name, position, bytes))
            position = end
        }
        var header = Array(("{" + entries.joined(separator: ",") + "}").utf8)
        while header.count % 8 != 0 { header.append(0x20) }
        let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
        places = try TensorPlaces(relative, from: 8 + header.count, file: path)
        output = try OutputFile(path: path)
        try output.write(length + header, at: 0)
    }

    /// Writes a part of a tensor's data, starting at `byte` of the tensor. Every byte must be
    /// written once; threads may write at the same time.
    public func write(_ name: String, _ bytes: UnsafeRawBufferPointer, at byte: Int = 0) throws {
        try output.write(bytes, at: places.take(name, bytes.count, at: byte))
    }

    /// Writes a whole F32 tensor.
    public func write(_ name: String, _ values: [Float]) throws {
        try values.withUnsafeBytes { try write(name, $0) }
    }

    /// Writes a whole F64 tensor.
    public func write(_ name: String, _ values: [Double]) throws {
        try values.withUnsafeBytes { try write(name, $0) }
    }

    /// Writes a whole I64 tensor.
    public func write(_ name: String, _ values: [Int64]) throws {
        try values.withUnsafeBytes { try write(name, $0) }
    }

    /// Writes a whole I32 tensor.
    public func write(_ name: String, _ values: [Int32]) throws {
        try values.withUnsafeBytes { try write(name, $0) }
    }

    /// Checks that everything was written, syncs the file and gives it its name.
    ///
    /// - Parameter durably: whether it must survive a power cut.
    public func commit(durably: Bool = true) throws {
        try places.checkComplete()
        try output.commit(durably: durably)
    }

    /// Removes what was written so far. Does nothing after `commit`.
    public func abandon() { output.abandon() }
}
