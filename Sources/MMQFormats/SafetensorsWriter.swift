import Foundation
import MMQBase

/// Writes a safetensors file: tensors are declared first, their data streams in any order, and the
/// file appears under its name only when every byte is there.
public final class SafetensorsWriter: @unchecked Sendable {  // counters are behind the lock
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
    private let lock = NSLock()
    private var places: [String: (offset: Int, count: Int, written: Int)] = [:]

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
        for (name, offset, count) in relative {
            let place = (offset: 8 + header.count + offset, count: count, written: 0)
            guard places.updateValue(place, forKey: name) == nil else {
                throw InputError(.duplicate, file: path, item: tensorItem(name))
            }
        }
        output = try OutputFile(path: path)
        try output.write(length + header, at: 0)
    }

    /// Writes a part of a tensor's data, starting at `byte` of the tensor. Every byte must be
    /// written once; threads may write at the same time.
    public func write(_ name: String, _ bytes: UnsafeRawBufferPointer, at byte: Int = 0) throws {
        let offset = try lock.withLock {
            guard let place = places[name], byte >= 0, byte <= place.count,
                bytes.count <= place.count - byte
            else {
                throw InputError(
                    .badShape, file: output.path, item: tensorItem(name),
                    expected: "\(places[name]?.count ?? 0) bytes",
                    found: "\(bytes.count) bytes from byte \(byte)")
            }
            places[name]?.written += bytes.count
            return place.offset + byte
        }
        try output.write(bytes, at: offset)
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
    public func commit() throws {
        try lock.withLock {
            for (name, place) in places where place.written != place.count {
                throw InputError(
                    .writeFailed, file: output.path, item: tensorItem(name),
                    expected: "\(place.count) bytes", found: "\(place.written) written")
            }
        }
        try output.commit()
    }

    /// Removes what was written so far. Does nothing after `commit`.
    public func abandon() { output.abandon() }
}

/// A string as JSON text, quotes included.
public func jsonString(_ text: String) -> String {
    var json = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": json += "\\\""
        case "\\": json += "\\\\"
        case "\n": json += "\\n"
        case "\r": json += "\\r"
        case "\t": json += "\\t"
        default:
            if scalar.value < 0x20 {
                let hex = String(scalar.value, radix: 16)
                json += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            } else {
                json.unicodeScalars.append(scalar)
            }
        }
    }
    return json + "\""
}
