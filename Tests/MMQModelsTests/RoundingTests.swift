import CSIMD
import Foundation
import MMQBase
import MMQFormats
import Support
import Testing

@testable import MMQModels

/// Second-order rounding of a whole decoder.
@Suite struct WeightRoundingTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func rounding(
        _ golden: GoldenModel, _ model: any VisionLanguageModel, to name: String,
        _ options: WeightRounding.Options, prompts: String = "p"
    ) throws -> WeightRounding {
        let rounding = try WeightRounding(
            model, to: folder(name), prompts: prompts, options: options)
        for item in try golden.cases() {
            try rounding.add(image: item.image, prompt: item.prompt)
        }
        return rounding
    }

    private func bytes(_ path: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: path))
    }

    /// Moments are those of the rows, each as often as its weight says.
    @Test func momentsOfRows() throws {
        let n = 150, count = 1_100
        var random = SeededRandom(seed: 4)
        let values = random.normals(n * count)
        let moments = SecondMoments(inputs: n)
        values.withUnsafeBufferPointer { x in
            guard let base = x.baseAddress else { return }
            moments.add(Rows(reading: base, count: count, width: n)) { $0 % 2 == 0 ? 0.5 : 0 }
        }
        let split = try moments.split(damping: 0, of: "x", in: "f")
        var expected = [Double](repeating: 0, count: n)
        for row in stride(from: 0, to: count, by: 2) {
            for i in 0..<n {
                expected[i] += 0.5 * Double(values[row * n + i] * values[row * n + i])
            }
        }
        for i in 0..<n { #expect(abs(Double(split.squares[i]) / expected[i] - 1) < 1e-4) }
        // The last column's weight is its own moment; M's last column is its share of the others.
        #expect(abs(split.weights[n - 1] / split.squares[n - 1] - 1) < 1e-4)
        let cross = (0..<count).filter { $0 % 2 == 0 }.reduce(0.0) {
            $0 + 0.5 * Double(values[$1 * n + 3] * values[$1 * n + n - 1])
        }
        let found = Double(split.feedback.pointer[(n - 1) * n + 3]) * expected[n - 1]
        #expect(abs(found - cross) < 1e-3 * expected[n - 1])
        #expect(throws: InputError.self) {
            try SecondMoments(inputs: 4).split(damping: 0.1, of: "x", in: "f")
        }
    }

    /// The products of a rounded layer leave less error than those of weights searched by importance,
    /// and gone over again less than at first.
    @Test func leavesLessThanImportance() throws {
        let n = 96, rows = 64, count = 400
        var random = SeededRandom(seed: 5)
        var x: [Float] = []
        for _ in 0..<count {
            let common = 2 * random.normals(1)[0]
            x += random.normals(n).map { $0 + common }
        }
        let weights = random.normals(rows * n)
        let moments = SecondMoments(inputs: n)
        x.withUnsafeBufferPointer { x in
            guard let base = x.baseAddress else { return }
            moments.add(Rows(reading: base, count: count, width: n)) { _ in 1 }
        }
        let split = try moments.split(damping: 0.01, of: "w", in: "f")
        /// Squared errors of the product with each row of x.
        func cost(_ rounded: UnsafeRawPointer, _ type: csimd_type) -> Double {
            var back = [Float](repeating: 0, count: rows * n)
            for row in 0..<rows {
                back.withUnsafeMutableBufferPointer { back in
                    _ = csimd_dequantize_row(
                        type, rounded + row * csimd_row_bytes(type, n),
                        back.baseAddress.map { $0 + row * n }, n)
                }
            }
            var sum = 0.0
            for t in 0..<count {
                for r in 0..<rows {
                    var error: Float = 0
                    for i in 0..<n {
                        error += (weights[r * n + i] - back[r * n + i]) * x[t * n + i]
                    }
                    sum += Double(error * error)
                }
            }
            return sum
        }
        for type in [CSIMD_Q4_0, CSIMD_IQ4_NL, CSIMD_Q5_0, CSIMD_Q8_0] {
            func rounded(_ refinements: Int) throws -> RoundedMatrix {
                try weights.withUnsafeBufferPointer {
                    try RoundedMatrix(
                        rounding: csimd_matrix(
                            type: CSIMD_F32, data: $0.baseAddress, rows: rows, cols: n),
                        to: type, by: split, refinements: refinements, name: "w", in: "f")
                }
            }
            let refined = try rounded(2), once = try rounded(0)
            let searched = RoundedMatrix(type: type, rows: rows, cols: n)
            for row in 0..<rows {
                weights.withUnsafeBufferPointer {
                    _ = csimd_quantize_row(
                        type, $0.baseAddress.map { $0 + row * n }, split.squares,
                        searched.bytes.baseAddress.map { $0 + row * csimd_row_bytes(type, n) }, n)
                }
            }
            func left(by matrix: RoundedMatrix) throws -> Double {
                try cost(UnsafeRawPointer(#require(matrix.bytes.baseAddress)), type)
            }
            let (own, first, other) = try (left(by: refined), left(by: once), left(by: searched))
            #expect(own < first && first < 0.7 * other, "\(type): \(own), \(first), \(other)")
        }
    }

    /// GPTQ as its paper has it, in f64 and column by column: the error of each value, divided by the
    /// diagonal of the upper Cholesky factor of the inverse moments, goes into all columns behind it.
    private static func reference(
        _ row: [Float], scales: [Double], moments h: [[Double]], level: (Double) -> Double
    ) -> (levels: [Double], margin: Double) {
        let n = row.count
        // The inverse, by Gauss and Jordan.
        var left = h, inverse = (0..<n).map { i in (0..<n).map { $0 == i ? 1.0 : 0 } }
        for k in 0..<n {
            let pivot = left[k][k]
            for j in 0..<n {
                left[k][j] /= pivot
                inverse[k][j] /= pivot
            }
            for i in 0..<n where i != k {
                let factor = left[i][k]
                for j in 0..<n {
                    left[i][j] -= factor * left[k][j]
                    inverse[i][j] -= factor * inverse[k][j]
                }
            }
        }
        // inverse = U^T U.
        var u = [[Double]](repeating: .init(repeating: 0, count: n), count: n)
        for i in 0..<n {
            for j in i..<n {
                let sum = (0..<i).reduce(inverse[i][j]) { $0 - u[$1][i] * u[$1][j] }
                u[i][j] = i == j ? sum.squareRoot() : sum / u[i][i]
            }
        }
        var values = row.map(Double.init), levels: [Double] = [], margin = 1.0
        for k in 0..<n {
            let x = values[k] / scales[k / 32]
            levels.append(level(x))
            let other = level(x - 1e-3) != levels[k] || level(x + 1e-3) != levels[k]
            if other { margin = 0 }
            let error = (values[k] - levels[k] * scales[k / 32]) / u[k][k]
            for j in k..<n { values[j] -= error * u[k][j] }
        }
        return (levels, margin)
    }

    /// With the scales that a block has, its levels are those of GPTQ.
    @Test(arguments: [CSIMD_Q4_0, CSIMD_IQ4_NL, CSIMD_Q5_0, CSIMD_Q8_0])
    func levelsAreThoseOfGPTQ(_ type: csimd_type) throws {
        let n = 96, rows = 40, count = 300, damping = 0.05
        var random = SeededRandom(seed: 12)
        var x: [Float] = []
        for _ in 0..<count {
            let common = 1.5 * random.normals(1)[0]
            x += random.normals(n).enumerated().map { $1 * Float(1 + $0 % 5) + common }
        }
        let weights = random.normals(rows * n)
        let moments = SecondMoments(inputs: n)
        x.withUnsafeBufferPointer { x in
            guard let base = x.baseAddress else { return }
            moments.add(Rows(reading: base, count: count, width: n)) { _ in 1 }
        }
        var h = (0..<n).map { i in
            (0..<n).map { j in
                (0..<count).reduce(0.0) { $0 + Double(x[$1 * n + i]) * Double(x[$1 * n + j]) }
            }
        }
        for i in 0..<n { h[i][i] *= 1 + damping }
        let rounded = try weights.withUnsafeBufferPointer {
            try RoundedMatrix(
                rounding: csimd_matrix(type: CSIMD_F32, data: $0.baseAddress, rows: rows, cols: n),
                to: type, by: moments.split(damping: damping, of: "w", in: "f"), refinements: 0,
                name: "w", in: "f")
        }
        // ggml's kvalues_iq4nl.
        let uneven: [Double] = [
            -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
        ]
        func level(_ x: Double) -> Double {
            switch type {
            case CSIMD_IQ4_NL: uneven.min { abs($0 - x) < abs($1 - x) } ?? 0
            case CSIMD_Q8_0: min(127, max(-127, x.rounded(.toNearestOrEven)))
            case CSIMD_Q5_0: min(15, max(-16, x.rounded(.toNearestOrEven)))
            default: min(7, max(-8, x.rounded(.toNearestOrEven)))
            }
        }
        var compared = 0
        for row in 0..<rows {
            let start = try #require(rounded.bytes.baseAddress) + row * csimd_row_bytes(type, n)
            var back = [Float](repeating: 0, count: n)
            #expect(csimd_dequantize_row(type, start, &back, n))
            let scales = (0..<n / 32).map { block in
                let bits = (start + block * csimd_row_bytes(type, 32)).loadUnaligned(
                    as: UInt16.self)
                return Double(csimd_f16_to_f32_one(bits))
            }
            let (levels, margin) = Self.reference(
                Array(weights[row * n..<row * n + n]), scales: scales, moments: h, level: level)
            // Where f32 and f64 may fall on two sides of a boundary, all that follows may differ.
            guard margin > 0 else { continue }
            compared += 1
            for k in 0..<n {
                #expect(Double(back[k]) == levels[k] * scales[k / 32], "row \(row), column \(k)")
            }
        }
        #expect(compared > rows / 2, "\(compared)")
    }

    /// Ended behind any layer it makes the same bytes.
    @Test(arguments: [GoldenModel.llava, .blip])
    func goesOnToTheSameBytes(_ golden: GoldenModel) throws {
        struct Stop: Error {}
        let options = WeightRounding.Options(types: WeightTypes(.iq4_nl))
        let source = try golden.open(.f16, in: folder)
        let whole = try rounding(golden, source, to: "whole", options)
        let files = try whole.run { _ in }
        #expect(files.count == 2 && whole.positions > 0 && whole.memory > 0)
        let estimate = try whole.secondsALayer()
        #expect(estimate > 0 && estimate.isFinite)
        for stop in 1..<whole.layers {
            let name = "stopped\(stop)"
            #expect(throws: Stop.self) {
                try rounding(golden, source, to: name, options).run {
                    if $0 == stop { throw Stop() }
                }
            }
            #expect(throws: InputError.self, "other prompts") {
                try rounding(golden, source, to: name, options, prompts: "q").run { _ in }
            }
            let again = try rounding(golden, source, to: name, options).run { _ in }
            for (one, other) in zip(files, again) { #expect(try bytes(one) == bytes(other)) }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder(name))
            #expect(left.count == 2, "\(left)")
        }
        // It is a model, and every product has its type.
        let model = try ModelFiles(folder: folder("whole"))
        for row in model.table.rows(.language) where row.kind == .matrix {
            #expect(
                model.language[row.name]?.type == GGUFTensorType.iq4_nl.storable(cols: row.cols))
        }
        _ = try model.open()
        #expect(throws: InputError.self, "rounded already") {
            try WeightRounding(
                model.open(), to: folder("twice"), prompts: "", options: options)
        }
        #expect(throws: InputError.self, "nothing to round by second order") {
            try rounding(golden, source, to: "other", .init(types: WeightTypes(.q4_1)))
        }
        #expect(throws: InputError.self, "models there") {
            try rounding(golden, source, to: "whole", options)
        }
    }

    /// What it was rounded with it is opened with, and other activations are another run.
    @Test func remembersActivations() throws {
        _ = try GoldenModel.llava.open(.f16, in: folder)
        let options = WeightRounding.Options(types: WeightTypes(.q8_0))
        func run(_ activations: Activations) throws -> String {
            let model = try ModelFiles(folder: folder("model-f16"), activations: activations).open()
            return try rounding(.llava, model, to: "out", options).key
        }
        let keys = try Activations.allCases.map(run)
        #expect(Set(keys).count == 2)
        let model = try ModelFiles(folder: folder("model-f16"), activations: .int16).open()
        _ = try rounding(.llava, model, to: "out", options).run { _ in }
        let made = try ModelFiles(folder: folder("out")).open()
        #expect(made.backend.workspace.activations == .int16)
    }

    @Test func recipesAndNoPrompts() throws {
        let model = try GoldenModel.llava.open(.f16, in: folder)
        let rules = try WeightRule.list(["gate=q8_0,down=f16"])
        let options = WeightRounding.Options(types: WeightTypes(.q4_0).keeping(rules))
        #expect(throws: InputError.self) {
            try WeightRounding(model, to: folder("mix"), prompts: "", options: options)
                .run { _ in }
        }
        _ = try rounding(.llava, model, to: "mix", options).run { _ in }
        let made = try ModelFiles(folder: folder("mix")).language
        #expect(made["blk.0.ffn_gate.weight"]?.type == .q8_0)
        #expect(made["blk.0.ffn_down.weight"]?.type == .f16)
        #expect(made["blk.0.ffn_up.weight"]?.type == .q4_0)
        // A part that is not rounded is what it was.
        let source = model.files.language
        #expect(
            try Array(made.bytes(made.tensor("blk.0.ffn_down.weight")))
                == Array(source.bytes(source.tensor("blk.0.ffn_down.weight"))))
    }
}
