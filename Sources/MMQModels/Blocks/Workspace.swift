/// 64-byte aligned f32 memory of a fixed size, freed with its owner.
final class FloatBuffer {
    /// How many floats it holds.
    let count: Int
    /// The first of them.
    let pointer: UnsafeMutablePointer<Float>

    /// Uninitialised memory for `count` floats.
    init(count: Int) {
        self.count = count
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: max(count, 1) * MemoryLayout<Float>.stride, alignment: 64)
        pointer = raw.bindMemory(to: Float.self, capacity: max(count, 1))
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }

    /// The values as an array.
    var array: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}

/// Scratch memory of a forward pass, kept between layers and passes: a pass over thousands of
/// tokens would otherwise ask the system for the same hundreds of megabytes in every layer.
final class Workspace {
    /// What a piece of scratch memory holds.
    enum Slot: Hashable {
        /// What layers add to.
        case stream
        /// The Q-Former's queries and text, while `stream` holds the picture.
        case queries
        /// What a norm puts out; then, as nobody needs it any more, what attention looked up.
        case normed
        case query, key, value
        case gate, up
        /// What a block puts out, to be added.
        case delta
        /// Cosines and sines of rotary positions.
        case cosSin
    }

    /// What products round activations to.
    let activations: Activations

    init(activations: Activations) { self.activations = activations }

    /// Where times go while a pass is looked into.
    var stages: StageTimes?

    private var buffers: [Slot: FloatBuffer] = [:]
    private var quantized: UnsafeMutableRawPointer?
    private var quantizedBytes = 0

    deinit { quantized?.deallocate() }

    /// At least `count` floats for `slot`, contents undefined. Valid until the next call for the
    /// same slot.
    func floats(_ slot: Slot, _ count: Int) -> UnsafeMutablePointer<Float> {
        if let buffer = buffers[slot], buffer.count >= count { return buffer.pointer }
        buffers[slot] = nil  // before the new one is had: the sum of both may not fit
        let buffer = FloatBuffer(count: count)
        buffers[slot] = buffer
        return buffer.pointer
    }

    /// Memory for the rounded operand of a product, nil where it takes none. Valid until the next
    /// call.
    func quantized(bytes: Int) -> UnsafeMutableRawPointer? {
        if bytes > quantizedBytes {
            quantized?.deallocate()
            quantized = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            quantizedBytes = bytes
        }
        return bytes > 0 ? quantized : nil
    }

    /// Gives all scratch memory back.
    func release() {
        buffers = [:]
        quantized?.deallocate()
        quantized = nil
        quantizedBytes = 0
    }
}
