import MMQBase
import MMQFormats

/// An importance matrix: how much each input channel of each weight counts, in llama.cpp's GGUF form,
/// which `llama-imatrix` writes and `llama-quantize` reads.
///
/// Of every weight there are `NAME.in_sum2`, sums of squares of its inputs, and `NAME.counts`, over how
/// many positions. What mmq adds (sums over image and text positions apart, in f64, and where a
/// calibration stands) lies beside them under other names.
public struct ImportanceFile {
    /// The file's path.
    public let path: String
    private let file: GGUFFile

    private static let sums = ".in_sum2", counts = ".counts"

    /// Opens a file.
    ///
    /// - Throws: `InputError` if it is no such file or a part of it is missing.
    public init(path: String) throws {
        self.path = path
        file = try GGUFFile(path: path)
        guard let type = file.metadata["general.type"]?.text, type == "imatrix" else {
            throw InputError(
                .badValue, file: path, item: "key 'general.type'",
                expected: "an importance matrix (\"imatrix\")",
                found: file.metadata["general.type"]?.summary ?? "no such key")
        }
    }

    /// The weights that it has an entry for.
    public var names: [String] {
        file.tensors.compactMap {
            $0.name.hasSuffix(Self.sums) ? String($0.name.dropLast(Self.sums.count)) : nil
        }
    }

    /// Refuses a file that was calibrated with a model of another architecture, whose decoder may have
    /// the same shapes; one that another program made does not say.
    func require(_ architecture: any Architecture) throws {
        guard let model = file.metadata[Key.model]?.text,
            let found = Architectures.architecture(of: model), found != architecture.modelType
        else { return }
        throw InputError(
            .mismatch, file: path, item: "key '\(Key.model)'",
            expected: "an importance file of a model of type \(architecture.modelType)",
            found: "one of \(found)")
    }

    /// How much each of a weight's input channels counts, [inputs]: the mean square of what it
    /// multiplies. nil if there is no entry.
    ///
    /// - Throws: `InputError` if the entry is of another width, negative, not finite, or nothing.
    public func importance(of name: String, inputs: Int) throws -> [Float]? {
        guard file[name + Self.sums] != nil else { return nil }
        let item = "tensor '\(name + Self.sums)'"
        let tensor = try file.tensor(name + Self.sums)
        // One row: a weight with several (one of each expert) is of no model that mmq runs.
        let rows = tensor.shape.dropLast().reduce(1, *)
        guard tensor.shape.last == inputs, rows == 1 else {
            throw InputError(
                .badShape, file: path, item: item,
                expected: "\(inputs) input channels, as the model's '\(name)' has",
                found: "\(tensor.shape)")
        }
        let sums = try file.floats(name + Self.sums)
        let counts = try file.floats(name + Self.counts)
        guard counts.count == 1, counts[0] >= 1, counts[0].isFinite else {
            throw InputError(
                .badValue, file: path, item: "tensor '\(name + Self.counts)'",
                expected: "one number of positions", found: "\(counts.prefix(4))")
        }
        if let bad = sums.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
            throw InputError(
                .nonFinite, file: path, item: "\(item) [\(bad)]",
                expected: "a sum of squares, finite and not negative", found: "\(sums[bad])")
        }
        guard sums.contains(where: { $0 > 0 }) else {
            throw InputError(
                .badValue, file: path, item: item, expected: "sums of squares",
                found: "nothing but zeros")
        }
        return sums.map { $0 / counts[0] }
    }
}

extension ImportanceFile {
    /// How far a calibration has come in one domain.
    public struct Progress: Sendable, Equatable {
        /// The domain.
        public var domain: String
        /// Identifies its annotations.
        public var bench: String
        /// The next place in the bench's order, samples taken, samples passed over, missing frames.
        public var position = 0, samples = 0, skipped = 0, missingFrames = 0

        /// Nothing done.
        public init(domain: String, bench: String) { (self.domain, self.bench) = (domain, bench) }
    }

    /// A calibration: what was measured, with what, and how far it has come.
    public struct Calibration {
        /// The model's fingerprint.
        public var model: String
        /// The split of the bench, and the form of the prompts.
        public var split: String, form: String
        /// How much an image position counts beside a text position, where both are as many.
        public var imageWeight: Float
        /// Every domain that was begun.
        public private(set) var domains: [Progress] = []
        /// What was measured over each. Kept apart: sums depend on the order of what is added, and
        /// domains may be taken further in turn.
        public private(set) var statistics: [InputStatistics] = []

        /// Nothing measured.
        public init(model: String, split: String, form: String, imageWeight: Float) {
            self.model = model
            self.split = split
            self.form = form
            self.imageWeight = imageWeight
        }

