import MMQBase

/// Byte-pair encoding over a vocabulary with byte fallback, as the `BPE` model of Hugging Face
/// tokenizers computes it: the pair with the lowest rank merges first, of equal ones the leftmost.
struct BytePairEncoder: Sendable {
    private let index: PieceIndex
    private let merges: MergeTable
    /// Ids of `<0x00>`...`<0xFF>`, -1 where the vocabulary has none.
    private let byteIDs: [Int32]
    private let byteFallback: Bool
    private let fuseUnknown: Bool
    private let unknownID: Int32?
    private let ignoreMerges: Bool

    /// - Parameters:
    ///   - index: the model's own vocabulary, without added tokens that are not in it.
    ///   - merges: which pairs merge.
    init(
        index: PieceIndex, merges: MergeTable, byteFallback: Bool, fuseUnknown: Bool,
        unknownID: Int32?, ignoreMerges: Bool
    ) {
        self.index = index
        self.merges = merges
        self.byteFallback = byteFallback
        self.fuseUnknown = fuseUnknown
        self.unknownID = unknownID
        self.ignoreMerges = ignoreMerges
        let digits = Array("0123456789ABCDEF".utf8)
        byteIDs = (0..<256).map { byte in
            let piece = Array("<0x".utf8) + [digits[byte >> 4], digits[byte & 15]] + [0x3E]
            return index.id(piece) ?? -1
        }
    }

    /// A piece in the making: a node of a doubly linked list over positions. -1 ends the list.
    private struct Symbol {
        var id: Int32
        var previous: Int32
        var next: Int32
        var alive: Bool
    }

    /// A merge that was possible when it was queued.
    private struct Candidate {
        var rank: UInt32
        var position: Int32
        var result: Int32

        @inline(__always)
        static func < (a: Candidate, b: Candidate) -> Bool {
            a.rank != b.rank ? a.rank < b.rank : a.position < b.position
        }
    }

    /// The ids of valid UTF-8.
    func encode(_ text: ArraySlice<UInt8>) -> [Int32] {
        if text.isEmpty { return [] }
        if ignoreMerges, let id = text.withUnsafeBufferPointer({ index.id($0) }) { return [id] }
        var symbols = characters(text)
        merge(&symbols)
        return symbols.compactMap { $0.alive ? $0.id : nil }
    }

    /// One symbol per character, per byte of a character without a piece, or per unknown stretch.
    private func characters(_ text: ArraySlice<UInt8>) -> [Symbol] {
        var ids: [Int32] = []
        ids.reserveCapacity(text.count)
        // An unknown stretch waits for the next character that has a piece; bytes in between pass
        // it by. That order is the reference's.
        var unknown: Int32?
        text.withUnsafeBufferPointer { text in
            var i = 0
            while i < text.count {
                let next = min(i + UTF8Scan.length(text[i]), text.count)
                let character = UnsafeBufferPointer(rebasing: text[i..<next])
                i = next
                if let id = index.id(character) {
                    if let waiting = unknown {
                        ids.append(waiting)
                        unknown = nil
                    }
                    ids.append(id)
                } else if byteFallback && character.allSatisfy({ byteIDs[Int($0)] >= 0 }) {
                    for byte in character { ids.append(byteIDs[Int(byte)]) }
                } else if let unknownID {
                    if let waiting = unknown, !fuseUnknown { ids.append(waiting) }
                    unknown = unknownID
                }
            }
        }
        if let unknown { ids.append(unknown) }
        return ids.enumerated().map { i, id in
            let next = i + 1 < ids.count ? Int32(i + 1) : -1
            return Symbol(id: id, previous: Int32(i) - 1, next: next, alive: true)
        }
    }

    private func merge(_ symbols: inout [Symbol]) {
        var queue = MinHeap<Candidate>(less: <)
        queue.reserve(symbols.count)
        func push(_ position: Int32, _ left: Int32, _ right: Int32) {
            guard let merge = merges.merge(left, right) else { return }
            let candidate = Candidate(rank: merge.rank, position: position, result: merge.result)
            queue.push(candidate)
        }
        for i in symbols.indices.dropLast() {
            push(Int32(i), symbols[i].id, symbols[i + 1].id)
        }
        while let top = queue.pop() {
            let here = Int(top.position)
            guard symbols[here].alive, symbols[here].next >= 0 else { continue }
            let right = Int(symbols[here].next)
            // The pair may have changed since it was queued; what counts is what it gives.
            guard let now = merges.merge(symbols[here].id, symbols[right].id),
                now.result == top.result
            else { continue }
            symbols[here].id = top.result
            symbols[here].next = symbols[right].next
            symbols[right].alive = false
            let previous = symbols[here].previous
            let next = symbols[here].next
            if next >= 0 { symbols[Int(next)].previous = top.position }
            if previous >= 0 { push(previous, symbols[Int(previous)].id, top.result) }
            if next >= 0 { push(top.position, top.result, symbols[Int(next)].id) }
        }
    }
}

/// A binary heap with the smallest element on top.
struct MinHeap<Element> {
    private var elements: [Element] = []
    private let less: (Element, Element) -> Bool

    init(less: @escaping (Element, Element) -> Bool) {
        self.less = less
    }

    mutating func reserve(_ count: Int) {
        elements.reserveCapacity(count)
    }

    mutating func push(_ element: Element) {
        elements.append(element)
        var child = elements.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard less(elements[child], elements[parent]) else { return }
            elements.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> Element? {
        guard let top = elements.first, let last = elements.popLast() else { return nil }
        guard !elements.isEmpty else { return top }
        elements[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < elements.count else { return top }
            if child + 1 < elements.count && less(elements[child + 1], elements[child]) {
                child += 1
            }
            guard less(elements[child], elements[parent]) else { return top }
            elements.swapAt(child, parent)
            parent = child
        }
    }
}
