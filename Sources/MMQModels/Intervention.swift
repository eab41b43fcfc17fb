import MMQBase

/// What is done to neurons: each activation a becomes y = scale × a + shift.
///
/// In the command line and in files it is one word: `zero`, `mean`, `mean@DOMAIN`, `scale=F` or
/// `add=F`.
public enum Intervention: Hashable, Sendable {
    /// Switched off: y = 0.
    case zero
    /// Held at the mean that a study counted: y = mean, over all domains or over one.
    case mean(domain: String?)
    /// y = factor × a.
    case scale(Double)
    /// y = a + steps × the standard deviation that a study counted over all domains.
    case add(Double)

    /// The words, for errors and help.
    public static let words = "zero, mean, mean@DOMAIN, scale=F, add=F"

    /// Reads the word of an intervention.
    ///
    /// - Parameter source: where the word stands, for errors.
    /// - Throws: `InputError`, `.badInput` naming the words there are.
    public init(_ word: String, source: String = "masks") throws {
        do throws(Fault) { try self.init(reading: word) } catch {
            throw InputError(
                .badInput, file: source, item: word,
                "\(error.reason); the interventions are \(Self.words)")
        }
    }

    /// Why a word is no intervention.
    struct Fault: Error {
        let reason: String
    }

    /// Reads the word of an intervention, wherever it stands.
    init(reading word: String) throws(Fault) {
        func number(_ text: Substring) throws(Fault) -> Double {
            let digits = text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0)
            }
            guard digits, let value = Double(text), Float(value).isFinite else {
                throw Fault(reason: "'\(text)' is not a number that 32-bit floats hold")
            }
            return value
        }
        switch word {
        case "zero": self = .zero
        case "mean": self = .mean(domain: nil)
        case _ where word.hasPrefix("mean@"):
            self = .mean(domain: String(word.dropFirst(5)))
        case _ where word.hasPrefix("scale="):
            let factor = try number(word.dropFirst(6))
            // Off by another name.
            self = factor == 0 ? .zero : .scale(factor)
        case _ where word.hasPrefix("add="): self = .add(try number(word.dropFirst(4)))
        default: throw Fault(reason: "no such intervention")
        }
    }

    /// The word: the same for the same intervention, however it was spelt.
    public var word: String {
        func text(_ number: Double) -> String {
            let text = "\(number)"
            return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
        }
        return switch self {
        case .zero: "zero"
        case .mean(nil): "mean"
        case .mean(let domain?): "mean@\(domain)"
        case .scale(let factor): "scale=\(text(factor))"
        case .add(let steps): "add=\(text(steps))"
        }
    }

    /// What it does to some neurons of a layer, where that needs no counts; nil where it does.
    ///
    /// - Parameter neurons: ascending.
    public func applied(to neurons: [Int]) -> LayerMask? {
        switch self {
        case .zero: LayerMask(off: neurons)
        case .scale(let factor):
            LayerMask(
                neurons, scales: neurons.map { _ in Float(factor) },
                shifts: neurons.map { _ in LayerMask.noShift })
        case .mean, .add: nil
        }
    }
}
