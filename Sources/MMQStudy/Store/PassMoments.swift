import CSIMD
import GRDB
import MMQBase
import MMQModels

/// A row of `moment`: a layer's.
struct MomentRow: StudyRow {
    static let table = "moment"
    let pass: Int64
    let module: Int
    let layer: Int
    let tokens: Int64
    let activations: Blob
    let samples: Blob
    let places: Blob
    let above: Blob

    var damage: String? {
        guard (0..<StudyLimit.layers).contains(layer) else { return "layer is \(layer)" }
        return (0...Int64(UInt32.max)).contains(tokens) ? nil : "tokens is \(tokens)"
    }
}

/// What made neurons fire in a pass: the strongest activations of each, with the sample and the token
/// where they were, and a histogram of all.
///
/// The strongest are those of all samples whatever their order: greater first, of equal ones that of
/// the earlier sample, then token. So passes over parts of a bench add up to the pass over the whole.
final class PassMoments {
    /// What is known of a layer.
    struct Layer: Equatable {
        let neurons: Int
        let keep: Int
        var tokens: Int64 = 0
        /// [keep, neurons], descending; -infinity where there is none.
        var activations: [Float]
        /// [keep, neurons]: the sample's place in the bench's order; 0 where there is none.
        var samples: [UInt32]
        /// [keep, neurons]: the token among those of the sample that the module saw; likewise.
        var places: [UInt32]
        /// [edges, neurons]: tokens whose activation is greater than the edge.
        var above: [UInt32]
    }

    /// How many of a neuron's are kept; 0 for none.
    let keep: Int
    /// [module][layer].
    private(set) var layers: [[Layer]]
    /// [module][layers × neurons]: what an activation has to be greater than to be kept, whatever
    /// sample it is of.
    private var floors: [[Float]]
    /// Whether it is not stored as it stands here.
    private var isChanged = true

    /// Nothing.
    init(modules: [ModuleShape], keep: Int) {
        self.keep = keep
        layers = (keep > 0 ? modules : []).map { module in
            Array(repeating: Layer(neurons: module.neurons, keep: keep), count: module.layers)
        }
        floors = layers.map { layers in layers.flatMap { $0.floors } }
    }

    private init(keep: Int, layers: [[Layer]]) {
        self.keep = keep
        self.layers = layers
        floors = layers.map { layers in layers.flatMap { $0.floors } }
    }

    /// What the next sample is asked for; nil if nothing is kept.
    var request: MomentRequest? { keep > 0 ? MomentRequest(keep: keep, floors: floors) : nil }

    /// Whether a sample's can be added: no error comes later.
    ///
    /// - Throws: `InputError`, `.failed` where there are more tokens than a histogram can count.
    func checkRoom(for moments: [ModuleMoments]) throws {
        for (module, more) in moments.enumerated() where !layers[module].isEmpty {
            try checkRoom(module, more.tokens)
        }
    }

    private func checkRoom(_ module: Int, _ more: Int64) throws {
        for layer in layers[module] {
            let (sum, overflow) = layer.tokens.addingReportingOverflow(more)
            guard !overflow, sum <= Int64(UInt32.max) else {
                throw InputError(
                    .failed, file: "counts",
                    "more tokens than a histogram of activations can count")
            }
        }
    }

    /// Adds what a sample's pass kept, for which there is room.
    ///
    /// - Parameter sample: its place in the bench's order.
    func add(_ moments: [ModuleMoments], sample: Int) {
        for (module, more) in moments.enumerated() {
            for layer in layers[module].indices { add(more[layer, sample], to: module, layer) }
        }
    }

    /// Adds what another pass kept, exactly: in whatever order, the whole is the same.
    ///
    /// - Throws: `InputError`, `.failed` where there are more tokens than a histogram can count.
    func add(_ other: PassMoments) throws {
        for (module, more) in other.layers.enumerated() {
            try checkRoom(module, more.map(\.tokens).max() ?? 0)
        }
        for (module, more) in other.layers.enumerated() {
            for layer in more.indices { add(more[layer], to: module, layer) }
        }
    }

