import CSIMD
import Foundation

/// Rotary positions: pairs of every query's and key's values turn by angles that grow with the
/// position. The pairs lie side by side, as the rows of Q and K do in a `llama` GGUF.
struct RotaryPositions {
    let headDim: Int
    /// 1 / theta^(2i/d), i in 0 ..< head dim / 2, rounded step by step as transformers does in f32.
    private let inverseFrequencies: [Float]

    init(headDim: Int, theta: Double) {
        self.headDim = headDim
        inverseFrequencies = stride(from: 0, to: headDim, by: 2).map {
            1 / Float(pow(theta, Double(Float($0) / Float(headDim))))
        }
    }

    /// Cosines, then sines of each position, [positions, head dim], in `.cosSin`.
    func angles(of positions: some Collection<Int>, _ pass: Pass) -> Rows {
        let table = pass.rows(.cosSin, positions.count, headDim)
        let half = headDim / 2
        for (index, position) in positions.enumerated() {
            let row = table[index]
            for i in 0..<half {
                let angle = Float(position) * inverseFrequencies[i]
                row[i] = cos(angle)
                row[half + i] = sin(angle)
            }
        }
        pass.did(.rope)
        return table
    }

    /// Turns queries and keys [tokens, heads x head dim] in place; row i stands where row i of
    /// `angles` does.
    static func turn(_ query: Rows, _ key: Rows, by angles: Rows, _ pass: Pass) {
        for x in [query, key] {
            csimd_rope_interleaved(
                x.data, angles.data, x.count, x.width / angles.width, angles.width, x.width)
        }
        pass.did(.rope, bytes: 2 * (query.bytes + key.bytes))
    }
}
