import CSIMD
import MMQImage

/// How large the inputs of the decoder's products are: sums of squares of every input channel, over
/// image and text positions apart. It grows with the model, not with what passes through it.
public final class InputStatistics {
    /// Positions of one kind and the sums over them.
    public struct Sums: Sendable, Equatable {
        /// How many positions.
        public internal(set) var positions = 0
        /// [inputs]: sums of squares.
        public internal(set) var squares: [Double]

        init(inputs: Int) { squares = Array(repeating: 0, count: inputs) }

        mutating func add(_ other: Sums) {
            positions += other.positions
            for i in squares.indices { squares[i] += other.squares[i] }
        }
    }

    /// One product's inputs.
    public struct Product: Sendable, Equatable {
        /// Over image positions.
        public internal(set) var image: Sums
        /// Over all others.
        public internal(set) var text: Sums

        init(inputs: Int) { (image, text) = (Sums(inputs: inputs), Sums(inputs: inputs)) }

        mutating func add(_ other: Product) {
            image.add(other.image)
            text.add(other.text)
        }
    }

    /// By the name of the weight in the GGUF file.
    public internal(set) var products: [String: Product] = [:]
    /// Which positions of the pass under way hold image tokens.
    private var isImage: [Bool] = []

    /// Nothing seen yet.
    public init() {}

    /// A pass over these positions follows.
    func begin(isImage: [Bool]) { self.isImage = isImage }

    /// What rows [rows, inputs] of the pass are, from position `first` on.
    func measure(_ rows: Rows, first: Int) -> Product {
        var product = Product(inputs: rows.width)
        var row = 0
        while row < rows.count {
            let kind = isImage[first + row]
            let end = isImage[(first + row)...].firstIndex { $0 != kind } ?? isImage.count
            let some = rows[row..<min(end - first, rows.count)]
            let path = kind ? \Product.image : \Product.text
            product[keyPath: path].positions += some.count
            product[keyPath: path].squares.withUnsafeMutableBufferPointer {
                csimd_add_squares(some.data, some.count, some.width, $0.baseAddress)
            }
            row += some.count
        }
        return product
    }

    /// Adds what passed through a product.
    func add(_ name: String, _ measured: Product) {
        products[name, default: Product(inputs: measured.text.squares.count)].add(measured)
    }
}

extension VisionLanguageModel {
    /// One pass over a picture and a prompt; what goes into the decoder's products is added to
    /// `statistics`, all or nothing.
    public func measureInputs(
        image: RGBImage, prompt: String, to statistics: InputStatistics
    ) throws {
        let input = try prepare(image: image, prompt: prompt)
        let features = try input.imageFeatures(observation: nil)
        let fresh = InputStatistics()
        fresh.begin(isImage: imagePositions(input))
        _ = try run(
            input, features: features, observation: nil, keepsCache: nil, inputs: fresh,
            after: { _, _ in })
        for (name, product) in fresh.products { statistics.add(name, product) }
    }
}
