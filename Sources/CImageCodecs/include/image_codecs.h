// libjpeg, libpng, zlib's checksums and Pillow's bicubic resize behind a few calls that never exit,
// never print and never leave memory behind.
//
// The yardstick is Pillow: a decoded picture equals Image.open(file).convert("RGB") to the bit, a
// resized one equals Image.resize((width, height), Image.BICUBIC). All calls are thread-safe: they
// share no state.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    IMAGE_CODECS_OK = 0,
    // The file ends before its picture does.
    IMAGE_CODECS_TRUNCATED = 1,
    // The file contradicts its format.
    IMAGE_CODECS_CORRUPT = 2,
    // A valid kind of file that is not read here (12-bit or lossless JPEG, for one).
    IMAGE_CODECS_UNSUPPORTED = 3,
    // No rows or no columns.
    IMAGE_CODECS_EMPTY = 4,
    // More pixels than the caller allows. Found in the header, before any allocation.
    IMAGE_CODECS_TOO_LARGE = 5,
    IMAGE_CODECS_NO_MEMORY = 6,
} image_codecs_status;

// What a decoding call answers. `pixels` is set only with IMAGE_CODECS_OK and is freed by
// image_codecs_free; width and height are also set with IMAGE_CODECS_TOO_LARGE and _EMPTY.
typedef struct {
    uint32_t width;
    uint32_t height;
    uint8_t* pixels;   // [height, width, 3], row-major
    uint64_t offset;   // with a failure: the byte of the file that was reached
    char message[256]; // with a failure: what was wrong, zero-terminated
} image_codecs_picture;

// A JPEG (baseline, extended, progressive, arithmetic; gray, YCbCr, RGB, CMYK, YCCK) from `count`
// bytes of memory. Four-component pictures are taken as inverted, as Adobe writes them and Pillow
// reads them. EXIF orientation is left alone.
image_codecs_status image_codecs_decode_jpeg(const uint8_t* bytes, size_t count,
                                             uint64_t max_pixels, image_codecs_picture* picture);

// A PNG of any colour type and bit depth, interlaced or not, from `count` bytes of memory. Alpha
// and tRNS are dropped (not composited), gamma and colour profiles ignored, of an animation the
// default picture is taken.
image_codecs_status image_codecs_decode_png(const uint8_t* bytes, size_t count, uint64_t max_pixels,
                                            image_codecs_picture* picture);

// Frees a picture's pixels and forgets them. Harmless on a picture without pixels.
void image_codecs_free(image_codecs_picture* picture);

// A JPEG file (baseline, YCbCr 4:4:4) of [height, width, 3] pixels; `quality` is libjpeg's, 1 to
// 100. The same pixels give the same file with the same libjpeg. `*bytes` is set only with
// IMAGE_CODECS_OK and is freed by image_codecs_free_bytes. Fails with _EMPTY, _TOO_LARGE (a side of
// more than 65,500) or _NO_MEMORY.
image_codecs_status image_codecs_encode_jpeg(const uint8_t* pixels, uint32_t width, uint32_t height,
                                             int quality, uint8_t** bytes, size_t* count);

// Frees what a call allocated; harmless on NULL.
void image_codecs_free_bytes(uint8_t* bytes);

// Which pass of a resize comes first: as Pillow has it since version 13, or as it had it before.
typedef enum { IMAGE_CODECS_PILLOW_13, IMAGE_CODECS_PILLOW_12 } image_codecs_pass_order;

// Resizes [in_height, in_width, 3] to [out_height, out_width, 3] with Pillow's bicubic filter
// (a = -0.5, antialiased). All four sizes are at least 1; `in` and `out` must not overlap.
// Fails only with IMAGE_CODECS_NO_MEMORY.
image_codecs_status image_codecs_resize_bicubic(const uint8_t* in, size_t in_width,
                                                size_t in_height, uint8_t* out, size_t out_width,
                                                size_t out_height, image_codecs_pass_order order);

// The checksums of PNG, as zlib computes them: of a chunk's name and body, and of the pixels'
// bytes.
uint32_t image_codecs_crc32(const uint8_t* bytes, size_t count);
uint32_t image_codecs_adler32(const uint8_t* bytes, size_t count);

#ifdef __cplusplus
}
#endif
