import CSIMD
import MMQBase

/// Element types of GGUF tensors, numbered as ggml numbers them.
///
/// mmq computes with those that have a `kernelType`; the others are known so that files that hold
/// them can be listed and refused by name.
public enum GGUFTensorType: UInt32, Sendable, CaseIterable {
    /// 32-bit float.
    case f32 = 0
    /// IEEE half.
    case f16 = 1
    /// 4 bits, scale per 32.
    case q4_0 = 2
    /// 4 bits, scale and minimum per 32.
    case q4_1 = 3
    /// 5 bits, scale per 32.
    case q5_0 = 6
    /// 5 bits, scale and minimum per 32.
    case q5_1 = 7
    /// 8 bits, scale per 32.
    case q8_0 = 8
    /// 8 bits, scale and sum per 32.
    case q8_1 = 9
    /// k-quants of 256.
    case q2_K = 10, q3_K = 11, q4_K = 12, q5_K = 13, q6_K = 14, q8_K = 15
    /// Codebook types of 256.
    case iq2_xxs = 16, iq2_xs = 17, iq3_xxs = 18, iq1_s = 19
    /// Non-linear 4 bits per 32.
    case iq4_nl = 20
    /// Codebook types of 256.
    case iq3_s = 21, iq2_s = 22, iq4_xs = 23
    /// Plain integers and 64-bit float.
    case i8 = 24, i16 = 25, i32 = 26, i64 = 27, f64 = 28
    /// Codebook type of 256.
    case iq1_m = 29
    /// The upper half of a 32-bit float.
    case bf16 = 30
    /// Ternary types of 256.
    case tq1_0 = 34, tq2_0 = 35
    /// 4-bit float, shared exponent per 32.
    case mxfp4 = 39

    /// The name as ggml prints it, in capitals.
    public var name: String { "\(self)".uppercased() }

    /// Elements in a block; a row must be a multiple of it.
    public var blockElements: Int {
        switch self {
        case .f32, .f16, .bf16, .f64, .i8, .i16, .i32, .i64: 1
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q8_1, .iq4_nl, .mxfp4: 32
        default: 256
        }
    }

    /// Bytes of a block.
    public var blockBytes: Int {
        switch self {
        case .i8: 1
        case .f16, .bf16, .i16: 2
        case .f32, .i32: 4
        case .f64, .i64: 8
        case .mxfp4: 17
        case .q4_0, .iq4_nl: 18
        case .q4_1: 20
        case .q5_0: 22
        case .q5_1: 24
        case .q8_0: 34
        case .q8_1: 36
        case .q2_K: 84
        case .q3_K, .iq3_s: 110
        case .q4_K: 144
        case .q5_K: 176
        case .q6_K: 210
        case .q8_K: 292
        case .iq2_xxs, .tq2_0: 66
        case .iq2_xs: 74
        case .iq2_s: 82
        case .iq3_xxs: 98
        case .iq1_s: 50
        case .iq1_m: 56
        case .iq4_xs: 136
        case .tq1_0: 54
        }
    }

    /// The kernels' number for this type, or nil if they do not compute with it.
    public var kernelType: csimd_type? {
        switch self {
        case .f32: CSIMD_F32
        case .f16: CSIMD_F16
        case .bf16: CSIMD_BF16
        case .q8_0: CSIMD_Q8_0
        case .q4_0: CSIMD_Q4_0
        case .iq4_nl: CSIMD_IQ4_NL
        case .q4_1: CSIMD_Q4_1
        case .q5_0: CSIMD_Q5_0
        case .q5_1: CSIMD_Q5_1
        case .q4_K: CSIMD_Q4_K
        case .q5_K: CSIMD_Q5_K
        case .q6_K: CSIMD_Q6_K
        default: nil
        }
    }

    /// The types that kernels compute with.
    public static let computable = allCases.filter { $0.kernelType != nil }

    /// Their names, for errors.
    public static var computableNames: String {
        computable.map(\.name).joined(separator: ", ")
    }

