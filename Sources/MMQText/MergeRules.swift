/// The list of pairs that merge, from explicit pairs or from scores.
enum MergeRules {
    /// Rank and result of every pair.
    ///
    /// - Precondition: the tables are valid.
    static func table(
        _ tables: TokenizerTables, model: PieceIndex, outside: Set<Int32>
    ) -> MergeTable {
        let pairs: [MergePair]
        switch tables.mergeOrder {
        case .explicit(let explicit): pairs = explicit
        case .byScore(let order): pairs = derive(tables, order, model: model, outside: outside)
        }
        var table = MergeTable(count: pairs.count)
        for (rank, pair) in pairs.enumerated() {
            let merged = tables.pieces[Int(pair.left)] + tables.pieces[Int(pair.right)]
            guard let result = model.id(merged) else { continue }
            let merge = MergeTable.Merge(rank: UInt32(truncatingIfNeeded: rank), result: result)
            table.set(pair.left, pair.right, merge)
        }
        return table
    }

    /// All pairs that give a piece, by falling score and rising id of that piece, its splits in
    /// `order`: how transformers makes merges out of a SentencePiece vocabulary
    /// (`generate_merges`).
    static func derive(
        _ tables: TokenizerTables, _ order: SplitOrder, model: PieceIndex, outside: Set<Int32>
    ) -> [MergePair] {
        var candidates: [Int32] = []
        for i in tables.pieces.indices where tables.types[i] != .unused {
            let id = Int32(i)
            if !outside.contains(id) && model.id(tables.pieces[i]) == id { candidates.append(id) }
        }
        // `sort` is not promised to be stable, so the id is part of the key.
        candidates.sort { a, b in
            let (x, y) = (tables.scores[Int(a)], tables.scores[Int(b)])
            return x != y ? x > y : a < b
        }
        var pairs: [MergePair] = []
        var start = 0
        while start < candidates.count {
            let score = tables.scores[Int(candidates[start])]
            var end = start
            var group: [MergePair] = []
            while end < candidates.count && tables.scores[Int(candidates[end])] == score {
                let splits = splits(tables.pieces[Int(candidates[end])], model: model)
                switch order {
                case .shorterLeft, .pairIDs: group += splits
                case .longerLeft: group += splits.reversed()
                case .leftID: group += splits.sorted { $0.left < $1.left }
                }
                end += 1
            }
            if order == .pairIDs {
                group.sort { ($0.left, $0.right) < ($1.left, $1.right) }
            }
            pairs += group
            start = end
        }
        return pairs
    }

    /// All ways to cut a piece into two others, the shorter left part first.
    private static func splits(_ piece: [UInt8], model: PieceIndex) -> [MergePair] {
        piece.withUnsafeBufferPointer { piece in
            var splits: [MergePair] = []
            for cut in 1..<max(piece.count, 1) where piece[cut] & 0xC0 != 0x80 {
                guard let left = model.id(UnsafeBufferPointer(rebasing: piece[..<cut])),
                    let right = model.id(UnsafeBufferPointer(rebasing: piece[cut...]))
                else { continue }
                splits.append(MergePair(left, right))
            }
            return splits
        }
    }
}

extension TokenizerTables {
    /// Sets scores and merge order so that exactly `merges` come out.
    ///
    /// - Parameters:
    ///   - merges: the pairs that a `tokenizer.json` lists; nil for all pairs that give a piece, by
    ///     the id of that piece, as transformers derives them from a `tokenizer.model`.
    ///   - known: scores to keep if they lead to the same pairs, those of a `tokenizer.model`.
    ///   - model: the model's own vocabulary.
    mutating func setMergeOrder(merges: [MergePair]?, scores known: [Float]?, model: PieceIndex) {
        let outside = Set(addedTokens.filter { !$0.inModel }.map(\.id))
        func derived(_ order: SplitOrder) -> [MergePair] {
            MergeRules.derive(self, order, model: model, outside: outside)
        }
        guard let merges else {
            scores = pieces.indices.map { -Float($0) }
            mergeOrder = .byScore(.shorterLeft)
            if let known {
                let wanted = derived(.shorterLeft)
                let ranks = scores
                scores = known + Array(repeating: 0, count: max(0, pieces.count - known.count))
                if scores.contains(where: \.isNaN) || derived(.shorterLeft) != wanted {
                    scores = ranks
                }
            }
            return
        }
        setRanks(merges, model: model)
        for order in SplitOrder.allCases where derived(order) == merges {
            mergeOrder = .byScore(order)
            return
        }
        mergeOrder = .explicit(merges)
    }

    /// Scores that fall from one merged piece to the next. Pieces whose merges lie among each other
    /// in the list had equal scores when it was made, and get equal ones.
    private mutating func setRanks(_ merges: [MergePair], model: PieceIndex) {
        let results = merges.map { pair in
            model.id(pieces[Int(pair.left)] + pieces[Int(pair.right)]) ?? -1
        }
        var last: [Int32: Int] = [:]
        for (i, result) in results.enumerated() { last[result] = i }
        var rank = 0
        var open = -1
        var ranks: [Int32: Int] = [:]
        for (i, result) in results.enumerated() {
            if i > open && i > 0 { rank += 1 }
            open = max(open, last[result] ?? i)
            if ranks[result] == nil { ranks[result] = rank }
        }
        for i in pieces.indices {
            if let known = ranks[Int32(i)] {
                scores[i] = -Float(known)
            } else if types[i] == .normal {
                rank += 1
                scores[i] = -Float(rank)
            } else {
                scores[i] = 0
            }
        }
    }
}