    private func add(_ more: Layer, to module: Int, _ layer: Int) {
        let neurons = more.neurons
        floors[module].withUnsafeMutableBufferPointer {
            layers[module][layer].add(
                more, floors: $0.extracting(layer * neurons..<(layer + 1) * neurons))
        }
        isChanged = true
    }

    /// Everything is stored.
    func settle() { isChanged = false }

    /// The same, none of which another study holds.
    func unstored() -> PassMoments {
        isChanged = true
        return self
    }
}

extension PassMoments.Layer {
    /// Nothing.
    fileprivate init(neurons: Int, keep: Int) {
        self.init(
            neurons: neurons, keep: keep,
            activations: Array(repeating: -.infinity, count: neurons * keep),
            samples: Array(repeating: 0, count: neurons * keep),
            places: Array(repeating: 0, count: neurons * keep),
            above: Array(repeating: 0, count: neurons * MomentHistogram.edges.count))
    }

    /// One below the least that is kept: of equal activations that of an earlier sample stays, which
    /// may be counted later.
    fileprivate var floors: [Float] {
        activations.suffix(neurons).map(\.nextDown)
    }

    /// Adds those of other samples, and lifts the floors.
    fileprivate mutating func add(_ more: Self, floors: UnsafeMutableBufferPointer<Float>) {
        tokens += more.tokens
        above.withUnsafeMutableBufferPointer { above in
            more.above.withUnsafeBufferPointer { more in
                for i in above.indices { above[i] += more[i] }
            }
        }
        activations.withUnsafeMutableBufferPointer { activations in
            samples.withUnsafeMutableBufferPointer { samples in
                places.withUnsafeMutableBufferPointer { places in
                    var all = csimd_strongest(
                        keep: keep, stride: neurons, values: activations.baseAddress,
                        samples: samples.baseAddress, tokens: places.baseAddress,
                        floors: floors.baseAddress)
                    csimd_add_strongest(
                        &all, more.activations, more.samples, more.places, neurons)
                }
            }
        }
    }

    /// [neurons, keep], as files hold it, of what is kept here by rank.
    func byNeuron<Number>(_ numbers: [Number]) -> [Number] {
        turned(numbers, columns: neurons)
    }

    /// What is wrong with it that no run would write; nil if nothing is.
    fileprivate func damage(before cursor: Int) -> String? {
        for neuron in 0..<neurons {
            for at in stride(from: neuron, to: neurons * keep, by: neurons) {
                guard activations[at] < .infinity else { return "an activation is not finite" }
                guard Int(samples[at]) < max(cursor, 1), Int64(places[at]) < max(tokens, 1) else {
                    return "sample \(samples[at]), token \(places[at]) were not counted"
                }
                guard activations[at] > -.infinity || (samples[at], places[at]) == (0, 0) else {
                    return "sample \(samples[at]), token \(places[at]) of no activation"
                }
                if at == neuron { continue }
                let before = at - neurons
                let (a, b) = (activations[before], activations[at])
                let isAfter =
                    a != b
                    ? a > b
                    : a == -.infinity
                        || (samples[before], places[before]) < (samples[at], places[at])
                guard isAfter else { return "activations are not in their order" }
            }
            var less = UInt32(tokens)
            for edge in MomentHistogram.edges.indices {
                guard above[edge * neurons + neuron] <= less else {
                    return "\(above[edge * neurons + neuron]) of \(less) tokens in a histogram"
                }
                less = above[edge * neurons + neuron]
            }
        }
        return nil
    }

    /// What a row holds of a layer.
    ///
    /// - Throws: `StudyDamage` where blobs are not of their size, or numbers not as runs write them.
    init(_ row: MomentRow, neurons: Int, keep: Int, before cursor: Int) throws {
        func damage(_ problem: String) -> StudyDamage {
            StudyDamage(
                table: MomentRow.table,
                problem: "module \(row.module), layer \(row.layer): \(problem)")
        }
        // Nothing of the layer's size is made before there are as many numbers.
        let count = neurons * keep
        guard let bits: [UInt32] = row.activations.numbers(), bits.count == count,
            let samples = row.samples.narrowNumbers(count),
            let places = row.places.narrowNumbers(count),
            let above = row.above.narrowNumbers(neurons * MomentHistogram.edges.count)
        else {
            let sizes = [row.activations, row.samples, row.places, row.above].map(\.bytes.count)
            throw damage("\(sizes) bytes for \(neurons) neurons, \(keep) moments of each")
        }
        self.neurons = neurons
        self.keep = keep
        tokens = row.tokens
        activations = turned(bits, columns: keep).map { Float(bitPattern: $0) }
        self.samples = turned(samples, columns: keep)
        self.places = turned(places, columns: keep)
        self.above = above
        if let problem = self.damage(before: cursor) { throw damage(problem) }
    }

