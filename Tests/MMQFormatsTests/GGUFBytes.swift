/// Builds GGUF bytes field by field, right or wrong.
struct GGUFBytes {
    var bytes: [UInt8]

    init(magic: String = "GGUF", version: UInt32 = 3, tensors: UInt64, keys: UInt64) {
        bytes = Array(magic.utf8)
        number(version)
        number(tensors)
        number(keys)
    }

    mutating func number<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func text(_ text: String, length: UInt64? = nil) {
        number(length ?? UInt64(text.utf8.count))
        bytes += Array(text.utf8)
    }

    /// A key, the value's type and the value's bytes.
    mutating func key(_ name: String, _ type: UInt32, _ value: (inout GGUFBytes) -> Void) {
        text(name)
        number(type)
        value(&self)
    }

    /// A tensor's entry; dimensions in ggml's order, as the file has them.
    mutating func tensor(
        _ name: String, _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0,
        count: UInt32? = nil
    ) {
        text(name)
        number(count ?? UInt32(dimensions.count))
        for dimension in dimensions { number(dimension) }
        number(type)
        number(offset)
    }

    /// Padding to the alignment, then that many bytes of data.
    mutating func data(_ count: Int, alignment: Int = 32) {
        while bytes.count % alignment != 0 { bytes.append(0) }
        bytes += [UInt8](repeating: 0, count: count)
    }

    /// A file with one F32 tensor 'w' of two elements.
    static func one(
        name: String = "w", dimensions: [UInt64] = [2], type: UInt32 = 0, offset: UInt64 = 0,
        count: UInt32? = nil, data: Int = 32
    ) -> [UInt8] {
        var file = GGUFBytes(tensors: 1, keys: 0)
        file.tensor(name, dimensions, type: type, offset: offset, count: count)
        file.data(data)
        return file.bytes
    }

    /// A file with one key 'k' and no tensors.
    static func key(_ type: UInt32, _ value: (inout GGUFBytes) -> Void) -> [UInt8] {
        var file = GGUFBytes(tensors: 0, keys: 1)
        file.key("k", type, value)
        return file.bytes
    }

    /// A file with two tensors 'a' and 'b' of 16 bytes at these offsets.
    static func two(_ a: UInt64, _ b: UInt64, names: (String, String) = ("a", "b")) -> [UInt8] {
        var file = GGUFBytes(tensors: 2, keys: 0)
        file.tensor(names.0, [4], offset: a)
        file.tensor(names.1, [4], offset: b)
        file.data(64)
        return file.bytes
    }
}