        /// Adds a domain, and what was measured over it so far.
        public mutating func append(
            _ progress: Progress, _ statistics: InputStatistics = InputStatistics()
        ) {
            domains.append(progress)
            self.statistics.append(statistics)
        }

        /// Says how far a domain has come.
        public mutating func update(_ domain: Int, _ progress: Progress) {
            domains[domain] = progress
        }

        /// What was measured over all domains, in their order.
        var total: InputStatistics {
            let total = InputStatistics()
            for part in statistics {
                for (name, product) in part.products { total.add(name, product) }
            }
            return total
        }
    }

    private enum Key {
        static let model = "mmq.calibration.model", split = "mmq.calibration.split"
        static let form = "mmq.calibration.prompt", weight = "mmq.calibration.image_weight"
        static let domains = "mmq.calibration.domains", benches = "mmq.calibration.benches"
        static let progress = "mmq.calibration.progress"
    }

    /// Ends of the names of what mmq adds: sums [domains, inputs] and numbers of positions [domains].
    private enum Part: String, CaseIterable {
        case image, text

        var squares: String { ".mmq_\(rawValue)_sum2" }
        var positions: String { ".mmq_\(rawValue)_count" }
        var path: WritableKeyPath<InputStatistics.Product, InputStatistics.Sums> {
            self == .image ? \.image : \.text
        }
    }

    /// What numbers of samples and positions may be, and how many domains: sums do not overflow.
    private static let amounts = 0...1 << 53, mostDomains = 256

    /// What `mmq calibrate` left, to go on from.
    ///
    /// - Throws: `InputError` if the file is not one of its own, or is damaged.
    public func calibration() throws -> Calibration {
        let metadata = file.metadata
        guard metadata[Key.model] != nil else {
            throw InputError(
                .mismatch, file: path,
                "not made by mmq calibrate: it cannot be gone on with (--again writes a new one)")
        }
        var found = try Calibration(
            model: metadata.string(Key.model), split: metadata.string(Key.split),
            form: metadata.string(Key.form), imageWeight: metadata.float(Key.weight))
        let domains = try metadata.strings(Key.domains).map { String(decoding: $0, as: UTF8.self) }
        let benches = try metadata.strings(Key.benches).map { String(decoding: $0, as: UTF8.self) }
        let numbers = try metadata.integers(Key.progress)
        guard domains.count <= Self.mostDomains, benches.count == domains.count,
            numbers.count == 4 * domains.count
        else {
            throw InputError(
                .badValue, file: path, item: "key '\(Key.progress)'",
                expected: "four numbers of each of \(domains.count) domains, at most "
                    + "\(Self.mostDomains)",
                found: "\(numbers.count)")
        }
        if let bad = numbers.first(where: { !Self.amounts.contains($0) }) {
            throw InputError(
                .badValue, file: path, item: "key '\(Key.progress)'",
                expected: "numbers of samples", found: "\(bad)")
        }
        for i in domains.indices {
            var progress = Progress(domain: domains[i], bench: benches[i])
            (progress.position, progress.samples) = (numbers[4 * i], numbers[4 * i + 1])
            (progress.skipped, progress.missingFrames) = (numbers[4 * i + 2], numbers[4 * i + 3])
            found.append(progress)
        }
        for name in names {
            let shape = try file.tensor(name + Self.sums).shape
            guard let inputs = shape.last, inputs > 0, shape.dropLast().allSatisfy({ $0 == 1 })
            else {
                throw InputError(
                    .badShape, file: path, item: "tensor '\(name + Self.sums)'",
                    expected: "one row", found: "\(shape)")
            }
            for part in Part.allCases {
                let squares = try doubles(name + part.squares, [domains.count, inputs])
                let positions = try doubles(name + part.positions, [domains.count])
                for (i, statistics) in found.statistics.enumerated() {
                    guard let count = Int(exactly: positions[i]), Self.amounts.contains(count)
                    else {
                        throw InputError(
                            .badValue, file: path, item: "tensor '\(name + part.positions)'",
                            expected: "numbers of positions", found: "\(positions[i])")
                    }
                    // A domain that was only begun has no products yet.
                    guard count > 0 || statistics.products[name] != nil else { continue }
                    var product = statistics.products[name] ?? .init(inputs: inputs)
                    product[keyPath: part.path].squares = Array(
                        squares[(i * inputs)..<((i + 1) * inputs)])
                    product[keyPath: part.path].positions = count
                    statistics.products[name] = product
                }
            }
        }
        return found
    }

