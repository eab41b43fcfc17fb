import CSIMD

/// An MLP's activation function, under its Hugging Face name.
public enum Activation: String, Sendable, Codable, CaseIterable {
    /// x · sigmoid(1.702 x), CLIP's.
    case quickGELU = "quick_gelu"
    /// x · Φ(x) with the exact error function.
    case gelu
    /// x · sigmoid(x), LLaMA's.
    case silu
}

extension ConfigReader {
    /// An activation function out of those that a site may have.
    func activation(
        _ key: String, _ choices: [Activation], _ fallback: Activation
    ) throws -> Activation {
        let name = try choice(key, choices.map(\.rawValue), fallback.rawValue)
        return Activation(rawValue: name) ?? fallback
    }
}

extension Activation {
    /// The kernel's name for it.
    var kernel: csimd_activation {
        switch self {
        case .quickGELU: CSIMD_GELU_QUICK
        case .gelu: CSIMD_GELU_ERF
        case .silu: CSIMD_SILU
        }
    }
}
