/// Hands out the activations of chosen sites while passes compute them: as they are counted, behind
/// the mask and, in the decoder, before the product with up.
///
/// Rows come in the order of a pass's tokens, some hundred at a time, so that nothing but those is
/// held here; a decoding step brings one row more. Not thread-safe: it follows one pass or answer.
public final class ActivationTap {
    /// Gets the next rows [rows, neurons] of a layer of a module, valid during the call.
    public typealias Receiver = (
        _ module: Int, _ layer: Int, _ rows: UnsafeBufferPointer<Float>
    ) throws -> Void

    private let wanted: [[Bool]]
    private let receive: Receiver
    private var buffer: FloatBuffer?
    private var failure: (any Error)?

    /// - Parameters:
    ///   - wanted: [module][layer]: whose activations are handed out.
    ///   - receive: gets them. After an error it is not called again; `check` throws that error.
    public init(wanted: [[Bool]], receive: @escaping Receiver) {
        self.wanted = wanted
        self.receive = receive
    }

    /// Throws what the receiver threw. Kernels cannot stop halfway: this is asked between layers.
    public func check() throws {
        if let failure { throw failure }
    }

    /// The last layer of a module that is wanted; nil if none is.
    func lastWanted(of module: Int) -> Int? { wanted[module].lastIndex(of: true) }

    /// Where the kernel writes the next rows of a site; nil if nobody takes them.
    func room(module: Int, layer: Int, rows: Int, neurons: Int) -> UnsafeMutablePointer<Float>? {
        guard wanted[module][layer], failure == nil else { return nil }
        let count = rows * neurons
        if let buffer, buffer.count >= count { return buffer.pointer }
        let grown = FloatBuffer(count: count)
        buffer = grown
        return grown.pointer
    }

    /// Hands on what the kernel wrote into the room.
    func take(_ rows: UnsafeBufferPointer<Float>, module: Int, layer: Int) {
        do {
            try receive(module, layer, rows)
        } catch {
            failure = error
        }
    }
}
