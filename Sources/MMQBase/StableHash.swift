/// FNV-1a in 64 bits: the same number for the same bytes on every machine and in every version.
///
/// For identifying what is written into files and for seeds. No defence against an adversary.
@frozen
public struct StableHash: Sendable {
    /// The hash of what was added so far.
    public var value: UInt64 = 0xcbf2_9ce4_8422_2325

    /// The hash of nothing.
    @inlinable
    public init() {}

    /// Adds a unit, usually a byte.
    @inlinable
    public mutating func add(_ unit: UInt64) { value = (value ^ unit) &* 0x0000_0100_0000_01b3 }

    /// Adds a byte.
    @inlinable
    public mutating func add(_ byte: UInt8) { add(UInt64(byte)) }

    /// Adds bytes.
    @inlinable
    public mutating func add(_ bytes: some Sequence<UInt8>) { for byte in bytes { add(byte) } }

    /// Adds the bytes of an integer, the least significant first.
    @inlinable
    public mutating func add(littleEndian number: some FixedWidthInteger) {
        withUnsafeBytes(of: number.littleEndian) { add($0) }
    }

    /// The hash in 16 hexadecimal digits.
    public var digits: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
