import MMQBase

/// What happens to some neurons of one layer: activation a becomes scale × a + shift, rounded once,
/// and exactly shift where scale is 0.
///
/// As JSON a list of neurons that are off, or
/// `{"neurons": [12, 40], "scale": [0.5, 0], "shift": [0, 0.25]}`.
public struct LayerMask: Hashable, Sendable {
    /// The neurons, ascending.
    public let neurons: [Int]
    /// A factor for each neuron; empty if all are off.
    public let scales: [Float]
    /// What is added to each neuron; empty if all are off.
    public let shifts: [Float]

    /// Leaves an activation as it is: +0 would turn -0 into +0.
    static let noShift: Float = -0.0

    /// Neurons that are off.
    public init(off neurons: [Int]) {
        self.neurons = neurons.sorted()
        scales = []
        shifts = []
    }

    /// Neurons, in any order, each with its factor and what is added.
    public init(_ neurons: [Int], scales: [Float], shifts: [Float]) {
        precondition(neurons.count == scales.count && neurons.count == shifts.count)
        let order = neurons.indices.sorted { neurons[$0] < neurons[$1] }
        self.neurons = order.map { neurons[$0] }
        // One form for one thing: two masks that do the same are equal.
        let isOff = scales.allSatisfy { $0 == 0 } && shifts.allSatisfy { $0 == 0 }
        self.scales = isOff ? [] : order.map { scales[$0] }
        self.shifts =
            isOff
            ? [] : order.map { shifts[$0] == 0 ? (scales[$0] == 0 ? 0 : Self.noShift) : shifts[$0] }
    }

    /// How many neurons.
    public var count: Int { neurons.count }
    /// Whether there is none.
    public var isEmpty: Bool { neurons.isEmpty }
    /// Whether all of them are off.
    public var isOff: Bool { scales.isEmpty }

    /// Factor and what is added for every neuron of a layer of `width`, as the kernels take them;
    /// nil if nothing happens.
    func spread(over width: Int) -> (scales: [Float], shifts: [Float])? {
        guard !isEmpty else { return nil }
        var scales = [Float](repeating: 1, count: width)
        var shifts = [Float](repeating: Self.noShift, count: width)
        for (place, neuron) in neurons.enumerated() {
            scales[neuron] = isOff ? 0 : self.scales[place]
            shifts[neuron] = isOff ? 0 : self.shifts[place]
        }
        return (scales, shifts)
    }
}

extension LayerMask: ExpressibleByArrayLiteral {
    /// Neurons that are off.
    public init(arrayLiteral elements: Int...) { self.init(off: elements) }
}

// MARK: - JSON

extension LayerMask {
    /// Knows what an intervention does to neurons that only counts tell.
    public typealias Resolver = (Intervention, _ neurons: [Int]) throws -> LayerMask

    /// Reads a layer: a list, whose entries are neurons that are off or
    /// `{"neuron": 12, "kind": "scale=0.5"}`, or an object
    /// `{"neurons": [12, 40], "kind": "scale=0.5"}`. In place of `kind` stand `scale` (1 if it is
    /// left out) and `shift` (0), in an object of several neurons one number or one each.
    ///
    /// - Parameters:
    ///   - value: the layer.
    ///   - fault: makes the error out of what was expected and what was found.
    ///   - resolve: for `mean` and `add`; without one they are an error.
    public init(
        json value: JSONValue, fault: (_ expected: String, _ found: String) -> InputError,
        resolve: Resolver? = nil
    ) throws {
        func index(_ value: JSONValue?) throws -> Int {
            guard let number = value?.integer ?? value?.double.flatMap(Int.init(exactly:)) else {
                throw fault("integers", value?.kind ?? "none")
            }
            return number
        }
        let form = "a list of neurons, or {\"neurons\": [...], \"kind\": ...}"
        if let list = value.array {
            guard list.contains(where: { $0.members != nil }) else {
                self.init(off: try list.map(index))
                return
            }
            let parts = try list.map { entry in
                if entry.members == nil { return LayerMask(off: [try index(entry)]) }
                guard let neuron = entry["neuron"] else {
                    throw fault("{\"neuron\": ..., \"kind\": ...}", "an object without 'neuron'")
                }
                return try Self.edited(entry, [index(neuron)], key: "neuron", fault, resolve)
            }
            self.init(merging: parts)
        } else if value.members != nil {
            guard let list = value["neurons"]?.array else {
                throw fault(form, "an object without 'neurons'")
            }
            self = try Self.edited(value, list.map(index), key: "neurons", fault, resolve)
        } else {
            throw fault(form, value.kind)
        }
    }

