import Foundation
import Testing

/// One of the tiny random checkpoints of Tests/Golden, with what transformers computes with it.
///
/// They are named here, not found in the folder: one that is missing fails its tests.
public struct GoldenModel: Sendable, CustomTestStringConvertible {
    /// "llava-next", "instructblip" or "llava-1.5": the folder below Tests/Golden.
    public let architecture: String
    /// The folder below that.
    public let variant: String

    /// A checkpoint by its name.
    public init(_ architecture: String, _ variant: String) {
        (self.architecture, self.variant) = (architecture, variant)
    }

    /// The LLaVA-Next checkpoint that most tests take.
    public static let llava = GoldenModel("llava-next", "hub-f16")
    /// The InstructBLIP checkpoint that most tests take.
    public static let blip = GoldenModel("instructblip", "new-f16")

    /// All LLaVA-Next checkpoints.
    public static let llavaNext = [
        "hub-f16", "mistral-bf16", "plain-f32", "shards-bf16", "shards-f16",
    ]
    .map { GoldenModel("llava-next", $0) }
    /// All InstructBLIP checkpoints.
    public static let instructBLIP = ["frequency-bf16", "hub-f32", "new-f16"]
        .map { GoldenModel("instructblip", $0) }
    /// The LLaVA-1.5 checkpoint that most tests take.
    public static let llava15 = GoldenModel("llava-1.5", "hub-f16")
    /// All LLaVA-1.5 checkpoints.
    public static let allLlava15 = ["full-bf16", "hub-f16", "plain-f32"]
        .map { GoldenModel("llava-1.5", $0) }
    /// All checkpoints, by architecture.
    public static let families = [
        "llava-next": llavaNext, "instructblip": instructBLIP, "llava-1.5": allLlava15,
    ]
    /// All checkpoints.
    public static let all = llavaNext + instructBLIP + allLlava15

    /// Whether a prompt for it says where the picture belongs.
    public var namesPicture: Bool { architecture != "instructblip" }

    /// Its name: the folder below Tests/Golden.
    public var name: String { "\(architecture)/\(variant)" }
    /// What a test that is run with it is called by.
    public var testDescription: String { name }
    /// The path of its folder.
    public var folder: String { Golden.folder + "/" + name }
    /// The path of the Hugging Face folder.
    public var checkpoint: String { folder + "/checkpoint" }
    /// The path of a mask for it.
    public var mask: String { folder + "/mask.json" }
    /// The path of a picture that lies next to the checkpoints.
    public func picture(_ name: String = "small") -> String {
        Golden.folder + "/\(architecture)/images/\(name).png"
    }
}
