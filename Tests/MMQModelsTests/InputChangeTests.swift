import CSIMD
import Support
import Testing

@testable import MMQModels

/// What rounding makes up for of what has changed before it.
@Suite struct InputChangeTests {
    private static func buffer(_ values: [Float]) -> FloatBuffer {
        let buffer = FloatBuffer(count: values.count)
        for (i, value) in values.enumerated() { buffer.pointer[i] = value }
        return buffer
    }

    private static func rows(_ buffer: FloatBuffer, width: Int) -> Rows {
        Rows(buffer.pointer, count: buffer.count / width, width: width)
    }

    /// a [rows, n] times b [cols, n] transposed.
    private static func product(_ a: [Float], _ b: [Float], _ n: Int) -> [Float] {
        let rows = a.count / n, cols = b.count / n
        return (0..<rows * cols).map { place in
            let (i, j) = (place / cols, place % cols)
            return Float(
                (0..<n).reduce(0.0) { $0 + Double(a[i * n + $1]) * Double(b[j * n + $1]) })
        }
    }

    /// Inputs that hang together: [count, n].
    private static func inputs(_ count: Int, _ n: Int, _ random: inout SeededRandom) -> [Float] {
        (0..<count).flatMap { _ in
            let common = random.normals(1)[0]
            return random.normals(n).map { $0 + common }
        }
    }

    /// c H^-1 times H is c again.
    @Test(arguments: [32, 160, 352]) func solvesSplitMoments(_ n: Int) throws {
        var random = SeededRandom(seed: 3)
        let count = 3 * n, rows = 21
        let x = Self.buffer(Self.inputs(count, n, &random)), c = random.normals(rows * n)
        let moments = SecondMoments(inputs: n)
        moments.add(Self.rows(x, width: n)) { _ in 0.5 }
        let damping = 0.25
        let split = try moments.split(damping: damping, of: "w", in: "f")
        let solved = Self.buffer(c)
        split.solve(solved, rows: rows)
        // H = sum of x x^T / 2, its diagonal grown.
        let values = x.array
        let columns = (0..<n * count).map { values[$0 % count * n + $0 / count] }
        var h = Self.product(columns, columns, count).map { $0 / 2 }
        for i in 0..<n { h[i * n + i] *= Float(1 + damping) }
        let back = Self.product(solved.array, h, n)
        let isClose = zip(back, c).allSatisfy { abs($0 - $1) < 2e-3 }
        #expect(isClose)
    }

    /// Where inputs lack what a matrix makes of them, and the stream what another one does, weights
    /// become those that make up for both; for half of it if half is asked for.
    @Test(arguments: [1, 0.5] as [Float]) func makesUpForChanges(_ part: Float) throws {
        let n = 64, outputs = 24, count = 700
        var random = SeededRandom(seed: 6)
        let x = Self.inputs(count, n, &random)
        let a = random.normals(n * n).map { $0 / 16 }, b = random.normals(outputs * n)
        let now = Self.buffer(x)
        let exact = Self.buffer(zip(x, Self.product(x, a, n)).map { $0 + $1 })
        let lacks = Self.product(x, b, n)
        let stream = Self.buffer(random.normals(count * outputs))
        let exactStream = Self.buffer(zip(stream.array, lacks).map { $0 + $1 })
        // Every third row counts twice, every fifth not at all, which changes nothing but sums.
        let weight = { (row: Int) -> Float in row % 5 == 0 ? 0 : row % 3 == 0 ? 2 : 1 }
        let moments = SecondMoments(inputs: n)
        moments.add(Self.rows(now, width: n), weight: weight)
        let change = InputChange(inputs: n, outputs: outputs, part: part)
        // In two parts, as chunks of a prompt come.
        for range in [0..<300, 300..<count] {
            let weight = { weight(range.lowerBound + $0) }
            let x = Self.rows(now, width: n)[range]
            change.add(x, exact: Self.rows(exact, width: n)[range], weight: weight)
            change.addStream(
                x, from: Self.rows(stream, width: outputs)[range],
                to: Self.rows(exactStream, width: outputs)[range], weight: weight)
        }
        let split = try moments.split(damping: 0, of: "w", in: "f")
        let weights = random.normals(outputs * n), corrected = Self.buffer(weights)
        change.correct(corrected, rows: outputs, by: split)
        let transposed = (0..<n * n).map { a[$0 % n * n + $0 / n] }
        let added = zip(Self.product(weights, transposed, n), b).map { $0 + $1 }
        let isClose = (0..<outputs * n).allSatisfy {
            abs(corrected.pointer[$0] - weights[$0] - part * added[$0]) < 2e-3
        }
        #expect(isClose)
    }

    /// A whole decoder ends nearer to the one that is not rounded.
    @Test func endsNearerToTheModel() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenModel.llava.open(.f16, in: folder)
        /// The mean square of what the stream lacks behind the last layer.
        func left(_ correction: Float, _ name: String) throws -> Double {
            let rounding = try WeightRounding(
                model, to: folder(name), prompts: "p",
                options: .init(types: WeightTypes(.q4_0), correction: correction))
            for item in try GoldenModel.llava.cases() {
                try rounding.add(image: item.image, prompt: item.prompt)
            }
            _ = try rounding.run { _ in }
            var sum = 0.0, count = 0
            for prompt in rounding.prompts {
                let exact = try #require(prompt.exact)
                for i in 0..<exact.count {
                    let lack = Double(exact.pointer[i] - prompt.stream.pointer[i])
                    sum += lack * lack
                }
                count += exact.count
            }
            return sum / Double(count)
        }
        let (nearly0, half) = try (left(1e-6, "none"), left(0.5, "half"))
        #expect(half < 0.9 * nearly0, "\(half), \(nearly0)")
    }
}
