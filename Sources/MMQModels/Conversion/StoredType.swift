import CSIMD
import MMQBase
import MMQFormats

/// Types that weights may be converted to.
public enum StoredType: String, Sendable, CaseIterable {
    /// 32-bit float.
    case f32
    /// IEEE half.
    case f16
    /// The upper half of a 32-bit float.
    case bf16
    /// 8 bits, a scale per 32.
    case q8_0
    /// 4 bits, a scale per 32; embedding table and output head stay q8_0.
    case q4_0
    /// 4 bits, sixteen uneven levels and a scale per 32: less error than q4_0 at its size.
    case iq4_nl
    /// 4, 5 and 6 bits, in blocks of 256 with scales (and minima) of their own for each 32 or 16;
    /// rows that are no multiple of 256 become q5_0, q5_1, q8_0, as in llama.cpp.
    case q4_k, q5_k, q6_k
    /// 4 and 5 bits, a scale per 32, and an offset where the name ends in 1.
    case q4_1, q5_0, q5_1

    /// Whether the type has blocks: rows that are no whole blocks are stored in another.
    public var isQuantized: Bool { tensorType.blockElements > 1 }

    /// The GGUF type of a matrix.
    var tensorType: GGUFTensorType {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .q8_0: .q8_0
        case .q4_0: .q4_0
        case .iq4_nl: .iq4_nl
        case .q4_k: .q4_K
        case .q5_k: .q5_K
        case .q6_k: .q6_K
        case .q4_1: .q4_1
        case .q5_0: .q5_0
        case .q5_1: .q5_1
        }
    }

    /// The GGUF type of a tensor of that kind, whole blocks or not.
    func type(of row: TensorRow) -> GGUFTensorType {
        switch row.kind {
        case .plain: .f32
        case .kernel: isQuantized ? .f16 : tensorType
        case .embedding: isQuantized ? .q8_0 : tensorType
        case .matrix: tensorType
        }
    }

    /// `general.file_type`, as llama.cpp numbers it.
    var fileType: UInt32 {
        switch self {
        case .f32: 0
        case .f16: 1
        case .q4_0: 2
        case .q4_1: 3
        case .q8_0: 7
        case .q5_0: 8
        case .q5_1: 9
        case .q4_k: 14
        case .q5_k: 16
        case .q6_k: 18
        case .iq4_nl: 25
        case .bf16: 32
        }
    }
}

extension GGUFTensorType {
    /// This type, or what takes its place where rows of that length are no whole blocks of it: as
    /// in llama.cpp, and F16 where those are none either.
    func storable(cols: Int) -> GGUFTensorType {
        if cols % blockElements == 0 { return self }
        switch self {
        case .q4_K: return GGUFTensorType.q5_0.storable(cols: cols)
        case .q5_K: return GGUFTensorType.q5_1.storable(cols: cols)
        case .q6_K: return GGUFTensorType.q8_0.storable(cols: cols)
        default: return .f16
        }
    }

    /// Whether blocks of this type are chosen by how much each error counts.
    var takesImportance: Bool { blockElements > 1 }

    /// Refuses values that this type cannot store.
    ///
    /// - Parameters:
    ///   - values: a tensor's elements from the one at `first` on, row-major.
    ///   - name: the tensor's, for the error.
    ///   - shape: the tensor's.
    ///   - file: where it lies.
    /// - Throws: `InputError`, `.nonFinite`, with the first one's place.
    func requireStorable(
        _ values: UnsafePointer<Float>, _ count: Int, from first: Int, of name: String,
        _ shape: [Int], in file: String
    ) throws {
        guard let type = kernelType else { return }
        let bad = csimd_first_unstorable(type, values, count)
        guard bad < count else { return }
        var index: [Int] = []
        var rest = first + bad
        for dimension in shape.reversed() {
            index.insert(rest % max(1, dimension), at: 0)
            rest /= max(1, dimension)
        }
        throw InputError(
            .nonFinite, file: file, item: "tensor '\(name)'",
            expected: "finite weights that \(self.name) can store",
            found: "\(values[bad]) at \(index)")
    }
}
