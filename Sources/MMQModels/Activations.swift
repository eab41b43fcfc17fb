import CSIMD
import MMQBase
import MMQFormats

/// What products with quantized weights of 1,024 columns or more round activations to.
///
/// Either way a block's products are summed exactly. Real language models have activations of
/// thousands of times the median; next to one, the rest of its block of 32 is lost in int8.
public enum Activations: String, Sendable, CaseIterable {
    /// One byte, a scale per 32.
    case int8
    /// Two bytes, a scale per 32, multiplied as two planes of bytes.
    case int16

    /// The kernels' number.
    var kernel: csimd_integers {
        switch self {
        case .int8: CSIMD_INT8
        case .int16: CSIMD_INT16
        }
    }

    /// Whether attention over a prompt or a picture rounds what it multiplies, queries, keys, values and
    /// weights, to bf16, where products with weights take integers. Bytes lose more than that.
    var roundsAttention: Bool { self == .int8 }

    /// Where `convert` leaves what a model is opened with if nothing else is said.
    static let key = "mmq.activations"

    /// What a language file says; int8 if it says nothing.
    ///
    /// - Throws: `InputError` if it names no such activations.
    init(metadata: GGUFMetadata) throws {
        guard metadata[Self.key] != nil else {
            self = .int8
            return
        }
        let found = try metadata.string(Self.key)
        guard let known = Activations(rawValue: found) else {
            throw InputError(
                .unsupported, file: metadata.file, item: "key '\(Self.key)'",
                expected: Self.allCases.map(\.rawValue).joined(separator: " or "),
                found: quoted(found))
        }
        self = known
    }

    /// What `convert` leaves in the language file: nothing for int8.
    var metadata: [(key: String, value: GGUFValue)] {
        self == .int8 ? [] : [(Self.key, .string(rawValue))]
    }
}
