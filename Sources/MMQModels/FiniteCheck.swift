import CSIMD
import MMQBase
import MMQFormats

extension VisionLanguageModel {
    /// Refuses results that are not finite: they come from a damaged weight and mean nothing.
    ///
    /// A scale that is NaN makes every number NaN that it touches, so looking at what a pass ends
    /// with finds it for nothing. Only then are the files read through, to name the tensor.
    ///
    /// - Parameters:
    ///   - values: results of a pass.
    ///   - what: what they are, for the error.
    /// - Throws: `InputError`, `.nonFinite`, naming the file and the tensor.
    func requireFinite(_ values: UnsafeBufferPointer<Float>, _ what: String) throws {
        guard let base = values.baseAddress,
            csimd_first_unstorable(CSIMD_F32, base, values.count) < values.count
        else { return }
        throw files.damage(behind: what)
    }

    /// The same of results in an array.
    func requireFinite(_ values: [Float], _ what: String) throws {
        try values.withUnsafeBufferPointer { try requireFinite($0, what) }
    }

    /// Counts whose sums of activations are finite.
    func finite(_ counts: [ModuleCounts]) throws -> [ModuleCounts] {
        for module in counts where !module.sums.allSatisfy(\.isFinite) {
            throw files.damage(behind: "the activations of \(module.shape.name)")
        }
        return counts
    }
}

extension ModelFiles {
    /// The error for results that are not finite: the first weight that is not, or the results
    /// themselves if all weights are.
    fileprivate func damage(behind what: String) -> InputError {
        for file in [language, vision] {
            for tensor in file.tensors {
                guard let view = try? file.weight(tensor.name),
                    let row = view.firstRowNotFinite()
                else { continue }
                return InputError(
                    .nonFinite, file: file.path, item: tensorItem(tensor.name),
                    expected: "finite weights", found: "NaN or infinity in row \(row)")
            }
        }
        return InputError(
            .nonFinite, file: language.path,
            "\(what) left the range of numbers, though every weight is finite; a mask's factors "
                + "may be too large, if there is one")
    }
}

extension WeightView {
    /// The index of the first row with a NaN or an infinity.
    func firstRowNotFinite() -> Int? {
        var values = [Float](repeating: 0, count: cols)
        return (0..<rows).first { row in
            csimd_dequantize_row(type, pointer + row * rowBytes, &values, cols)
                && csimd_first_unstorable(CSIMD_F32, values, cols) < cols
        }
    }
}
