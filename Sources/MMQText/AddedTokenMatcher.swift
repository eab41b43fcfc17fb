import MMQBase

/// Cuts a text at the added tokens it contains, as the reference does: from left to right, at each
/// place the longest token.
struct AddedTokenMatcher: Sendable {
    /// A stretch of text, or an added token.
    struct Part {
        var range: Range<Int>
        /// The added token's id, nil for text.
        var id: Int32?
    }

    /// A byte behind those that lead to it. A prompt of a tiled picture has thousands of bytes of
    /// placeholders: children are a list in the nodes themselves, mostly of one.
    private struct Node {
        var byte: UInt8 = 0
        var firstChild = 0
        var sibling = 0
        /// Position in `tokens` plus one, 0 where no token ends.
        var token = 0
    }

    /// The first is the root, and 0 is no child.
    private var nodes = [Node()]
    private var tokens: [AddedToken] = []
    private var startsToken = [Bool](repeating: false, count: 256)

    /// True if there is nothing to look for.
    var isEmpty: Bool { tokens.isEmpty }

    /// Looks for `token` where the text spells `pattern`. Of equal patterns the first one counts.
    mutating func add(_ token: AddedToken, pattern: [UInt8]) {
        guard let first = pattern.first else { return }
        startsToken[Int(first)] = true
        var node = 0
        for byte in pattern {
            var child = self.child(of: node, byte)
            if child == 0 {
                child = nodes.count
                nodes.append(Node(byte: byte, sibling: nodes[node].firstChild))
                nodes[node].firstChild = child
            }
            node = child
        }
        guard nodes[node].token == 0 else { return }
        tokens.append(token)
        nodes[node].token = tokens.count
    }

    private func child(of node: Int, _ byte: UInt8) -> Int {
        var child = nodes[node].firstChild
        while child != 0, nodes[child].byte != byte { child = nodes[child].sibling }
        return child
    }

    /// The longest token at `start`, and where it ends.
    private func longest(_ text: ArraySlice<UInt8>, at start: Int) -> (AddedToken, Int)? {
        guard startsToken[Int(text[start])] else { return nil }
        var node = 0
        var found: (AddedToken, Int)?
        for i in start..<text.endIndex {
            node = child(of: node, text[i])
            guard node != 0 else { break }
            if nodes[node].token > 0 { found = (tokens[nodes[node].token - 1], i + 1) }
        }
        return found
    }

    /// The parts of `text` in order; ranges are indices of `text`. A token that takes whitespace
    /// along has it in its range.
    func split(_ text: ArraySlice<UInt8>, skipSpecial: Bool) -> [Part] {
        var parts: [Part] = []
        var covered = text.startIndex
        var i = text.startIndex
        while i < text.endIndex {
            guard let (token, end) = longest(text, at: i) else {
                i += 1
                continue
            }
            // A match that is refused still uses up its bytes.
            defer { i = end }
            if skipSpecial && token.special { continue }
            if token.singleWord {
                let wordBefore =
                    i > text.startIndex && UTF8Scan.scalar(text, before: i).0.isWordCharacter
                let wordAfter =
                    end < text.endIndex && UTF8Scan.scalar(text, at: end).0.isWordCharacter
                if wordBefore || wordAfter { continue }
            }
            var start = i
            var stop = end
            if token.leftStrip {
                while start > text.startIndex {
                    let (scalar, previous) = UTF8Scan.scalar(text, before: start)
                    guard scalar.properties.isWhitespace else { break }
                    start = previous
                }
                start = max(start, covered)
            }
            if token.rightStrip {
                while stop < text.endIndex {
                    let (scalar, next) = UTF8Scan.scalar(text, at: stop)
                    guard scalar.properties.isWhitespace else { break }
                    stop = next
                }
            }
            if covered < start { parts.append(Part(range: covered..<start, id: nil)) }
            // A token inside whitespace that the one before took along begins before `covered`.
            parts.append(Part(range: min(start, stop)..<stop, id: token.id))
            covered = stop
        }
        if covered < text.endIndex {
            parts.append(Part(range: covered..<text.endIndex, id: nil))
        }
        return parts
    }
}