    fileprivate func row(pass: Int64, module: Int, layer: Int) -> MomentRow {
        MomentRow(
            pass: pass, module: module, layer: layer, tokens: tokens,
            activations: Blob(byNeuron(activations).map(\.bitPattern)),
            samples: Blob(narrow: byNeuron(samples)), places: Blob(narrow: byNeuron(places)),
            above: Blob(narrow: above))
    }
}

extension ModuleMoments {
    /// What a layer kept, all of it of one sample.
    fileprivate subscript(layer: Int, sample: Int) -> PassMoments.Layer {
        func part<Number>(_ numbers: [Number]) -> [Number] {
            let size = numbers.count / shape.layers
            return Array(numbers[layer * size..<(layer + 1) * size])
        }
        let values = part(self.values)
        return PassMoments.Layer(
            neurons: shape.neurons, keep: keep, tokens: tokens, activations: values,
            samples: Array(repeating: UInt32(sample), count: values.count), places: part(places),
            above: part(above))
    }
}

/// Rows of `columns` numbers, turned over: [columns, rows].
private func turned<Number>(_ numbers: [Number], columns: Int) -> [Number] {
    let rows = numbers.count / columns
    return Array(unsafeUninitializedCapacity: numbers.count) { turned, count in
        numbers.withUnsafeBufferPointer { numbers in
            for row in 0..<rows {
                for column in 0..<columns {
                    turned.initializeElement(
                        at: column * rows + row, to: numbers[row * columns + column])
                }
            }
        }
        count = numbers.count
    }
}

// MARK: - Store

extension PassMoments {
    /// What the study holds of a pass.
    ///
    /// - Throws: `StudyDamage` where layers are missing, or rows are not as runs write them.
    static func read(
        of pass: PassState, id: Int64, modules: [ModuleShape], _ db: Database
    ) throws -> PassMoments {
        guard pass.keepTop > 0 else { return PassMoments(modules: [], keep: 0) }
        func damage(_ problem: String) -> StudyDamage {
            StudyDamage(table: MomentRow.table, problem: problem)
        }
        let rows = try MomentRow.Record.fetchCursor(
            db, sql: "SELECT * FROM moment WHERE pass = ? ORDER BY module, layer", arguments: [id])
        // Nothing of a module's size is made before there are as many numbers.
        var layers: [[Layer]] = []
        while let row = try rows.next()?.row {
            if layers.isEmpty || layers.last?.count == modules[layers.count - 1].layers {
                layers.append([])
            }
            let module = layers.count - 1
            guard modules.indices.contains(module), row.module == module,
                row.layer == layers[module].count
            else { throw damage("no layer \(row.layer) of module \(row.module) belongs there") }
            layers[module].append(
                try Layer(
                    row, neurons: modules[module].neurons, keep: pass.keepTop,
                    before: pass.cursor))
        }
        // Also of a pass that has counted nothing yet.
        guard layers.map(\.count) == modules.map(\.layers) else {
            throw damage("not all layers of \(pass.domain.rawValue) are there")
        }
        let moments = PassMoments(keep: pass.keepTop, layers: layers)
        moments.settle()
        return moments
    }

    /// Stores all layers, if there is anything new.
    func store(_ pass: Int64, _ db: Database) throws {
        guard isChanged else { return }
        for (module, layers) in layers.enumerated() {
            for (layer, held) in layers.enumerated() {
                try held.row(pass: pass, module: module, layer: layer).put(db)
            }
        }
    }
}