    /// Bytes of a tensor of that shape (rows first, blocks along the last dimension); nil if the
    /// last dimension is no multiple of the block or the size does not fit an Int.
    public func byteCount(shape: [Int]) -> Int? {
        guard let elements = elementCount(shape) else { return nil }
        let row = shape.last ?? 1
        guard row % blockElements == 0 else { return nil }
        let (bytes, overflow) = (elements / blockElements).multipliedReportingOverflow(
            by: blockBytes)
        return overflow ? nil : bytes
    }
}

/// Types of GGUF metadata values, numbered as in the file.
public enum GGUFValueType: UInt32, Sendable {
    /// Unsigned and signed bytes and 16-bit integers.
    case uint8 = 0, int8 = 1, uint16 = 2, int16 = 3
    /// 32-bit integers and float.
    case uint32 = 4, int32 = 5, float32 = 6
    /// A byte, 0 or 1.
    case bool = 7
    /// Length and bytes.
    case string = 8
    /// Element type, count, elements.
    case array = 9
    /// 64-bit integers and float.
    case uint64 = 10, int64 = 11, float64 = 12

    /// The least number of bytes that a value takes in a file.
    var minimumBytes: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .string, .uint64, .int64, .float64: 8
        case .array: 12
        }
    }
}

/// One metadata value.
///
/// Strings are bytes: vocabularies hold pieces that Swift's `String` would call equal (composed and
/// decomposed accents), and some files hold bytes that are no UTF-8.
public enum GGUFValue: Sendable, Equatable {
    /// An unsigned byte.
    case uint8(UInt8)
    /// A signed byte.
    case int8(Int8)
    /// An unsigned 16-bit integer.
    case uint16(UInt16)
    /// A signed 16-bit integer.
    case int16(Int16)
    /// An unsigned 32-bit integer.
    case uint32(UInt32)
    /// A signed 32-bit integer.
    case int32(Int32)
    /// A 32-bit float.
    case float32(Float)
    /// A boolean.
    case bool(Bool)
    /// A string's bytes, normally UTF-8.
    case bytes([UInt8])
    /// Elements of one type.
    case array(GGUFValueType, [GGUFValue])
    /// An unsigned 64-bit integer.
    case uint64(UInt64)
    /// A signed 64-bit integer.
    case int64(Int64)
    /// A 64-bit float.
    case float64(Double)

    /// A string value.
    public static func string(_ text: String) -> GGUFValue { .bytes(Array(text.utf8)) }

    /// An array of strings.
    public static func strings(_ texts: [[UInt8]]) -> GGUFValue {
        .array(.string, texts.map(GGUFValue.bytes))
    }

    /// An array of 32-bit floats.
    public static func floats(_ values: [Float]) -> GGUFValue {
        .array(.float32, values.map(GGUFValue.float32))
    }

    /// An array of signed 32-bit integers.
    public static func int32s(_ values: [Int32]) -> GGUFValue {
        .array(.int32, values.map(GGUFValue.int32))
    }

    /// The value's type.
    public var type: GGUFValueType {
        switch self {
        case .uint8: .uint8
        case .int8: .int8
        case .uint16: .uint16
        case .int16: .int16
        case .uint32: .uint32
        case .int32: .int32
        case .float32: .float32
        case .bool: .bool
        case .bytes: .string
        case .array: .array
        case .uint64: .uint64
        case .int64: .int64
        case .float64: .float64
        }
    }

    /// The value as an integer, or nil if it is none or does not fit.
    public var integer: Int? {
        switch self {
        case .uint8(let value): Int(value)
        case .int8(let value): Int(value)
        case .uint16(let value): Int(value)
        case .int16(let value): Int(value)
        case .uint32(let value): Int(value)
        case .int32(let value): Int(value)
        case .uint64(let value): Int(exactly: value)
        case .int64(let value): Int(value)
        default: nil
        }
    }

    /// The value as a 32-bit float, or nil if it is no number.
    public var float: Float? {
        switch self {
        case .float32(let value): value
        case .float64(let value): Float(value)
        default: integer.map { Float($0) }
        }
    }

