import CSIMD

/// A weight as it lies in a mapped file. Valid as long as the files that it comes from.
public struct WeightView {
    /// Its storage type.
    public let type: csimd_type
    /// Its shape in Hugging Face order, rows first.
    public let shape: [Int]
    /// The first byte; rows follow one another without gaps.
    public let pointer: UnsafeRawPointer

    /// A view of `shape` elements of `type` at `pointer`.
    public init(type: csimd_type, shape: [Int], pointer: UnsafeRawPointer) {
        self.type = type
        self.shape = shape
        self.pointer = pointer
    }

    /// The product of all but the last dimension, 1 for a vector.
    public var rows: Int { shape.dropLast().reduce(1, *) }
    /// The last dimension.
    public var cols: Int { shape.last ?? 1 }
}

/// Where a model gets its weights from: by their names in the GGUF files.
public protocol WeightSource: AnyObject {
    /// The weight called `name`, whose type and shape were checked when the file was opened.
    func weight(_ name: String) throws -> WeightView
}
