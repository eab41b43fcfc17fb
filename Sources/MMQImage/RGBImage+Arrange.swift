import MMQBase

extension PixelSize {
    /// - Throws: ``InputError`` if there is not one pixel.
    func requirePixels() throws {
        guard width > 0 && height > 0 else {
            throw InputError(
                .empty, file: "picture", expected: "at least one row and one column",
                found: "\(width) x \(height) pixels")
        }
    }
}

extension RGBImage {
    /// This picture in the middle of a black one; where the padding is odd, the extra row or column
    /// is below or to the right.
    ///
    /// - Precondition: the picture fits.
    func padded(to size: PixelSize) -> RGBImage {
        copied(
            to: size, row: (size.height - height) / 2, column: (size.width - width) / 2)
    }

    /// Square tiles, row by row; those at the lower and right edges are smaller where the sides are
    /// no multiples of `side`.
    func cut(intoSquaresOf side: Int) -> [RGBImage] {
        stride(from: 0, to: height, by: side).flatMap { top in
            stride(from: 0, to: width, by: side).map { left in
                part(
                    rows: top..<min(top + side, height), columns: left..<min(left + side, width))
            }
        }
    }

    /// The middle of this picture; missing rows and columns are black. Transformers' `center_crop`,
    /// with its roundings: a crop's odd rest goes up and left, a padding's odd rest too.
    func centerCropped(to size: PixelSize) -> RGBImage {
        // Floor division, as Python's: a negative start means padding.
        let top = (height - size.height) >> 1
        let left = (width - size.width) >> 1
        if top >= 0 && left >= 0 {
            return part(rows: top..<top + size.height, columns: left..<left + size.width)
        }
        let canvas = PixelSize(height: max(size.height, height), width: max(size.width, width))
        let topPadding = (canvas.height - height + 1) / 2
        let leftPadding = (canvas.width - width + 1) / 2
        let padded = copied(to: canvas, row: topPadding, column: leftPadding)
        let start = PixelSize(height: top + topPadding, width: left + leftPadding)
        return padded.part(
            rows: max(0, start.height)..<min(canvas.height, start.height + size.height),
            columns: max(0, start.width)..<min(canvas.width, start.width + size.width))
    }

    /// A black picture with this one copied to the given place.
    private func copied(to size: PixelSize, row: Int, column: Int) -> RGBImage {
        if size == PixelSize(height: height, width: width) { return self }
        precondition(row >= 0 && row + height <= size.height, "the picture does not fit")
        precondition(column >= 0 && column + width <= size.width, "the picture does not fit")
        var canvas = [UInt8](repeating: 0, count: size.height * size.width * 3)
        for y in 0..<height {
            let start = ((row + y) * size.width + column) * 3
            canvas.replaceSubrange(
                start..<start + width * 3, with: pixels[y * width * 3..<(y + 1) * width * 3])
        }
        return RGBImage(width: size.width, height: size.height, pixels: canvas)
    }

    /// A part of this picture.
    ///
    /// - Precondition: the picture has these rows and columns.
    public func part(rows: Range<Int>, columns: Range<Int>) -> RGBImage {
        var samples: [UInt8] = []
        samples.reserveCapacity(rows.count * columns.count * 3)
        for y in rows {
            let start = y * width
            samples += pixels[(start + columns.lowerBound) * 3..<(start + columns.upperBound) * 3]
        }
        return RGBImage(width: columns.count, height: rows.count, pixels: samples)
    }
}