    /// A tensor of f64, none of them negative or infinite.
    private func doubles(_ name: String, _ shape: [Int]) throws -> [Double] {
        let tensor = try file.tensor(name)
        // The shape first: how many numbers it makes is known to fit only if the file has them.
        guard tensor.type == .f64, tensor.shape == shape else {
            throw InputError(
                .badShape, file: path, item: "tensor '\(name)'", expected: "\(shape) of F64",
                found: "\(tensor.shape) of \(tensor.type.name)")
        }
        let bytes = try file.bytes(tensor)
        return try (0..<bytes.count / 8).map {
            let value = Double(
                bitPattern: UInt64(
                    littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)))
            guard value >= 0, value.isFinite else {
                throw InputError(
                    .nonFinite, file: path, item: "tensor '\(name)' [\($0)]",
                    expected: "a finite number that is not negative", found: "\(value)")
            }
            return value
        }
    }

    /// Writes a calibration; the file appears under its name only when it is complete.
    public static func write(_ calibration: Calibration, to path: String) throws {
        let products = calibration.total.products.sorted { $0.key < $1.key }
        let samples = calibration.domains.reduce(0) { $0 + $1.samples }
        let positions = products.map { $1.image.positions + $1.text.positions }.max() ?? 0
        func texts(_ values: [String]) -> GGUFValue { .strings(values.map { Array($0.utf8) }) }
        let metadata: [(key: String, value: GGUFValue)] = [
            ("general.type", .string("imatrix")),
            (
                "imatrix.datasets",
                texts(calibration.domains.map { "\($0.domain) \(calibration.split)" })
            ),
            ("imatrix.chunk_count", .uint32(UInt32(clamping: samples))),
            ("imatrix.chunk_size", .uint32(UInt32(clamping: max(1, positions / max(1, samples))))),
            (Key.model, .string(calibration.model)), (Key.split, .string(calibration.split)),
            (Key.form, .string(calibration.form)), (Key.weight, .float32(calibration.imageWeight)),
            (Key.domains, texts(calibration.domains.map(\.domain))),
            (Key.benches, texts(calibration.domains.map(\.bench))),
            (
                Key.progress,
                .array(
                    .uint64,
                    calibration.domains.flatMap {
                        [$0.position, $0.samples, $0.skipped, $0.missingFrames]
                    }.map { .uint64(UInt64($0)) })
            ),
        ]
        var tensors: [(GGUFWriter.Declaration, [UInt8])] = []
        func add(_ name: String, _ type: GGUFTensorType, _ shape: [Int], _ bytes: [UInt8]) {
            tensors.append((.init(name: name, type: type, shape: shape), bytes))
        }
        for (name, product) in products {
            let inputs = product.text.squares.count
            let (mean, count) = product.mean(imageWeight: calibration.imageWeight)
            let floats = mean.map { Float($0 * Double(count)) }
            add(name + sums, .f32, [1, inputs], floats.flatMap { littleEndian($0.bitPattern) })
            add(name + counts, .f32, [1, 1], littleEndian(Float(count).bitPattern))
            let nothing = InputStatistics.Product(inputs: inputs)
            let domains = calibration.statistics.map { $0.products[name] ?? nothing }
            for part in Part.allCases {
                add(
                    name + part.squares, .f64, [domains.count, inputs],
                    domains.flatMap { $0[keyPath: part.path].squares }
                        .flatMap { littleEndian($0.bitPattern) })
                add(
                    name + part.positions, .f64, [domains.count],
                    domains.flatMap {
                        littleEndian(Double($0[keyPath: part.path].positions).bitPattern)
                    })
            }
        }
        let writer = try GGUFWriter(path: path, metadata: metadata, tensors: tensors.map(\.0))
        do {
            for (tensor, bytes) in tensors {
                try bytes.withUnsafeBytes { try writer.write(tensor.name, $0) }
            }
            try writer.commit()
        } catch {
            writer.abandon()
            throw error
        }
    }

    private static func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
}

extension InputStatistics.Product {
    /// The mean square of each channel over image and text positions, [inputs], and over how many
    /// positions.
    ///
    /// The mean over image positions counts `imageWeight` times as much as that over text positions,
    /// however many there are of each: a picture has a hundred times as many as its question.
    func mean(imageWeight: Float) -> (mean: [Double], positions: Int) {
        let count = image.positions + text.positions
        let weights = [
            image.positions > 0 ? Double(imageWeight) / Double(image.positions) : 0,
            text.positions > 0 ? 1 / Double(text.positions) : 0,
        ]
        let all =
            (image.positions > 0 ? Double(imageWeight) : 0) + (text.positions > 0 ? 1 : 0)
        guard all > 0 else { return (text.squares, count) }
        let mean = text.squares.indices.map {
            (image.squares[$0] * weights[0] + text.squares[$0] * weights[1]) / all
        }
        return (mean, count)
    }
}
