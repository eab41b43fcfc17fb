import CSIMD

/// What a pass does at its sites: which neurons it masks, and what it counts.
///
/// One object serves one pass or many; counts add up until they are taken. Not thread-safe: passes
/// that share one run one after the other.
public final class Observation {
    /// Rows of a module that are counted apart: those of the picture and those of the text.
    struct Split {
        /// The module's place in the model's list.
        let module: Int
        /// Rows of one kind that follow each other.
        let spans: [(rows: Range<Int>, positions: Positions)]

        /// - Parameter isImage: which rows are the picture's.
        init(module: Int, isImage: [Bool]) {
            self.module = module
            var spans: [(rows: Range<Int>, positions: Positions)] = []
            for (row, image) in isImage.enumerated() {
                let kind = image ? Positions.image : .text
                if let last = spans.last, last.positions == kind {
                    spans[spans.count - 1].rows = last.rows.lowerBound..<row + 1
                } else {
                    spans.append((row..<row + 1, kind))
                }
            }
            self.spans = spans
        }
    }

    /// The modules of the model, in its order.
    public let modules: [ModuleShape]
    /// Whether activations are counted.
    public let isCounting: Bool
    /// Which neurons fired at which token, if that is recorded.
    public let firing: FiringPattern?
    /// Where the activations of some sites go, if somebody takes them.
    public let tap: ActivationTap?
    /// Whether layers run too whose output nobody uses: an observed site sees every row.
    var needsAllLayers: Bool { isCounting || tap != nil }

    /// [module]: the strongest activations, if they are kept.
    private let momentMemory: [MomentMemory]
    /// The split of a pass whose rows are counted apart.
    private let split: Split?

    private final class Totals {
        let positions: Positions
        let counts: UnsafeMutablePointer<Int64>
        let sums: UnsafeMutablePointer<Double>
        let squares: UnsafeMutablePointer<Double>
        let maxima: UnsafeMutablePointer<Float>
        let size: Int
        var tokens: Int64 = 0

        init(_ module: ModuleShape, _ positions: Positions) {
            func zeros<Number>(_ zero: Number, _ count: Int) -> UnsafeMutablePointer<Number> {
                let numbers = UnsafeMutablePointer<Number>.allocate(capacity: max(count, 1))
                numbers.initialize(repeating: zero, count: count)
                return numbers
            }
            self.positions = positions
            size = module.layers * module.neurons
            counts = zeros(0, size)
            sums = zeros(0, size)
            squares = zeros(0, size)
            maxima = zeros(-.infinity, size)
        }

        deinit {
            counts.deallocate()
            sums.deallocate()
            squares.deallocate()
            maxima.deallocate()
        }
    }
    /// [module]: one entry, or one for the rows of the picture and one for those of the text.
    private var totals: [[Totals]] = []

    /// Factors and what is added, for every neuron of a layer; nil where nothing is masked.
    private struct Edit {
        let scales: UnsafeMutablePointer<Float>
        let shifts: UnsafeMutablePointer<Float>
    }
    /// [module][layer].
    private var edits: [[Edit?]]

    /// - Parameters:
    ///   - modules: the modules of the model.
    ///   - counting: count activations.
    ///   - mask: what happens to neurons before they are counted.
    ///   - recording: keep a bit for every neuron and token; for one pass, as it takes
    ///     tokens × neurons / 8 bytes a layer.
    ///   - tap: gets activations as they are counted; for one pass, as it keeps their order.
    public convenience init(
        modules: [ModuleShape], counting: Bool, mask: NeuronMask? = nil, recording: Bool = false,
        tap: ActivationTap? = nil
    ) {
        self.init(
            modules: modules, counting: counting, mask: mask, recording: recording, tap: tap,
            split: nil)
    }