    /// The neurons of several masks of one layer; one that is in two of them stays twice.
    init(merging parts: [LayerMask]) {
        self.init(
            parts.flatMap(\.neurons),
            scales: parts.flatMap { $0.isOff ? $0.neurons.map { _ in 0 } : $0.scales },
            shifts: parts.flatMap { $0.isOff ? $0.neurons.map { _ in 0 } : $0.shifts })
    }

    private static func edited(
        _ value: JSONValue, _ neurons: [Int], key: String,
        _ fault: (_ expected: String, _ found: String) -> InputError, _ resolve: Resolver?
    ) throws -> LayerMask {
        for (name, _) in value.members ?? [] where ![key, "kind", "scale", "shift"].contains(name) {
            throw fault("\(key), kind, scale or shift", quoted(name))
        }
        if let kind = value["kind"] {
            guard let word = kind.text, value["scale"] == nil, value["shift"] == nil else {
                throw fault(
                    "'kind' as one of \(Intervention.words), or 'scale' and 'shift'", kind.kind)
            }
            let intervention: Intervention
            do throws(Intervention.Fault) { intervention = try Intervention(reading: word) } catch {
                throw fault("one of \(Intervention.words)", "\(quoted(word)): \(error.reason)")
            }
            if let known = intervention.applied(to: neurons) { return known }
            guard let resolve else {
                throw fault("an intervention that needs no counts, or a study", quoted(word))
            }
            return try resolve(intervention, neurons)
        }
        func numbers(_ name: String, otherwise: Float) throws -> [Float] {
            guard let given = value[name] else { return neurons.map { _ in otherwise } }
            let list =
                given.array?.map(\.double)
                ?? [Double?](repeating: given.double, count: neurons.count)
            let numbers = list.compactMap { $0.map { Float($0) } }
            guard numbers.count == neurons.count, list.count == neurons.count,
                numbers.allSatisfy(\.isFinite)
            else {
                throw fault(
                    "'\(name)' as a finite number, or one for each of \(neurons.count) neurons",
                    given.kind)
            }
            return numbers
        }
        guard value["scale"] != nil || value["shift"] != nil else {
            throw fault("'kind', 'scale' or 'shift'", "neither")
        }
        return LayerMask(
            neurons, scales: try numbers("scale", otherwise: 1),
            shifts: try numbers("shift", otherwise: noShift))
    }

    /// The layer as a mask file has it, on one line.
    public var json: String {
        func list(_ items: [String]) -> String { "[" + items.joined(separator: ", ") + "]" }
        let names = list(neurons.map(String.init))
        guard !isOff else { return names }
        func numbers(_ values: [Float]) -> String {
            list(values.map { $0 == 0 ? "0" : pythonRepr(Double($0)) })
        }
        return "{\"neurons\": \(names), \"scale\": \(numbers(scales)), "
            + "\"shift\": \(numbers(shifts))}"
    }
}

extension LayerMask: Codable {
    private enum Key: String, CodingKey {
        case neurons, scale, shift
    }

    /// Reads what `encode` wrote, and the lists of studies that knew no other intervention than off.
    public init(from decoder: any Decoder) throws {
        if let list = try? decoder.singleValueContainer().decode([Int].self) {
            self.init(off: list)
            return
        }
        let values = try decoder.container(keyedBy: Key.self)
        let neurons = try values.decode([Int].self, forKey: .neurons)
        // As 64-bit floats: these 32-bit ones are exact in them.
        let scales = try values.decode([Double].self, forKey: .scale).map { Float($0) }
        let shifts = try values.decode([Double].self, forKey: .shift).map { Float($0) }
        guard scales.count == neurons.count, shifts.count == neurons.count else {
            throw DecodingError.dataCorruptedError(
                forKey: .scale, in: values, debugDescription: "not one number for each neuron")
        }
        self.init(neurons, scales: scales, shifts: shifts)
    }

    /// A plain list where all neurons are off.
    public func encode(to encoder: any Encoder) throws {
        if isOff {
            var container = encoder.singleValueContainer()
            return try container.encode(neurons)
        }
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(neurons, forKey: .neurons)
        try values.encode(scales.map { $0 == 0 ? 0 : Double($0) }, forKey: .scale)
        try values.encode(shifts.map { $0 == 0 ? 0 : Double($0) }, forKey: .shift)
    }
}
