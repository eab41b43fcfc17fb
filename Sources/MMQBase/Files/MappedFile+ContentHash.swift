extension MappedFile {
    /// 64 bits of the contents: changes when the file does. Not a defence against an adversary.
    ///
    /// Study files hold it, so it must not change. Eight bytes a step, where ``StableHash`` takes
    /// one: a bench has hundreds of megabytes.
    public func contentHash() -> UInt64 {
        let bytes = bytes
        var hash = StableHash().value ^ UInt64(bytes.count)
        func absorb(_ word: UInt64) {
            hash = (hash ^ word) &* 0x9e37_79b9_7f4a_7c15
            hash ^= hash >> 29
        }
        let whole = bytes.count & ~7
        for offset in stride(from: 0, to: whole, by: 8) {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            absorb(UInt64(littleEndian: word))
        }
        for offset in whole..<bytes.count { absorb(UInt64(bytes[offset])) }
        return hash
    }
}
