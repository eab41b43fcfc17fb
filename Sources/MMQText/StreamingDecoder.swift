import Foundation
import MMQBase

/// Turns ids into text while they arrive.
///
/// What `push` and `finish` return adds up to exactly what decoding all ids at once gives, and never
/// contains half a character. A run of byte pieces is held back until it ends, because the reference
/// replaces the whole run by U+FFFD when any part of it is not valid UTF-8.
public struct StreamingDecoder: Sendable {
    private let tokenizer: SentencePieceTokenizer
    private let skipSpecialTokens: Bool
    private var stages: [DecoderStage]

    /// A decoder at the start of a text.
    public init(_ tokenizer: SentencePieceTokenizer, skipSpecialTokens: Bool) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
        stages = DecoderStage.chain(tokenizer.decoding)
    }

    /// The text that is certain after these ids.
    public mutating func push(_ ids: [Int32]) -> String {
        var chunks: [DecoderStage.Chunk] = []
        for id in ids {
            if let piece = tokenizer.decodable(id, skipSpecialTokens: skipSpecialTokens) {
                chunks.append(DecoderStage.Chunk(bytes: piece, startsPiece: true))
            }
        }
        for i in stages.indices { chunks = stages[i].push(chunks) }
        return Self.text(chunks)
    }

    /// The text that is certain after this id.
    public mutating func push(_ id: Int32) -> String {
        push([id])
    }

    /// The rest of the text. The decoder is then at the start of a new text.
    public mutating func finish() -> String {
        var chunks: [DecoderStage.Chunk] = []
        for i in stages.indices {
            chunks = stages[i].push(chunks)
            chunks += stages[i].finish()
        }
        stages = DecoderStage.chain(tokenizer.decoding)
        return Self.text(chunks)
    }

    private static func text(_ chunks: [DecoderStage.Chunk]) -> String {
        String(decoding: chunks.flatMap(\.bytes), as: UTF8.self)
    }
}

/// One decoder step that works on pieces as they come.
enum DecoderStage: Sendable {
    /// A piece, or the next part of the piece before.
    struct Chunk: Sendable {
        var bytes: [UInt8]
        var startsPiece: Bool
    }

    case replace([UInt8], with: [UInt8])
    case byteFallback(run: [UInt8])
    case fuse(started: Bool)
    /// Strips on the left only need to know how many they may still take.
    case stripLeft(UInt32, limit: Int, left: Int)
    /// Everything else needs whole pieces: the last piece is held until the next one starts.
    case whole(DecoderStep, pending: [UInt8]?, isFirst: Bool)
    /// No decoder: pieces are joined with spaces.
    case join(started: Bool)

    static func chain(_ steps: [DecoderStep]?) -> [DecoderStage] {
        guard let steps else { return [.join(started: false)] }
        var fused = false
        return steps.map { step in
            switch step {
            case .byteFallback where !fused: return .byteFallback(run: [])
            case .replace(let pattern, let content) where !fused || pattern.count == 1:
                return .replace(pattern, with: content)
            case .strip(let scalar, let left, 0): return .stripLeft(scalar, limit: left, left: left)
            case .fuse:
                fused = true
                return .fuse(started: false)
            default: return .whole(step, pending: nil, isFirst: true)
            }
        }
    }

