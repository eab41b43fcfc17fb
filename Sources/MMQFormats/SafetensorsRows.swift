import CSIMD
import MMQBase

/// A safetensors file of one tensor [rows, columns] that grows row by row: how many rows there are
/// is known only at its end. It appears under its name when it is complete.
///
/// The header has its room from the beginning and is padded, as the format allows; data begin at a
/// multiple of 64 bytes, so that a mapped file is an aligned array.
public final class SafetensorsRows {
    /// The final path.
    public let path: String
    /// The tensor's name.
    public let name: String
    /// F32 or F16: rows come as f32 and are rounded; beyond f16's range they become infinite.
    public let type: SafetensorsType
    /// Elements of a row.
    public let columns: Int
    /// Rows so far.
    public private(set) var rows = 0

    private let output: OutputFile
    private let headerBytes: Int

    /// Creates the partial file, or goes on with one.
    ///
    /// - Parameter rows: how many rows of an earlier run's file are kept, if that is to be gone on
    ///   with; then what is written outlives an error.
    /// - Precondition: `type` is F32 or F16.
    public init(
        path: String, name: String, type: SafetensorsType, columns: Int, goingOnAt rows: Int? = nil
    ) throws {
        precondition(type == .f32 || type == .f16)
        self.path = path
        self.name = name
        self.type = type
        self.columns = columns
        headerBytes = Self.headerBytes(name, type, columns)
        guard let rows else {
            output = try OutputFile(path: path)
            return
        }
        self.rows = rows
        output = try OutputFile(
            path: path,
            goingOnAt: rows == 0 ? 0 : headerBytes + rows * columns * type.byteSize)
    }

    /// How many rows a file of that size holds, at least one.
    public static func rows(
        fitting bytes: Int, name: String, type: SafetensorsType, columns: Int
    ) -> Int {
        let room = bytes - headerBytes(name, type, columns)
        return max(1, room / max(1, columns * type.byteSize))
    }

    private static func headerBytes(_ name: String, _ type: SafetensorsType, _ columns: Int) -> Int
    {
        // No count of rows or bytes has more digits.
        let longest = header(name, type, rows: .max, columns, bytes: .max)
        return (8 + longest.count + 63) / 64 * 64
    }

    /// Appends rows.
    public func append(_ values: UnsafeBufferPointer<Float>) throws {
        precondition(values.count % max(columns, 1) == 0, "a part of a row")
        let place = headerBytes + rows * columns * type.byteSize
        try type.store(values) { try output.write($0, at: place) }
        rows += values.count / max(columns, 1)
    }

    /// Makes the rows so far durable, for a later run to go on with.
    public func sync() throws { try output.sync() }

    /// Writes the header and gives the file its name.
    ///
    /// - Parameter durably: whether it must survive a power cut.
    public func commit(durably: Bool = true) throws {
        var header = Self.header(
            name, type, rows: rows, columns, bytes: rows * columns * type.byteSize)
        header += [UInt8](repeating: 0x20, count: headerBytes - 8 - header.count)
        let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
        try output.write(length + header, at: 0)
        try output.commit(durably: durably)
    }

    /// Removes what was written so far. Does nothing after `commit`.
    public func abandon() { output.abandon() }

    private static func header(
        _ name: String, _ type: SafetensorsType, rows: Int, _ columns: Int, bytes: Int
    ) -> [UInt8] {
        Array(
            ("{\(jsonString(name)):{\"dtype\":\"\(type.rawValue)\",\"shape\":[\(rows),\(columns)],"
                + "\"data_offsets\":[0,\(bytes)]}}").utf8)
    }
}

extension SafetensorsType {
    /// Lends floats to `body` as this type has them: beyond f16's range they become infinite.
    ///
    /// - Precondition: this is F32 or F16.
    public func store(
        _ values: UnsafeBufferPointer<Float>, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) rethrows {
        guard self == .f16, let base = values.baseAddress else {
            precondition(self == .f32 || values.isEmpty, "no type of activations")
            return try body(UnsafeRawBufferPointer(values))
        }
        try withUnsafeTemporaryAllocation(of: UInt16.self, capacity: values.count) { halves in
            _ = csimd_quantize_row(CSIMD_F16, base, nil, halves.baseAddress, values.count)
            try body(UnsafeRawBufferPointer(halves))
        }
    }
}