    /// - Parameters:
    ///   - split: rows of a module that are counted apart; then this serves one pass.
    ///   - moments: the strongest activations that are kept; then too.
    init(
        modules: [ModuleShape], counting: Bool, mask: NeuronMask? = nil, recording: Bool = false,
        tap: ActivationTap? = nil, split: Split?, moments: MomentRequest? = nil
    ) {
        self.modules = modules
        isCounting = counting
        self.split = split
        self.tap = tap
        momentMemory =
            moments.map { request in
                zip(modules, request.floors).map {
                    MomentMemory($0, keep: request.keep, floors: $1)
                }
            } ?? []
        firing = recording ? FiringPattern(modules: modules) : nil
        func copy(_ numbers: [Float]) -> UnsafeMutablePointer<Float> {
            let copy = UnsafeMutablePointer<Float>.allocate(capacity: numbers.count)
            copy.initialize(from: numbers, count: numbers.count)
            return copy
        }
        edits = modules.map { module in
            (0..<module.layers).map { layer in
                mask?.layer(layer, of: module.name)?.spread(over: module.neurons).map {
                    Edit(scales: copy($0.scales), shifts: copy($0.shifts))
                }
            }
        }
        guard counting else { return }
        totals = modules.enumerated().map { number, module in
            let apart: [Positions] = split?.module == number ? [.image, .text] : [.all]
            return apart.map { Totals(module, $0) }
        }
    }

    deinit {
        for case let edit? in edits.joined() {
            edit.scales.deallocate()
            edit.shifts.deallocate()
        }
    }

    /// Rows of a pass at a module's sites, cut into those that are counted together.
    func parts(_ rows: Range<Int>, module: Int) -> [(rows: Range<Int>, positions: Positions)] {
        guard let split, split.module == module else { return [(rows, .all)] }
        return split.spans.compactMap {
            let part = $0.rows.clamped(to: rows)
            return part.isEmpty ? nil : (part, $0.positions)
        }
    }

    /// The site of one layer for the next `rows` tokens, all of one kind, for the activation kernels.
    func site(module: Int, layer: Int, rows: Int, positions: Positions) -> csimd_site {
        let offset = layer * modules[module].neurons
        let total =
            isCounting ? totals[module].first { $0.positions == positions } : nil
        let edit = edits[module][layer]
        return csimd_site(
            scale: edit.map { UnsafePointer($0.scales) },
            shift: edit.map { UnsafePointer($0.shifts) },
            counts: total.map { $0.counts + offset }, sums: total.map { $0.sums + offset },
            squares: total.map { $0.squares + offset }, maxima: total.map { $0.maxima + offset },
            fired: firing?.append(module: module, layer: layer, rows: rows),
            values: tap?.room(
                module: module, layer: layer, rows: rows, neurons: modules[module].neurons),
            moments: momentMemory.isEmpty
                ? nil : momentMemory[module].append(layer: layer, rows: rows))
    }

    /// Notes that every layer of a module saw some rows.
    func saw(_ rows: Range<Int>, module: Int) {
        guard isCounting else { return }
        for part in parts(rows, module: module) {
            totals[module].first { $0.positions == part.positions }?.tokens +=
                Int64(part.rows.count)
        }
    }

    /// The strongest activations so far, in the order of the modules; empty if none are kept.
    public var moments: [ModuleMoments] { momentMemory.map(\.moments) }

    /// What was counted so far, in the order of the modules: one entry of a module, or one for the
    /// rows of the picture and one for those of the text; empty if not counting.
    public func counts() -> [ModuleCounts] {
        zip(modules, totals).flatMap { module, totals in
            totals.map { total in
                func values<Number>(_ pointer: UnsafeMutablePointer<Number>) -> [Number] {
                    Array(UnsafeBufferPointer(start: pointer, count: total.size))
                }
                var counts = ModuleCounts(shape: module, positions: total.positions)
                counts.counts = values(total.counts)
                counts.sums = values(total.sums)
                counts.squares = values(total.squares)
                counts.maxima = values(total.maxima)
                counts.tokens = total.tokens
                return counts
            }
        }
    }
}
