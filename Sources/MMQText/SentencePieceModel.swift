import MMQBase

/// What a `tokenizer.model` file says, as far as the reference uses it.
///
/// The file is a protocol buffer, `sentencepiece.ModelProto`: field 1 pieces (1 piece, 2 score,
/// 3 type), field 2 trainer (3 model type, 35 byte fallback, 45-47 spelling of unk, bos, eos;
/// 40-42 their ids), field 3 normalizer (2 precompiled character map).
struct SentencePieceModel {
    var pieces: [[UInt8]] = []
    var scores: [Float] = []
    /// 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    var types: [Int] = []
    /// 1 unigram, 2 BPE, 3 word, 4 character.
    var modelType = 1
    var byteFallback = false
    var unknownID = 0
    var bosID = 1
    var eosID = 2
    var unknownPiece = Array("<unk>".utf8)
    var bosPiece = Array("<s>".utf8)
    var eosPiece = Array("</s>".utf8)
    /// The precompiled character map, empty if there is none.
    var characterMap: [UInt8] = []
    var hasCharacterMap: Bool { !characterMap.isEmpty }

    /// Parses the bytes of a `tokenizer.model`; errors name `file`.
    init(_ bytes: [UInt8], file: String) throws {
        var reader = ProtobufReader(bytes[...], file: file)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let message)): try readPiece(message, file: file)
            case (2, .bytes(let message)): try readTrainer(message, file: file)
            case (3, .bytes(let message)): try readNormalizer(message, file: file)
            default: break
            }
        }
        guard !pieces.isEmpty else {
            throw InputError(
                .badValue, file: file, item: "pieces", expected: "a vocabulary", found: "none")
        }
    }

    private mutating func readPiece(_ message: ArraySlice<UInt8>, file: String) throws {
        var reader = ProtobufReader(message, file: file)
        var piece: [UInt8] = []
        var score: Float = 0
        var type = 1
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let bytes)): piece = Array(bytes)
            case (2, .fixed32(let bits)): score = Float(bitPattern: bits)
            case (3, .varint(let value)): type = Int(truncatingIfNeeded: value)
            default: break
            }
        }
        let key = "pieces[\(pieces.count)]"
        guard UTF8Scan.isValid(piece) else {
            throw InputError(
                .badValue,
                file: file, item: key, offset: message.startIndex, expected: "valid UTF-8",
                found: spelled(piece))
        }
        guard (1...6).contains(type) else {
            throw InputError(
                .badValue,
                file: file, item: key, offset: message.startIndex, expected: "a type from 1 to 6",
                found: "\(type)")
        }
        pieces.append(piece)
        scores.append(score)
        types.append(type)
    }

    private mutating func readTrainer(_ message: ArraySlice<UInt8>, file: String) throws {
        var reader = ProtobufReader(message, file: file)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (3, .varint(let value)): modelType = Int(truncatingIfNeeded: value)
            case (35, .varint(let value)): byteFallback = value != 0
            case (40, .varint(let value)): unknownID = Int(Int32(truncatingIfNeeded: value))
            case (41, .varint(let value)): bosID = Int(Int32(truncatingIfNeeded: value))
            case (42, .varint(let value)): eosID = Int(Int32(truncatingIfNeeded: value))
            case (45, .bytes(let bytes)): unknownPiece = Array(bytes)
            case (46, .bytes(let bytes)): bosPiece = Array(bytes)
            case (47, .bytes(let bytes)): eosPiece = Array(bytes)
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ message: ArraySlice<UInt8>, file: String) throws {
        var reader = ProtobufReader(message, file: file)
        while let field = try reader.next() {
            if field.number == 2, case .bytes(let map) = field.value {
                characterMap = Array(map)
            }
        }
    }
}

/// Reads the fields of one protocol buffer message; offsets in errors are those in the file.
struct ProtobufReader {
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case bytes(ArraySlice<UInt8>)
        case fixed32(UInt32)
    }

    struct Field {
        var number: UInt64
        var value: Value
    }

    private let file: String
    private let message: ArraySlice<UInt8>
    private var position: Int

    init(_ message: ArraySlice<UInt8>, file: String) {
        self.message = message
        self.file = file
        position = message.startIndex
    }

    private func error(_ expected: String, _ found: String) -> InputError {
        InputError(
            .badValue,
            file: file, item: "protocol buffer", offset: position, expected: expected, found: found)
    }

    /// The next field, nil at the end of the message.
    mutating func next() throws -> Field? {
        guard position < message.endIndex else { return nil }
        let tag = try varint()
        let number = tag >> 3
        guard number > 0 else { throw error("a field number", "0") }
        switch tag & 7 {
        case 0: return Field(number: number, value: .varint(try varint()))
        case 1: return Field(number: number, value: .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(message.endIndex - position) else {
                throw error("\(length) bytes", "\(message.endIndex - position)")
            }
            let end = position + Int(length)
            defer { position = end }
            return Field(number: number, value: .bytes(message[position..<end]))
        case 5:
            return Field(
                number: number, value: .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
        default: throw error("wire type 0, 1, 2 or 5", "\(tag & 7)")
        }
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0 as UInt64, to: 70, by: 7) {
            guard position < message.endIndex else { throw error("a number", "the end") }
            let byte = message[position]
            position += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw error("a number of at most 10 bytes", "more")
    }

    private mutating func fixed(_ count: Int) throws -> UInt64 {
        guard message.endIndex - position >= count else {
            throw error("\(count) bytes", "\(message.endIndex - position)")
        }
        var value: UInt64 = 0
        for i in 0..<count { value |= UInt64(message[position + i]) << UInt64(8 * i) }
        position += count
        return value
    }
}
