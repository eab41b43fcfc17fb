import Testing

/// How two arrays differ.
public struct Difference: Sendable {
    /// The greatest absolute difference; NaN if an element of either array is NaN, infinite if only
    /// one of a pair is.
    public var greatest: Double
    /// Where it is.
    public var index: Int
    /// Root of the mean squared difference.
    public var rootMeanSquare: Double

    /// Compares element by element; arrays of different length differ by NaN.
    public init<T: BinaryFloatingPoint, U: BinaryFloatingPoint>(_ a: [T], _ b: [U]) {
        guard a.count == b.count else {
            (greatest, index, rootMeanSquare) = (.nan, min(a.count, b.count), .nan)
            return
        }
        var worst = 0.0
        var place = 0
        var squares = 0.0
        for i in a.indices {
            let x = Double(a[i])
            let y = Double(b[i])
            // Equal infinities are equal; their difference would be NaN.
            let delta = x == y ? 0 : abs(x - y)
            squares += delta * delta
            // `!(<=)` lets NaN win and stay.
            if !(delta <= worst), !worst.isNaN {
                worst = delta
                place = i
            }
        }
        (greatest, index) = (worst, place)
        rootMeanSquare = a.isEmpty ? 0 : (squares / Double(a.count)).squareRoot()
    }
}

/// Fails unless the arrays have the same length and every pair differs by at most `tolerance`.
///
/// NaN anywhere fails: a comparison that NaN passes proves nothing.
@discardableResult
public func assertClose<T: BinaryFloatingPoint, U: BinaryFloatingPoint>(
    _ actual: [T], _ expected: [U], tolerance: Double, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) -> Difference {
    let difference = Difference(actual, expected)
    guard actual.count == expected.count else {
        Issue.record(
            "\(what): \(actual.count) elements instead of \(expected.count)",
            sourceLocation: sourceLocation)
        return difference
    }
    if !(difference.greatest <= tolerance) {
        let i = difference.index
        Issue.record(
            """
            \(what): element \(i) of \(actual.count) is \(actual[i]) instead of \(expected[i]), \
            difference \(difference.greatest) > \(tolerance)
            """, sourceLocation: sourceLocation)
    }
    return difference
}

/// The cosine of the angle between two vectors, in f64.
public func cosine<T: BinaryFloatingPoint, U: BinaryFloatingPoint>(_ a: [T], _ b: [U]) -> Double {
    guard a.count == b.count else { return .nan }
    var (dot, aa, bb) = (0.0, 0.0, 0.0)
    for i in a.indices {
        let (x, y) = (Double(a[i]), Double(b[i]))
        dot += x * y
        aa += x * x
        bb += y * y
    }
    return dot / (aa * bb).squareRoot()
}
