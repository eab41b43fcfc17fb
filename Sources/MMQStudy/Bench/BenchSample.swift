import MMQBase
import MMQFormats
import MMQImage

/// The five visual domains, in the order in which they are listed everywhere.
public enum Domain: String, CaseIterable, Sendable, Codable {
    /// Driving scenes: LingoQA.
    case ad
    /// Medical pictures: PMC-VQA.
    case med
    /// Aerial views: RSVQA (high resolution).
    case rs
    /// Everyday pictures: VQAv2.
    case com
    /// Documents: DocVQA, single page.
    case doc

    /// The data set's name.
    public var dataSet: String {
        switch self {
        case .ad: "LingoQA"
        case .med: "PMC-VQA"
        case .rs: "RSVQA"
        case .com: "VQAv2"
        case .doc: "DocVQA"
        }
    }
}

/// Which prompt goes round a question.
public enum PromptForm: String, Sendable, Codable {
    /// `<image>\n{question}`: the activation pass.
    case simple
    /// The domain's own instruction: generation.
    case full
}

/// One question about one picture, as the official loaders give it.
public struct BenchSample: Sendable, Equatable {
    /// The domain.
    public let domain: Domain
    /// The place in the shuffled order, repeated and missing pictures included, from 0.
    public let position: Int
    /// The number that the official code gives the sample: the row of the file for `med`, the place
    /// in the shuffled order for all others.
    public let index: Int
    /// The question alone.
    public let question: String
    /// The text for the model, `<image>` included.
    public let prompt: String
    /// The ground truth as the official loader yields it: a text (`ad`), a letter (`med`), the answer's
    /// record (`rs`), ten records with confidence (`com`), a list of texts (`doc`).
    public let answer: JSONValue
    /// What the data set says about the question beside that: `question_id`, `type`,
    /// `question_type`, `answer_type`, where it has them.
    public let attributes: [String: String]
    /// The pictures' files, joined from left to right if there are several (`ad`).
    public let pictures: [String]
    /// Frames that are not there (`ad` only, where the others still make a picture).
    public let missing: [String]

    /// The ground truth in a few words, to be read: the first of several.
    public var answerText: String {
        let one = answer.array?.first ?? answer
        let value = one["answer"] ?? one
        return value.text ?? value.integer.map(String.init) ?? value.jsonLine
    }

    /// Decodes the picture; several are joined side by side, as `numpy.concatenate(axis=1)` does.
    ///
    /// - Throws: what decoding throws; `InputError` if the heights differ.
    public func picture() throws -> RGBImage {
        let images = try pictures.map { try RGBImage.decode(path: $0) }
        guard images.count > 1, let first = images.first else {
            guard let only = images.first else {
                throw InputError(
                    .badInput, file: domain.rawValue, "sample \(position) has no picture")
            }
            return only
        }
        if let other = images.firstIndex(where: { $0.height != first.height }) {
            throw InputError(
                .badInput, file: pictures[other],
                "\(images[other].height) rows, but \(pictures[0]), left of it, has \(first.height)")
        }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(images.reduce(0) { $0 + $1.pixels.count })
        for row in 0..<first.height {
            for image in images {
                let width = image.width * 3
                pixels += image.pixels[(row * width)..<((row + 1) * width)]
            }
        }
        return RGBImage(
            width: images.reduce(0) { $0 + $1.width }, height: first.height, pixels: pixels)
    }
}

extension BenchSample {
    /// The size of the picture that `picture` would give, from the files' headers.
    ///
    /// - Throws: what reading a header throws; `InputError` if the heights differ.
    public func pictureSize() throws -> PixelSize {
        let sizes = try pictures.map { try PixelSize(ofPicture: $0) }
        guard let first = sizes.first else {
            throw InputError(.badInput, file: domain.rawValue, "sample \(position) has no picture")
        }
        if let other = sizes.firstIndex(where: { $0.height != first.height }) {
            throw InputError(
                .badInput, file: pictures[other],
                "\(sizes[other].height) rows, but \(pictures[0]), left of it, has \(first.height)")
        }
        return PixelSize(height: first.height, width: sizes.reduce(0) { $0 + $1.width })
    }
}

/// What the walk over a bench meets.
public enum BenchItem: Sendable, Equatable {
    /// A sample.
    case sample(BenchSample)
    /// A sample whose picture is not there: the files that were looked for.
    case missing(position: Int, files: [String])
}

/// A place at which a plan of a part of the bench has looked.
struct PlannedPlace {
    /// What was found there.
    enum Outcome {
        /// No picture.
        case missing
        /// A sample that the model cannot take.
        case refused
        /// A sample, so many frames of whose picture are not there.
        case sample(missingFrames: UInt32)
    }

    /// The place in the shuffled order.
    let position: UInt32
    /// Whether it is the planning part's.
    let isOwn: Bool
    /// What was found.
    let outcome: Outcome
}
