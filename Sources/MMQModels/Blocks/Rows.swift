/// Rows of activations, f32 [count, width], one behind the other, in memory that a workspace or a
/// buffer owns. Blocks write only into what they hand back or say they change.
struct Rows {
    let data: UnsafeMutablePointer<Float>
    let count: Int
    let width: Int

    init(_ data: UnsafeMutablePointer<Float>, count: Int, width: Int) {
        self.data = data
        self.count = count
        self.width = width
    }

    /// Rows that are only read.
    init(reading data: UnsafePointer<Float>, count: Int, width: Int) {
        self.init(UnsafeMutablePointer(mutating: data), count: count, width: width)
    }

    /// Values of all rows.
    var size: Int { count * width }
    /// Bytes of all rows.
    var bytes: Int { size * MemoryLayout<Float>.stride }
    /// All values.
    var values: UnsafeBufferPointer<Float> { UnsafeBufferPointer(start: data, count: size) }

    /// Where a row begins.
    subscript(row: Int) -> UnsafeMutablePointer<Float> { data + row * width }

    /// Some of the rows, in place.
    subscript(range: Range<Int>) -> Rows {
        Rows(self[range.lowerBound], count: range.count, width: width)
    }
}
