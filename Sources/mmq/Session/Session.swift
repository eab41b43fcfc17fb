import Dispatch
import Foundation
import MMQBase
import MMQImage
import MMQModels
import MMQStudy

/// A model that answers requests from stdin on stdout, JSON lines both; `docs/session.md` is the
/// protocol.
final class Session: @unchecked Sendable {
    // The model is used by one thread; queue, folder and output have locks of their own.

    /// The protocol's version, which grows when a client of the one before would no longer do.
    static let version = 1

    private struct Cancelled: Error {}

    private let model: any VisionLanguageModel
    private let folder: SessionFolder
    private let queue = SessionQueue()
    private let output = NSLock()
    private var signals: [any DispatchSourceSignal] = []

    init(model: any VisionLanguageModel, folder: SessionFolder) {
        self.model = model
        self.folder = folder
    }

    /// Answers until the input ends, `end` is asked for, or nobody listens.
    func run() throws {
        // A client that is gone is an error of a write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        removeFolderOnSignals()
        defer { folder.remove() }
        try tell("ready", description())
        let thread = Thread { [self] in readRequests() }
        thread.stackSize = 8 << 20  // JSON may nest 200 deep
        thread.start()
        while let request = queue.next() {
            let end = Result { try answer(request) }
            // Who hears of the end may use the name again at once.
            queue.finish()
            do {
                switch end {
                case .success(let told): try tell("done", id: request.id, told)
                case .failure(let error as LostOutput): throw error
                case .failure(is Cancelled):
                    if !clientIsGone { try tell("cancelled", id: request.id) }
                case .failure(let error): try tell(error, id: request.id)
                }
            } catch let error as LostOutput {
                queue.abandon()
                throw error
            }
            if clientIsGone { break }
        }
        if !clientIsGone { try tell("ended") }
    }

    // MARK: - Input

    private func readRequests() {
        var input = SessionInput(descriptor: STDIN_FILENO)
        do {
            while let line = input.next() {
                guard try take(line) else { break }
            }
            queue.close()
        } catch {
            queue.abandon()
        }
    }

    /// Does what a line says, or puts it into the queue; false if it is the last one.
    private func take(_ line: SessionInput.Line) throws -> Bool {
        do {
            switch line {
            case .tooLong:
                throw InputError(
                    .tooLarge, file: "request",
                    expected: "a line of at most \(SessionInput.longestLine) bytes",
                    found: "a longer one")
            case .bytes(let bytes):
                switch try SessionRequest(line: bytes) {
                case .run(let request): try queue.add(request)
                case .cancel(let id): try cancel(id)
                case .info: try tell("info", description())
                case .end: return false
                }
            }
        } catch let refused as RefusedRequest {
            // An error with the name of one that goes on would be its end.
            let isOthers = refused.id.map(queue.holds) ?? false
            try tell(refused.error, id: isOthers ? nil : refused.id, of: refused.operation)
        } catch let error as InputError {
            try tell(error, id: nil)
        }
        return true
    }

    /// An error without a name: the request that had it, if any, has ended in its own way.
    private func cancel(_ id: SessionID) throws {
        switch queue.cancel(id) {
        case .waited: try tell("cancelled", id: id)
        case .running: break
        case .unknown:
            throw RefusedRequest(
                operation: "cancel",
                error: InputError(
                    .mismatch, file: "request", item: "key 'id'",
                    "no request called \(id.json.kind) is under way or waits"))
        }
    }

    // MARK: - Answers