    mutating func push(_ chunks: [Chunk]) -> [Chunk] {
        switch self {
        case .replace(let pattern, let content):
            return chunks.map {
                let bytes = UTF8Scan.replacing($0.bytes[...], pattern, with: content)
                return Chunk(bytes: bytes, startsPiece: $0.startsPiece)
            }
        case .byteFallback(var run):
            var result: [Chunk] = []
            for chunk in chunks {
                if let byte = Self.byte(chunk.bytes) {
                    run.append(byte)
                } else {
                    result += Self.text(of: run) + [chunk]
                    run = []
                }
            }
            self = .byteFallback(run: run)
            return result
        case .fuse(var started):
            var result: [Chunk] = []
            for chunk in chunks {
                result.append(Chunk(bytes: chunk.bytes, startsPiece: !started))
                started = true
            }
            self = .fuse(started: started)
            return result
        case .stripLeft(let scalar, let limit, var left):
            let pattern = Self.utf8(scalar)
            let result = chunks.map { chunk in
                if chunk.startsPiece { left = limit }
                var bytes = chunk.bytes[...]
                while left > 0 && bytes.starts(with: pattern) && !pattern.isEmpty {
                    bytes = bytes.dropFirst(pattern.count)
                    left -= 1
                }
                if !bytes.isEmpty { left = 0 }
                return Chunk(bytes: Array(bytes), startsPiece: chunk.startsPiece)
            }
            self = .stripLeft(scalar, limit: limit, left: left)
            return result
        case .whole(let step, var pending, var isFirst):
            var result: [Chunk] = []
            for chunk in chunks {
                if chunk.startsPiece {
                    if let bytes = pending {
                        result.append(Self.apply(step, bytes, isFirst: isFirst))
                        isFirst = false
                    }
                    pending = chunk.bytes
                } else {
                    pending = (pending ?? []) + chunk.bytes
                }
            }
            self = .whole(step, pending: pending, isFirst: isFirst)
            return result
        case .join(var started):
            var result: [Chunk] = []
            for chunk in chunks {
                if started { result.append(Chunk(bytes: [0x20], startsPiece: false)) }
                result.append(chunk)
                started = true
            }
            self = .join(started: started)
            return result
        }
    }

    func finish() -> [Chunk] {
        switch self {
        case .byteFallback(let run): Self.text(of: run)
        case .whole(let step, let pending?, let isFirst):
            [Self.apply(step, pending, isFirst: isFirst)]
        default: []
        }
    }

    private static func apply(_ step: DecoderStep, _ bytes: [UInt8], isFirst: Bool) -> Chunk {
        var result = bytes
        switch step {
        case .replace(let pattern, let content):
            result = UTF8Scan.replacing(bytes[...], pattern, with: content)
        case .metaspace(let marker, let dropFirst):
            let content: [UInt8] = isFirst && dropFirst ? [] : [0x20]
            result = UTF8Scan.replacing(bytes[...], marker, with: content)
        case .strip(let scalar, let left, let right):
            let pattern = utf8(scalar)
            var slice = bytes[...]
            for _ in 0..<left where slice.starts(with: pattern) {
                slice = slice.dropFirst(pattern.count)
            }
            for _ in 0..<right where slice.suffix(pattern.count).elementsEqual(pattern) {
                slice = slice.dropLast(pattern.count)
            }
            result = Array(slice)
        case .byteFallback:
            if let byte = byte(bytes) { result = text(of: [byte]).flatMap(\.bytes) }
        case .fuse: break
        }
        return Chunk(bytes: result, startsPiece: true)
    }

    /// The byte that a piece such as `<0x0A>` stands for.
    static func byte(_ piece: [UInt8]) -> UInt8? {
        guard piece.count == 6, piece.starts(with: Array("<0x".utf8)), piece[5] == 0x3E else {
            return nil
        }
        guard piece[3] != 0x2D else { return nil }  // Swift would take "-0" for a byte
        let digits = String(decoding: piece[3..<5], as: UTF8.self)
        return UInt8(digits, radix: 16)
    }

    private static func text(of run: [UInt8]) -> [Chunk] {
        if run.isEmpty { return [] }
        if UTF8Scan.isValid(run) { return [Chunk(bytes: run, startsPiece: true)] }
        return run.map { _ in Chunk(bytes: [0xEF, 0xBF, 0xBD], startsPiece: true) }
    }

    private static func utf8(_ scalar: UInt32) -> [UInt8] {
        Unicode.Scalar(scalar).map { Array(String($0).utf8) } ?? []
    }
}
