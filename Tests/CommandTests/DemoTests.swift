import Foundation
import Support
import Testing

/// The trained models and the bench that come with the repository: they answer.
@Suite struct DemoTests {
    private static let assets = Golden.repository + "/models/demo"

    @Test func theBenchIsWhole() throws {
        let check = try expectExit(0, ["bench-check", Self.assets + "/bench", "--json"])
        _ = try check.json()
        #expect(!check.errors.contains("missing"))
    }

    /// At int4, on questions that it was not trained on: a model that lost its weights, its tiles or its
    /// prompt somewhere on the way would be at the level of guessing, 50 % and less.
    @Test(arguments: ["llava-next", "instructblip"])
    func modelsAnswer(_ name: String) throws {
        let folder = try TemporaryFolder()
        let model = folder("model")
        try expectExit(
            0,
            [
                "convert", "\(Self.assets)/\(name)", "--output", model, "--type", "q4_0",
                "--vision-type", "q8_0",
            ])
        try expectExit(
            0,
            [
                "generate", "--model", model, "--bench", Self.assets + "/bench", "--study",
                folder("study"), "--masks", "none", "--samples", "260", "--greedy", "--max-tokens",
                "12", "--batch", "8",
            ])  // all of it: both references of a driving question
        let document = try expectExit(
            0,
            [
                "evaluate", "--study", folder("study"), "--metric", "official", "--judge", "exact",
                "--json",
            ]
        ).object()
        var scored: Set<String> = []
        for score in try #require(document["scores"] as? [[String: Any]]) {
            let domain = try #require(score["domain"] as? String)
            guard scored.insert(domain).inserted else { continue }
            let mean = try #require((score["score"] as? [String: Any])?["value"] as? Double)
            #expect(mean >= 0.75, "\(name), \(domain): \(mean)")
        }
        #expect(scored.count == 5)
    }
}