    /// Runs a request; what `done` says.
    private func answer(_ request: RunRequest) throws -> JSONObject {
        let picture = try RGBImage.decode(path: request.image)
        let mask = try mask(of: request)
        let sites = try ActivationSite.sites(request.sites, of: model.modules)
        let arrays = SessionArrays(sites, of: model.modules, in: folder, as: request.type)
        var promptIDs: [Int32] = []
        var prepared: PreparedInput?
        var reading: LensReading?
        let answer = try model.generate(
            image: picture,
            prompt: request.isRaw
                ? request.prompt : model.prompt(request.prompt),
            options: request.options, mask: mask, tap: arrays.tap(), keeping: request.lens?.part
        ) { step in
            func stopIfAsked() throws {
                if queue.mustStop || clientIsGone { throw Cancelled() }
            }
            try stopIfAsked()
            switch step {
            case .prepared(let input):
                promptIDs = input.inputIDs
                prepared = input
            case .kept(let states):
                guard let prepared, let options = request.lens else { break }
                reading = try model.lens(of: states, prepared, options: options) { _ in
                    try stopIfAsked()
                }
            case .token(let token, let text) where request.isStreamed:
                try tell(
                    "token", id: request.id,
                    JSONObject([("token", .integer(Int(token))), ("text", .string(text))]))
            case .seen, .layer, .candidates, .token: break
            }
        }
        func list(_ ids: [Int32]) -> JSONValue { .array(ids.map { .integer(Int($0)) }) }
        var told = JSONObject([
            ("text", .string(answer.text)), ("tokens", list(answer.tokens)),
            ("prompt_tokens", .integer(answer.promptTokens)),
            ("image_tokens", .integer(answer.imageTokens)),
            (
                "timings",
                .object(
                    JSONObject([
                        ("vision_seconds", .number(answer.visionSeconds)),
                        ("prefill_seconds", .number(answer.prefillSeconds)),
                        ("decode_seconds", .number(answer.decodeSeconds)),
                    ]))
            ),
        ])
        if !sites.isEmpty || reading != nil { told.set("prompt_ids", list(promptIDs)) }
        let lens = try reading.map {
            try SessionLens($0, tokenizer: model.tokenizer).write(in: folder)
        }
        do {
            if !sites.isEmpty { told.set("sites", .array(try arrays.commit())) }
        } catch {
            if let file = lens?["file"]?.text { unlink(file) }
            throw error
        }
        if let lens { told.set("lens", .object(lens)) }
        return told
    }

    private func mask(of request: RunRequest) throws -> NeuronMask? {
        switch request.mask {
        case nil: nil
        case .name(let name):
            try MaskOptions.read(name, for: model, study: request.study, set: .usual)
        case .document(let document):
            try NeuronMask(
                document: document, modules: model.modules, file: "mask",
                resolve: request.study.map { try maskStudy(path: $0, for: model).resolver() })
        }
    }

    // MARK: - Output

    /// What is true of the session: the same for `ready` and `info`.
    private func description() -> JSONObject {
        let state = queue.state
        return JSONObject([
            ("protocol", .integer(Self.version)),
            ("architecture", .string(model.architecture.name)),
            ("fingerprint", .string(model.fingerprint)),
            (
                "modules",
                .array(
                    model.modules.map {
                        .object(
                            JSONObject([
                                ("name", .string($0.name)), ("layers", .integer($0.layers)),
                                ("neurons", .integer($0.neurons)),
                            ]))
                    })
            ),
            ("context_length", .integer(model.contextLength)),
            ("vocabulary_size", .integer(model.vocabularySize)),
            ("image_token", .integer(Int(model.imageToken))),
            ("stop_tokens", .array(model.stopTokens.sorted().map { .integer(Int($0)) })),
            ("folder", .string(folder.path)),
            ("running", state.running?.json ?? .null),
            ("waiting", .array(state.waiting.map(\.json))),
        ])
    }

    /// Writes an event.
    private func tell(_ event: String, id: SessionID? = nil, _ more: JSONObject = .init()) throws {
        var object = JSONObject([("event", .string(event))])
        if let id { object.set("id", id.json) }
        for (key, value) in more.members { object.set(key, value) }
        let line = JSONValue.object(object).jsonLine + "\n"
        try output.withLock {
            do { try Diagnostics.write(line) } catch { throw LostOutput(cause: error) }
        }
    }

    /// An error: with `id` it ends that request.
    ///
    /// - Parameter operation: what the error is about, where that is not a run.
    private func tell(_ error: any Error, id: SessionID?, of operation: String? = nil) throws {
        let code = (error as? InputError)?.code ?? .failed
        var told = JSONObject(operation.map { [("op", JSONValue.string($0))] } ?? [])
        told.set("code", .string(code.rawValue))
        told.set(
            "message",
            .string(error is CocoaError ? error.localizedDescription : "\(error)"))
        try tell("error", id: id, told)
    }

    /// An event that could not be written: the session is over.
    private struct LostOutput: Error, CustomStringConvertible {
        let cause: any Error
        var description: String { "\(cause)" }
    }

    /// Whether the input has ended and nobody reads the output any more: a client that died.
    private var clientIsGone: Bool {
        guard queue.isAtEnd else { return false }
        var state = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
        let broken = Int16(POLLERR | POLLHUP | POLLNVAL)
        return poll(&state, 1, 0) > 0 && state.revents & broken != 0
    }

    /// A polite kill ends the process at once, a pass or not, but for its folder.
    private func removeFolderOnSignals() {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(
                signal: number, queue: DispatchQueue.global())
            source.setEventHandler { [folder] in
                folder.remove()
                // Not `exit`: kernels may be running on other threads.
                _exit(128 + number)
            }
            source.resume()
            signals.append(source)
        }
    }
}
