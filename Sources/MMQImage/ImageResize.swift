/// How a picture or a tile is resized before it is cropped: Hugging Face's `size`.
public enum ImageResize: Codable, Sendable, Equatable {
    /// The shorter side gets this many pixels, the longer one keeps the aspect ratio.
    case shortestEdge(Int)
    /// Both sides are given; the aspect ratio is not kept.
    case exact(PixelSize)

    /// The size that a picture gets. Transformers' `get_resize_output_image_size`: with a shortest
    /// edge the longer side is rounded down.
    func resized(_ size: PixelSize) -> PixelSize {
        switch self {
        case .exact(let size): return size
        case .shortestEdge(let edge):
            let short = min(size.width, size.height)
            let long = max(size.width, size.height)
            let scaled = Int(Double(edge) * Double(long) / Double(short))
            return size.width <= size.height
                ? PixelSize(height: scaled, width: edge) : PixelSize(height: edge, width: scaled)
        }
    }
}

extension RGBImage {
    /// Rows and columns.
    var size: PixelSize { PixelSize(height: height, width: width) }

    /// This picture resized, then cropped around its middle, either where it is asked for.
    func resized(
        _ resize: ImageResize?, croppedTo crop: PixelSize?, as version: Compatibility
    ) -> RGBImage {
        var image = self
        if let size = resize?.resized(size) {
            image = image.resizedBicubic(width: size.width, height: size.height, as: version)
        }
        return crop.map(image.centerCropped) ?? image
    }
}
