import ArgumentParser
import Foundation
import MMQModels

/// `mmq ask`: one answer, streamed.
struct AskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask",
        abstract: "Ask a model about a picture.",
        discussion: """
            The model's own template is put round the prompt. The answer goes to stdout as it \
            comes. Without --temperature the best token is taken each time.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var input: InputOptions

    @Argument(help: "What to ask.")
    var prompt: String

    @Flag(help: "Always take the best token (the default).")
    var greedy = false

    @Option(help: "Sample at this temperature.")
    var temperature: Double?

    @Option(help: "Sample from the K best tokens only.")
    var topK: Int?

    @Option(help: "Sample from the fewest best tokens whose probabilities add up to P.")
    var topP: Double?

    @Option(help: "Seed for sampling: the same seed gives the same answer.")
    var seed: UInt64 = 0

    @Option(help: "Most tokens of the answer.")
    var maxTokens: Int = 256

    @Flag(help: "The prompt goes to the tokenizer as it is, with <image> in its place.")
    var rawPrompt = false

    @Flag(help: "Print one JSON document when the answer is complete.")
    var json = false

    func validate() throws {
        if greedy, temperature != nil || topK != nil || topP != nil {
            throw ValidationError("--greedy does not go with --temperature, --top-k or --top-p.")
        }
        if temperature == nil, topK != nil || topP != nil {
            throw ValidationError("--top-k and --top-p need --temperature.")
        }
        if let temperature, !(temperature > 0 && temperature.isFinite) {
            throw ValidationError("--temperature must be above 0.")
        }
        if let topK, topK < 1 { throw ValidationError("--top-k must be 1 or more.") }
        if let topP, !(topP > 0 && topP <= 1) {
            throw ValidationError("--top-p must be above 0 and at most 1.")
        }
        if maxTokens < 1 { throw ValidationError("--max-tokens must be 1 or more.") }
    }

    func run() throws {
        let picture = try input.picture()
        let model = try model.open(study: input.study)
        let options = GenerationOptions(
            sampling: SamplingOptions(
                temperature: temperature ?? 0, topK: topK ?? 0, topP: topP ?? 1, seed: seed),
            maxTokens: maxTokens)
        var failure: (any Error)?
        let answer = try model.generate(
            image: picture, prompt: rawPrompt ? prompt : model.prompt(prompt),
            options: options,
            mask: input.mask(for: model)
        ) { piece in
            guard !json, failure == nil else { return }
            do { try Diagnostics.write(piece) } catch { failure = error }
        }
        if let failure { throw failure }
        if json {
            try Diagnostics.printJSON(Document(answer))
        } else {
            print()
        }
    }

    private struct Document: Encodable {
        let text: String
        let tokens: [Int32]
        let promptTokens: Int
        let imageTokens: Int
        let timings: Timings

        struct Timings: Encodable {
            let visionSeconds: Double
            let prefillSeconds: Double
            let decodeSeconds: Double

            enum CodingKeys: String, CodingKey {
                case visionSeconds = "vision_seconds"
                case prefillSeconds = "prefill_seconds"
                case decodeSeconds = "decode_seconds"
            }
        }

        enum CodingKeys: String, CodingKey {
            case text, tokens, timings
            case promptTokens = "prompt_tokens"
            case imageTokens = "image_tokens"
        }

        init(_ answer: GeneratedAnswer) {
            text = answer.text
            tokens = answer.tokens
            promptTokens = answer.promptTokens
            imageTokens = answer.imageTokens
            timings = Timings(
                visionSeconds: answer.visionSeconds, prefillSeconds: answer.prefillSeconds,
                decodeSeconds: answer.decodeSeconds)
        }
    }
}
