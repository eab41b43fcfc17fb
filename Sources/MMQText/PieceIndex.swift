import MMQBase

/// Finds ids by the exact bytes of a piece.
///
/// Never a `Dictionary` keyed by `String`: Swift compares strings by canonical equivalence, so that
/// `é` (U+00E9) and `e` + U+0301, two pieces in LLaMA's vocabulary, would be one key.
struct PieceIndex: Sendable {
    /// All pieces one after the other.
    private var bytes: [UInt8] = []
    /// Start of piece i in `bytes`; one more than there are pieces.
    private var starts: [Int] = [0]
    private var ids: [Int32] = []
    /// Open addressing with linear probing: position in `ids` plus one, 0 for a free slot.
    private var slots: [UInt32]
    private let mask: Int

    /// Room for `count` pieces.
    init(count: Int) {
        var size = 16
        while size < count * 2 { size *= 2 }
        slots = Array(repeating: 0, count: size)
        mask = size - 1
    }

    /// Short keys, no attacker gains anything by collisions in a file of his own.
    @inline(__always)
    private static func hash(_ piece: UnsafeBufferPointer<UInt8>) -> Int {
        var hash = StableHash()
        hash.add(piece)
        return Int(truncatingIfNeeded: hash.value ^ (hash.value >> 32)) & Int.max
    }

    @inline(__always)
    private func equal(_ entry: Int, _ piece: UnsafeBufferPointer<UInt8>) -> Bool {
        let start = starts[entry]
        guard starts[entry + 1] - start == piece.count else { return false }
        for i in 0..<piece.count where bytes[start + i] != piece[i] { return false }
        return true
    }

    /// Adds a piece; false, and nothing added, if it is there already.
    ///
    /// - Precondition: no more pieces than the index was made for.
    @discardableResult
    mutating func insert(_ piece: [UInt8], id: Int32) -> Bool {
        piece.withUnsafeBufferPointer { piece in
            var slot = Self.hash(piece) & mask
            while slots[slot] != 0 {
                if equal(Int(slots[slot]) - 1, piece) { return false }
                slot = (slot + 1) & mask
            }
            bytes.append(contentsOf: piece)
            starts.append(bytes.count)
            ids.append(id)
            slots[slot] = UInt32(ids.count)
            return true
        }
    }

    /// The id of exactly these bytes.
    @inline(__always)
    func id(_ piece: UnsafeBufferPointer<UInt8>) -> Int32? {
        var slot = Self.hash(piece) & mask
        while slots[slot] != 0 {
            let entry = Int(slots[slot]) - 1
            if equal(entry, piece) { return ids[entry] }
            slot = (slot + 1) & mask
        }
        return nil
    }

    /// The id of exactly these bytes.
    func id(_ piece: [UInt8]) -> Int32? {
        piece.withUnsafeBufferPointer { id($0) }
    }
}

/// Finds rank and result of the merge of two pieces.
struct MergeTable: Sendable {
    /// What a merge gives, and how early it comes.
    struct Merge {
        var rank: UInt32
        var result: Int32
    }

    private var keys: [UInt64]
    private var values: [Merge]
    private let mask: Int
    private static let free = UInt64.max

    /// Room for `count` merges.
    init(count: Int) {
        var size = 16
        while size < count * 2 { size *= 2 }
        keys = Array(repeating: Self.free, count: size)
        values = Array(repeating: Merge(rank: 0, result: 0), count: size)
        mask = size - 1
    }

    @inline(__always)
    private func slot(_ key: UInt64) -> Int {
        let mixed = (key ^ (key >> 29)) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: mixed >> 20) & mask
    }

    @inline(__always)
    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// Sets what `left` and `right` become; a later rank for the same pair takes its place, as in
    /// the reference.
    mutating func set(_ left: Int32, _ right: Int32, _ merge: Merge) {
        let key = Self.key(left, right)
        var index = slot(key)
        while keys[index] != Self.free && keys[index] != key { index = (index + 1) & mask }
        keys[index] = key
        values[index] = merge
    }

    /// What `left` and `right` become.
    @inline(__always)
    func merge(_ left: Int32, _ right: Int32) -> Merge? {
        let key = Self.key(left, right)
        var index = slot(key)
        while keys[index] != Self.free {
            if keys[index] == key { return values[index] }
            index = (index + 1) & mask
        }
        return nil
    }
}