    /// The value's text, or nil if it is no string or not UTF-8.
    public var text: String? {
        if case .bytes(let bytes) = self { return strictUTF8(bytes) }
        return nil
    }

    /// A short text for listings and error messages.
    public var summary: String {
        switch self {
        case .bytes(let bytes):
            let cut = bytes.prefix(80)
            return "\"" + String(decoding: cut, as: UTF8.self) + (bytes.count > 80 ? "...\"" : "\"")
        case .array(let type, let values):
            let shown = values.prefix(6).map(\.summary).joined(separator: ", ")
            return "[\(shown)\(values.count > 6 ? ", ..." : "")] (\(values.count) × \(type))"
        case .bool(let value): return String(value)
        case .float32(let value): return String(value)
        case .float64(let value): return String(value)
        case .uint64(let value): return String(value)
        default: return integer.map(String.init) ?? ""
        }
    }
}

/// The metadata of a GGUF file: keys in order, and reading with errors that name file and key.
public struct GGUFMetadata: Sendable {
    /// The file, for errors.
    public let file: String
    /// Keys in the order of the file.
    public private(set) var keys: [String] = []
    private var values: [String: GGUFValue] = [:]

    /// No metadata yet.
    public init(file: String) { self.file = file }

    /// The value of `key`, or nil.
    public subscript(key: String) -> GGUFValue? { values[key] }

    /// The members in order.
    public var members: [(key: String, value: GGUFValue)] {
        keys.compactMap { key in values[key].map { (key, $0) } }
    }

    /// Adds a value; false if the key is already there.
    public mutating func add(_ key: String, _ value: GGUFValue) -> Bool {
        guard values[key] == nil else { return false }
        values[key] = value
        keys.append(key)
        return true
    }

    private func value(_ key: String) throws -> GGUFValue {
        guard let value = values[key] else {
            throw InputError(.missingKey, file: file, item: "key " + quoted(key))
        }
        return value
    }

    private func wrong(_ key: String, _ expected: String, _ value: GGUFValue) -> InputError {
        InputError(
            .badValue, file: file, item: "key " + quoted(key), expected: expected,
            found: value.summary)
    }

    /// An integer of any width.
    public func integer(_ key: String) throws -> Int {
        let value = try value(key)
        guard let integer = value.integer else { throw wrong(key, "an integer", value) }
        return integer
    }

    /// An integer within a range.
    public func integer(_ key: String, in range: ClosedRange<Int>) throws -> Int {
        let value = try value(key)
        guard let integer = value.integer, range.contains(integer) else {
            throw wrong(key, "an integer from \(range.lowerBound) to \(range.upperBound)", value)
        }
        return integer
    }

    /// A number as f32.
    public func float(_ key: String) throws -> Float {
        let value = try value(key)
        guard let float = value.float, float.isFinite else { throw wrong(key, "a number", value) }
        return float
    }

    /// A boolean.
    public func bool(_ key: String) throws -> Bool {
        let value = try value(key)
        guard case .bool(let flag) = value else { throw wrong(key, "true or false", value) }
        return flag
    }

    /// A UTF-8 string.
    public func string(_ key: String) throws -> String {
        let value = try value(key)
        guard let text = value.text else { throw wrong(key, "UTF-8 text", value) }
        return text
    }

    /// An array's elements.
    public func array(_ key: String) throws -> [GGUFValue] {
        let value = try value(key)
        guard case .array(_, let elements) = value else { throw wrong(key, "an array", value) }
        return elements
    }

    /// An array of integers.
    public func integers(_ key: String) throws -> [Int] {
        try array(key).map {
            guard let integer = $0.integer else { throw wrong(key, "integers", $0) }
            return integer
        }
    }

    /// An array of numbers as f32.
    public func floats(_ key: String) throws -> [Float] {
        try array(key).map {
            guard let float = $0.float else { throw wrong(key, "numbers", $0) }
            return float
        }
    }

    /// An array of strings, as bytes.
    public func strings(_ key: String) throws -> [[UInt8]] {
        try array(key).map {
            guard case .bytes(let bytes) = $0 else { throw wrong(key, "strings", $0) }
            return bytes
        }
    }
}
