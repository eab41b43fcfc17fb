import Foundation
import MMQBase
import MMQImage
import Support
import Testing

@Suite("Decoding equals Pillow's convert(\"RGB\")")
struct DecodeTests {
    @Test("Every golden file: the same pixels, or an error where Pillow has one")
    func goldens() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        var read = 0
        for golden in goldens.cases {
            let file = golden.file(in: blob)
            guard let crc = golden.crc32 else {
                _ = imageError { try decode(file, name: golden.name) }
                continue
            }
            do {
                let image = try decode(file, name: golden.name)
                #expect(image.width == golden.width, "\(golden.name)")
                #expect(image.height == golden.height, "\(golden.name)")
                #expect(crc32(image.pixels) == crc, "\(golden.name)")
                read += 1
            } catch {
                Issue.record("\(golden.name): \(error)")
            }
        }
        #expect(read > 150)
    }

    @Test("Errors say what is wrong and where")
    func errors() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        let codes: [String: InputError.Code] = [
            "JPEG no end marker": .truncated,
            "JPEG 12 bits": .unsupported,
            "JPEG no rows": .empty,
            "JPEG unknown marker": .corrupt,
            "JPEG second frame header": .corrupt,
            "JPEG 40000 x 40000": .tooLarge,
            "PNG palette too long": .corrupt,
            "PNG short gAMA": .corrupt,
            "PNG wrong checksum": .corrupt,
            "PNG wrong byte in the data": .corrupt,
            "PNG no data": .corrupt,
            "PNG no columns": .empty,
            "PNG no rows": .empty,
            "PNG 40000 x 40000": .tooLarge,
            "PNG impossible 5 8 bit": .corrupt,
            "other GIF": .unsupported,
            "other WEBP": .unsupported,
            "other TIFF": .unsupported,
            "other BMP": .unsupported,
            "other text": .badMagic,
            "other empty": .badMagic,
        ]
        var seen = 0
        for golden in goldens.cases {
            guard let code = codes[golden.name] else { continue }
            seen += 1
            let error = imageError { try decode(golden.file(in: blob), name: "dir/a.png") }
            #expect(error?.code == code, "\(golden.name): \(String(describing: error))")
            #expect(error?.description.hasPrefix("dir/a.png: ") == true)
            if code == .truncated { #expect(error?.offset == golden.bytes) }
        }
        #expect(seen == codes.count)
    }

    @Test("Other formats are named")
    func otherFormats() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        for (name, format) in [("GIF", "GIF"), ("WEBP", "WebP"), ("TIFF", "TIFF"), ("BMP", "BMP")] {
            let golden = try #require(goldens.cases.first { $0.name == "other \(name)" })
            let error = imageError { try decode(golden.file(in: blob)) }
            #expect(error?.found?.contains("\(format) format; convert it to PNG") == true)
        }
        let text = imageError { try decode(Array("Not a picture.".utf8), name: "notes.jpg") }
        #expect(text?.description.contains("\"Not a pictur\"") == true)
    }

    @Test("Sizes are judged from the header: 40,000 x 40,000 fails at once, without memory")
    func bomb() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        for name in ["JPEG 40000 x 40000", "PNG 40000 x 40000"] {
            let golden = try #require(goldens.cases.first { $0.name == name })
            let file = golden.file(in: blob)
            let clock = ContinuousClock()
            let elapsed = clock.measure { _ = imageError { try decode(file) } }
            #expect(elapsed < .seconds(1))
            let error = imageError { try decode(file) }
            #expect(error?.found?.contains("40000 x 40000 = 1600000000 pixels") == true)
        }
    }

    @Test("Files: read from a path; missing ones and folders are errors with the path")
    func files() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        let golden = try #require(goldens.cases.first { $0.name == "JPEG EXIF" })
        let folder = try TemporaryFolder()
        let path = try folder.write("turned.png", golden.file(in: blob))
        // EXIF orientation 6 is left alone: the picture stays as wide as it is stored.
        let image = try RGBImage.decode(path: path)
        #expect(image.width == 24 && image.height == 10)

        let missing = imageError { try RGBImage.decode(path: folder.path + "/none.jpg") }
        #expect(missing?.code == .unreadable)
        #expect(missing?.description == "\(folder.path)/none.jpg: cannot be read: no such file")
        #expect(imageError { try RGBImage.decode(path: folder.path) }?.code == .unreadable)
        try folder.write("turned.png", [])
        #expect(imageError { try RGBImage.decode(path: path) }?.found == "an empty file")
    }
}

@Suite("Broken pictures are judged as Pillow judges them")
struct BrokenPictureTests {
    @Test("Truncations: an error where Pillow has one, else Pillow's pixels")
    func truncations() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        var readable = 0
        var broken = 0
        for variants in goldens.broken {
            let golden = goldens.cases[variants.case]
            let file = golden.file(in: blob)
            for (length, crc) in zip(variants.lengths, variants.crc32) {
                let image = try? decode(Array(file[..<length]))
                let found = image.map { crc32($0.pixels) }
                #expect(found == crc, "\(golden.name), \(length) of \(file.count) bytes")
                if crc == nil { broken += 1 } else { readable += 1 }
            }
        }
        #expect(broken > 1000 && readable > 100)
    }

    @Test("Wrong bytes: an error where Pillow has one, else Pillow's pixels")
    func wrongBytes() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        for variants in goldens.broken {
            let golden = goldens.cases[variants.case]
            for flip in variants.flips {
                var file = golden.file(in: blob)
                let written = flip.prefix(2).compactMap { $0.map(Int.init) }
                try #require(written.count == 2 && flip.count == 3)
                let place = written[0]
                file[place] = UInt8(written[1])
                let image = try? decode(file)
                let found = image.map { crc32($0.pixels) }
                #expect(found == flip[2], "\(golden.name), byte \(place) = \(file[place])")
            }
        }
    }

    @Test("Any bytes: never a crash, and errors are InputErrors")
    func anyBytes() throws {
        let (goldens, blob) = try DecodeGoldens.load()
        var state: UInt64 = 17
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var failed = 0
        for golden in goldens.cases where golden.bytes > 3 {
            for _ in 0..<20 {
                var file = golden.file(in: blob)
                for _ in 0...next(6) { file[next(file.count)] = UInt8(next(256)) }
                if next(3) == 0 { file.removeLast(next(file.count)) }
                if next(5) == 0 { file.removeSubrange(0..<next(file.count)) }
                do {
                    _ = try decode(file)
                } catch {
                    #expect(error is InputError)
                    failed += 1
                }
            }
        }
        #expect(failed > 1000)
    }
}
