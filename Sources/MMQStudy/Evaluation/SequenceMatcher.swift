import MMQBase

/// How alike two texts are, as Python's `difflib.SequenceMatcher(None, a, b).ratio()` measures it.
///
/// The longest common block is found, then those left and right of it, and so on; the ratio is
/// 2 × matched / (lengths together). In a `b` of 200 characters or more, characters that make up
/// more than 1 % of it start no block (`autojunk`), they only lengthen one: the result depends on
/// which text comes first.
struct SequenceMatcher {
    private let a: [Unicode.Scalar]
    private let b: [Unicode.Scalar]
    /// Where each character lies in `b`, popular ones left out.
    private let places: [Unicode.Scalar: [Int]]

    init(_ a: PythonText, _ b: PythonText) {
        self.a = a.scalars
        self.b = b.scalars
        var places: [Unicode.Scalar: [Int]] = [:]
        for (j, scalar) in b.scalars.enumerated() { places[scalar, default: []].append(j) }
        if b.count >= 200 {
            let most = b.count / 100 + 1
            places = places.filter { $0.value.count <= most }
        }
        self.places = places
    }

    /// Twice the matched characters over all characters; 1 for two empty texts.
    var ratio: Double {
        let total = a.count + b.count
        return total == 0 ? 1 : 2 * Double(matches) / Double(total)
    }

    /// The number of characters in matching blocks.
    var matches: Int {
        var count = 0
        var open = [(a: a.startIndex..<a.endIndex, b: b.startIndex..<b.endIndex)]
        while let (inA, inB) = open.popLast() {
            let (i, j, size) = longestBlock(in: inA, inB)
            guard size > 0 else { continue }
            count += size
            if inA.lowerBound < i, inB.lowerBound < j {
                open.append((inA.lowerBound..<i, inB.lowerBound..<j))
            }
            if i + size < inA.upperBound, j + size < inB.upperBound {
                open.append(((i + size)..<inA.upperBound, (j + size)..<inB.upperBound))
            }
        }
        return count
    }

    /// Of the longest blocks the first in `a`, and of those the first in `b`; then lengthened by
    /// popular characters on both sides.
    private func longestBlock(in inA: Range<Int>, _ inB: Range<Int>) -> (Int, Int, Int) {
        var best = (i: inA.lowerBound, j: inB.lowerBound, size: 0)
        // lengths[j]: of the block that ends at the character before and at j.
        var lengths: [Int: Int] = [:]
        for i in inA {
            var next: [Int: Int] = [:]
            for j in places[a[i]] ?? [] where j >= inB.lowerBound {
                if j >= inB.upperBound { break }
                let size = (lengths[j - 1] ?? 0) + 1
                next[j] = size
                if size > best.size { best = (i - size + 1, j - size + 1, size) }
            }
            lengths = next
        }
        while best.i > inA.lowerBound, best.j > inB.lowerBound, a[best.i - 1] == b[best.j - 1] {
            best = (best.i - 1, best.j - 1, best.size + 1)
        }
        while best.i + best.size < inA.upperBound, best.j + best.size < inB.upperBound,
            a[best.i + best.size] == b[best.j + best.size]
        {
            best.size += 1
        }
        return best
    }
}
