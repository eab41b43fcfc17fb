import CSIMD
import Dispatch
import Foundation
import MMQBase
import MMQFormats

/// Converts planned tensors into their GGUF files, piece by piece on several threads.
///
/// Each thread reads a run of rows, widens it to f32, checks it, stores it as the wanted type and
/// writes it to its place, so memory stays at a few megabytes per thread whatever the model's size.
final class TensorConverter: @unchecked Sendable {  // shared state is behind the lock
    private let tensors: [PlannedTensor]
    private let writers: [ModelFileRole: GGUFWriter]
    private let progress: @Sendable (Int) throws -> Void
    private let lock = NSLock()
    private var nextTensor = 0
    private var nextRow = 0
    private var failure: (any Error)?

    /// Elements converted at a time (4 MiB as f32): large enough for fast reads, small enough for
    /// the second-level caches' sake and for memory.
    static let pieceElements = 1 << 20

    /// - Parameter progress: called with the number of source bytes done since the last call, from
    ///   any thread, one call at a time; what it throws ends the work.
    init(
        tensors: [PlannedTensor], writers: [ModelFileRole: GGUFWriter],
        progress: @escaping @Sendable (Int) throws -> Void
    ) {
        self.tensors = tensors
        self.writers = writers
        self.progress = progress
    }

    /// Converts everything; throws the first failure.
    func run(threads: Int) throws {
        DispatchQueue.concurrentPerform(iterations: max(1, threads)) { _ in work() }
        if let failure = lock.withLock({ failure }) { throw failure }
    }

    private struct Piece {
        let tensor: PlannedTensor
        let rows: Range<Int>
    }

    private func next() -> Piece? {
        lock.withLock {
            guard failure == nil, nextTensor < tensors.count else { return nil }
            let tensor = tensors[nextTensor]
            let unit = tensor.headRows ?? 1
            let units = max(1, Self.pieceElements / max(1, tensor.row.cols * unit))
            let end = min(tensor.row.rows, nextRow + units * unit)
            let piece = Piece(tensor: tensor, rows: nextRow..<end)
            nextRow = end
            if end == tensor.row.rows {
                nextTensor += 1
                nextRow = 0
            }
            return piece
        }
    }

    private func work() {
        var buffers = Buffers()
        while let piece = next() {
            do {
                try convert(piece, &buffers)
                let bytes =
                    piece.rows.count * piece.tensor.row.cols
                    * piece.tensor.source.type.byteSize
                try lock.withLock { try progress(bytes) }
            } catch {
                lock.withLock { if failure == nil { failure = error } }
            }
        }
    }

    /// Memory of one thread, kept from piece to piece.
    private struct Buffers {
        var source: [UInt8] = []
        var values: [Float] = []
        var stored: [UInt8] = []
    }

    private func convert(_ piece: Piece, _ buffers: inout Buffers) throws {
        let (tensor, row) = (piece.tensor, piece.tensor.row)
        let cols = row.cols
        let count = piece.rows.count * cols
        let size = tensor.source.type.byteSize
        let rowBytes = tensor.type.blockBytes * (cols / tensor.type.blockElements)
        Self.grow(&buffers.source, count * size)
        Self.grow(&buffers.values, count)
        Self.grow(&buffers.stored, piece.rows.count * rowBytes)

        let first = tensor.firstElement + piece.rows.lowerBound * cols
        try buffers.source.withUnsafeMutableBytes { bytes in
            let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<(count * size)])
            try tensor.file.read(tensor.source, from: first * size, into: part)
            try buffers.values.withUnsafeMutableBufferPointer { values in
                guard let base = values.baseAddress else { return }
                _ = convertToFloats(tensor.source.type, UnsafeRawBufferPointer(part), base, count)
                try check(piece, UnsafePointer(base), count, first: first)
            }
        }
        guard let type = tensor.type.kernelType else { return }
        try buffers.stored.withUnsafeMutableBytes { stored in
            buffers.values.withUnsafeBufferPointer { values in
                guard let output = stored.baseAddress, let base = values.baseAddress else { return }
                for r in 0..<piece.rows.count {
                    let from = Self.sourceRow(r, headRows: tensor.headRows)
                    _ = csimd_quantize_row(
                        type, base + from * cols, tensor.importance, output + r * rowBytes, cols)
                }
            }
            let part = UnsafeRawBufferPointer(rebasing: stored[..<(piece.rows.count * rowBytes)])
            try writers[row.role]?.write(
                row.name, part, at: piece.rows.lowerBound * rowBytes)
        }
    }

    /// Which row of a piece (of whole heads) becomes its row `r`. GGUF's `llama` wants the two
    /// halves of each head interleaved, because it rotates neighbouring elements where Hugging Face
    /// rotates element i with i + headDim / 2.
    static func sourceRow(_ r: Int, headRows: Int?) -> Int {
        guard let headRows else { return r }
        let within = r % headRows
        return r - within + (within % 2) * (headRows / 2) + within / 2
    }

    private func check(
        _ piece: Piece, _ values: UnsafePointer<Float>, _ count: Int, first: Int
    ) throws {
        let tensor = piece.tensor
        try tensor.type.requireStorable(
            values, count, from: first, of: tensor.source.name, tensor.source.shape,
            in: tensor.file.path)
    }

    private static func grow<T: ExpressibleByIntegerLiteral>(_ array: inout [T], _ count: Int) {
        if array.count < count { array = [T](repeating: 0, count: count) }
    }
}
