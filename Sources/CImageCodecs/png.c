// PNG through libpng, read as Pillow reads it.
//
// Pillow walks the chunks itself and is choosier than libpng before the image data (every checksum
// must be right) and less so within and after it. So the chunks are walked here in Pillow's way,
// and libpng gets only the header and the image data, to inflate, unfilter and deinterlace. What
// the samples mean (palette, 16 bits, alpha) is also decided here.
#include "picture.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

enum {
    SIGNATURE_BYTES = 8,
    CHUNK_HEAD_BYTES = 8, // length and name
    CHECKSUM_BYTES = 4,
    HEADER_BYTES = 13,
    // Pillow hands inflate at most so much at once, and libpng is told to do the same: whether a
    // wrong checksum of the stream is noticed depends on it.
    READ_BYTES = 65536,
};

enum { GRAY = 0, RGB = 2, PALETTE = 3, GRAY_ALPHA = 4, RGB_ALPHA = 6 };

typedef struct {
    const uint8_t* bytes;
    size_t count;
    size_t position; // of the walk
    size_t data;     // position of the first IDAT's head
    size_t data_end; // position after the last IDAT of the run, or the file's end
    size_t cut;      // position of an IDAT's head whose chunk is not whole, else SIZE_MAX
    uint32_t width;  // of the header, as are these:
    uint32_t height;
    uint8_t depth;      // bits a sample
    uint8_t color;      // GRAY ... RGB_ALPHA
    uint8_t interlaced; // 0 or 1
    uint8_t has_header;
    uint8_t palette[256][3];
} chunk_walk;

static uint32_t big_endian(const uint8_t* bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_big_endian(uint8_t* bytes, uint32_t value) {
    bytes[0] = (uint8_t)(value >> 24);
    bytes[1] = (uint8_t)(value >> 16);
    bytes[2] = (uint8_t)(value >> 8);
    bytes[3] = (uint8_t)value;
}

static int is_name(const uint8_t* name) {
    for (int i = 0; i < 4; i++) {
        uint8_t c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_')) {
            return 0;
        }
    }
    return 1;
}

static int named(const uint8_t* name, const char* expected) {
    return !memcmp(name, expected, 4);
}

// Chunks that Pillow refuses when they are shorter than this.
static uint32_t least_length(const chunk_walk* walk, const uint8_t* name) {
    static const struct {
        char name[5];
        uint8_t bytes;
    } least[] = {{"IHDR", HEADER_BYTES},
                 {"gAMA", 4},
                 {"cHRM", 32},
                 {"sRGB", 1},
                 {"pHYs", 9},
                 {"acTL", 8},
                 {"fcTL", 26}};
    for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
        if (named(name, least[i].name)) {
            return least[i].bytes;
        }
    }
    if (named(name, "tRNS") && walk->has_header) {
        return walk->color == GRAY ? 2 : walk->color == RGB ? 6 : 0;
    }
    return 0;
}

static int is_known_kind(uint8_t color, uint8_t depth) {
    switch (color) {
    case GRAY:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case PALETTE:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case RGB:
    case GRAY_ALPHA:
    case RGB_ALPHA:
        return depth == 8 || depth == 16;
    default:
        return 0;
    }
}

static image_codecs_status read_header(chunk_walk* walk, const uint8_t* body,
                                       image_codecs_picture* picture) {
    walk->width = big_endian(body);
    walk->height = big_endian(body + 4);
    walk->depth = body[8];
    walk->color = body[9];
    walk->interlaced = body[12] != 0;
    walk->has_header = 1;
    if (body[11] != 0) {
        return picture_fail(picture, IMAGE_CODECS_CORRUPT, walk->position,
                            "IHDR: filter method %u; only 0 exists", body[11]);
    }
    return IMAGE_CODECS_OK;
}

static image_codecs_status read_palette(chunk_walk* walk, const uint8_t* body, uint32_t length,
                                        image_codecs_picture* picture) {
    if (walk->color != PALETTE || !walk->has_header) {
        return IMAGE_CODECS_OK;
    }
    if (length > sizeof walk->palette) {
        return picture_fail(picture, IMAGE_CODECS_CORRUPT, walk->position,
                            "PLTE: %u bytes, more than 256 colours", (unsigned)length);
    }
    // Entries that are not given stay black, as in Pillow.
    memcpy(walk->palette, body, length - length % 3);
    return IMAGE_CODECS_OK;
}

// Reads all chunks up to the image data and finds the run of IDAT chunks.
static image_codecs_status walk_to_data(chunk_walk* walk, image_codecs_picture* picture) {
    walk->position = SIGNATURE_BYTES;
    for (;;) {
        size_t left = walk->count - walk->position;
        if (left < CHUNK_HEAD_BYTES) {
            return picture_fail(picture, IMAGE_CODECS_TRUNCATED, walk->count,
                                "the file ends before the image data, after %zu bytes",
                                walk->count);
        }
        const uint8_t* head = walk->bytes + walk->position;
        const uint8_t* name = head + 4;
        const uint8_t* body = head + CHUNK_HEAD_BYTES;
        const uint32_t length = big_endian(head);
        if (!is_name(name)) {
            return picture_fail(picture, IMAGE_CODECS_CORRUPT, walk->position,
                                "a chunk named %02x %02x %02x %02x", name[0], name[1], name[2],
                                name[3]);
        }
        if (named(name, "IDAT")) {
            break;
        }
        if (named(name, "IEND")) {
            return picture_fail(picture, IMAGE_CODECS_CORRUPT, walk->position, "no image data");
        }
        left -= CHUNK_HEAD_BYTES;
        if (left < CHECKSUM_BYTES || left - CHECKSUM_BYTES < length) {
            return picture_fail(picture, IMAGE_CODECS_TRUNCATED, walk->count,
                                "the file ends in chunk %.4s, after %zu bytes", (const char*)name,
                                walk->count);
        }
        if (big_endian(body + length) != image_codecs_crc32(name, (size_t)length + 4)) {
            return picture_fail(picture, IMAGE_CODECS_CORRUPT, walk->position,
                                "the checksum of chunk %.4s is wrong", (const char*)name);
        }
        if (length < least_length(walk, name)) {
            return picture_fail(picture, IMAGE_CODECS_CORRUPT, walk->position,
                                "chunk %.4s has only %u bytes", (const char*)name,
                                (unsigned)length);
        }
        image_codecs_status status = IMAGE_CODECS_OK;
        if (named(name, "IHDR")) {
            status = read_header(walk, body, picture);
        } else if (named(name, "PLTE")) {
            status = read_palette(walk, body, length, picture);
        }
        if (status != IMAGE_CODECS_OK) {
            return status;
        }
        walk->position += CHUNK_HEAD_BYTES + (size_t)length + CHECKSUM_BYTES;
    }
    if (!walk->has_header) {
        return picture_fail(picture, IMAGE_CODECS_CORRUPT, walk->position, "no IHDR chunk");
    }
    if (!is_known_kind(walk->color, walk->depth)) {
        return picture_fail(picture, IMAGE_CODECS_CORRUPT, SIGNATURE_BYTES,
                            "IHDR: colour type %u with %u bits a sample", walk->color, walk->depth);
    }
    walk->data = walk->position;
    return IMAGE_CODECS_OK;
}

// After the picture Pillow still wants the chunks it begins to read to be whole, though it checks
// neither checksums nor that there is an end. The chunk that gave the last row may be cut.
// `reached` is the position that reading the last row came to.
static image_codecs_status walk_after_rows(const chunk_walk* walk, size_t reached,
                                           image_codecs_picture* picture) {
    size_t position = walk->data;
    while (position <= walk->count && walk->count - position >= CHUNK_HEAD_BYTES) {
        const uint8_t* head = walk->bytes + position;
        const uint32_t length = big_endian(head);
        if (!is_name(head + 4) || named(head + 4, "IEND")) {
            break;
        }
        if (position >= reached && walk->count - position - CHUNK_HEAD_BYTES < length) {
            return picture_fail(picture, IMAGE_CODECS_TRUNCATED, walk->count,
                                "the file ends in chunk %.4s, after %zu bytes",
                                (const char*)head + 4, walk->count);
        }
        position += CHUNK_HEAD_BYTES + (size_t)length + CHECKSUM_BYTES;
    }
    return IMAGE_CODECS_OK;
}

// The file that libpng sees: signature, header, image data, and nothing else.
typedef struct {
    uint8_t head[SIGNATURE_BYTES + CHUNK_HEAD_BYTES + HEADER_BYTES + CHECKSUM_BYTES];
    size_t given; // bytes of head that were read
    const uint8_t* bytes;
    size_t position; // next byte of the file
    size_t end;      // after the IDAT run
    size_t cut;      // where a chunk's length is replaced by ...
    uint8_t cut_length[4];
    size_t row_position; // `position` when the latest row was complete
    jmp_buf escape;
    int ended; // the reader asked for more than there is
    char message[160];
} image_stream;

static void read_stream(png_structp png, png_bytep out, size_t count) {
    image_stream* stream = png_get_io_ptr(png);
    while (count > 0 && stream->given < sizeof stream->head) {
        *out++ = stream->head[stream->given++];
        count--;
    }
    if (count > stream->end - stream->position) {
        stream->position = stream->end;
        stream->ended = 1;
        png_error(png, "the image data ends too early");
    }
    memcpy(out, stream->bytes + stream->position, count);
    // libpng reads a chunk's length and name at once.
    if (stream->position == stream->cut && count >= sizeof stream->cut_length) {
        memcpy(out, stream->cut_length, sizeof stream->cut_length);
    }
    stream->position += count;
}

// Called when a row has been inflated and unfiltered, before libpng looks at what follows it.
static void note_row(png_structp png, png_row_infop info, png_bytep row) {
    (void)info;
    (void)row;
    image_stream* stream = png_get_io_ptr(png);
    stream->row_position = stream->position;
}

static void trap_error(png_structp png, png_const_charp message) {
    image_stream* stream = png_get_error_ptr(png);
    strncpy(stream->message, message, sizeof stream->message - 1);
    longjmp(stream->escape, 1);
}

static void ignore_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

// A palette picture is announced as a gray one of the same depth: its indices are packed, filtered
// and interlaced just so, and libpng then has no opinion about the palette. Checksums in `head` may
// stay zero because libpng is told not to look.
static void open_stream(image_stream* stream, const chunk_walk* walk) {
    static const uint8_t signature[SIGNATURE_BYTES] = {137, 'P', 'N', 'G', 13, 10, 26, 10};
    memcpy(stream->head, signature, SIGNATURE_BYTES);
    uint8_t* chunk = stream->head + SIGNATURE_BYTES;
    put_big_endian(chunk, HEADER_BYTES);
    memcpy(chunk + 4, "IHDR", 4);
    put_big_endian(chunk + 8, walk->width);
    put_big_endian(chunk + 12, walk->height);
    chunk[16] = walk->depth;
    chunk[17] = walk->color == PALETTE ? GRAY : walk->color;
    chunk[20] = walk->interlaced;
    stream->bytes = walk->bytes;
    stream->position = walk->data;
    stream->end = walk->data_end;
    stream->cut = walk->cut;
    // libpng reads long pieces of a chunk at once and would not see the part that is there.
    if (walk->cut != SIZE_MAX) {
        put_big_endian(stream->cut_length, (uint32_t)(walk->count - walk->cut - CHUNK_HEAD_BYTES));
    }
}

// One row of samples, a byte each (16-bit ones: two, high byte first), to RGB.
static void convert_row(const chunk_walk* walk, const uint8_t* in, uint8_t* out) {
    const size_t width = walk->width;
    const size_t bytes = walk->depth == 16 ? 2 : 1;
    switch (walk->color) {
    case GRAY: {
        // Pillow clips 16-bit gray to 8 bits, but takes the high byte of every other 16-bit kind.
        const uint8_t scale = walk->depth >= 8 ? 1 : (uint8_t)(255 / ((1 << walk->depth) - 1));
        for (size_t x = 0; x < width; x++, in += bytes) {
            uint8_t gray = bytes == 1 ? (uint8_t)(in[0] * scale) : in[0] ? 255 : in[1];
            memset(out + 3 * x, gray, 3);
        }
        break;
    }
    case PALETTE:
        for (size_t x = 0; x < width; x++) {
            memcpy(out + 3 * x, walk->palette[in[x]], 3);
        }
        break;
    case GRAY_ALPHA:
        for (size_t x = 0; x < width; x++) {
            memset(out + 3 * x, in[2 * bytes * x], 3);
        }
        break;
    default: {
        const size_t stride = (walk->color == RGB ? 3 : 4) * bytes;
        for (size_t x = 0; x < width; x++, in += stride) {
            for (size_t i = 0; i < 3; i++) {
                *out++ = in[i * bytes];
            }
        }
    }
    }
}

// libpng's part. Everything that must be freed after a jump is in `stream`, `png` or `buffers`.
typedef struct {
    image_stream stream;
    png_structp png;
    png_infop info;
    uint8_t* samples; // one row, or the whole picture where it is interlaced
} decoding;

static int rows_complete(const decoding* state, const chunk_walk* walk) {
    if (!state->png) {
        return 0;
    }
    return walk->interlaced ? png_get_current_pass_number(state->png) >= 7
                            : png_get_current_row_number(state->png) >= walk->height;
}

static image_codecs_status read_rows(decoding* state, const chunk_walk* walk,
                                     image_codecs_picture* picture) {
    png_structp png = state->png;
    png_set_read_fn(png, &state->stream, read_stream);
    png_set_read_user_transform_fn(png, note_row);
    png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_compression_buffer_size(png, READ_BYTES);
    png_read_info(png, state->info);
    png_set_packing(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, state->info);

    const size_t row_bytes = png_get_rowbytes(png, state->info);
    const size_t rows = walk->interlaced ? walk->height : 1;
    state->samples = calloc(rows, row_bytes);
    picture->pixels = malloc((size_t)walk->width * walk->height * 3);
    if (!state->samples || !picture->pixels) {
        return picture_fail(picture, IMAGE_CODECS_NO_MEMORY, walk->data,
                            "no memory for %u x %u pixels", (unsigned)walk->width,
                            (unsigned)walk->height);
    }
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < walk->height; y++) {
            if (walk->interlaced) {
                png_read_row(png, state->samples + y * row_bytes, NULL);
                continue;
            }
            png_read_row(png, state->samples, NULL);
            // The last row is converted by the caller, for it counts even if libpng finds fault
            // with what follows it.
            if (y + 1 < walk->height) {
                convert_row(walk, state->samples, picture->pixels + y * walk->width * 3);
            }
        }
    }
    return IMAGE_CODECS_OK;
}

static void convert_rest(const decoding* state, const chunk_walk* walk,
                         image_codecs_picture* picture) {
    const size_t stride = (size_t)walk->width * 3;
    if (!walk->interlaced) {
        convert_row(walk, state->samples, picture->pixels + (walk->height - 1) * stride);
        return;
    }
    const size_t row_bytes = png_get_rowbytes(state->png, state->info);
    for (size_t y = 0; y < walk->height; y++) {
        convert_row(walk, state->samples + y * row_bytes, picture->pixels + y * stride);
    }
}

static image_codecs_status decode(decoding* state, chunk_walk* walk,
                                  image_codecs_picture* picture) {
    open_stream(&state->stream, walk);
    if (setjmp(state->stream.escape) == 0) {
        state->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state->stream, trap_error,
                                            ignore_warning);
        if (state->png) {
            state->info = png_create_info_struct(state->png);
        }
        if (!state->info) {
            return picture_fail(picture, IMAGE_CODECS_NO_MEMORY, 0, "no memory for libpng");
        }
        image_codecs_status status = read_rows(state, walk, picture);
        if (status != IMAGE_CODECS_OK) {
            return status;
        }
    } else if (!rows_complete(state, walk)) {
        int cut = state->stream.ended && walk->data_end == walk->count;
        return picture_fail(picture, cut ? IMAGE_CODECS_TRUNCATED : IMAGE_CODECS_CORRUPT,
                            state->stream.position, "libpng: %s", state->stream.message);
    }
    convert_rest(state, walk, picture);
    return walk_after_rows(walk, state->stream.row_position, picture);
}

// Finds the end of the run of IDAT chunks, and whether the last one is cut.
static void find_data_end(chunk_walk* walk) {
    size_t position = walk->data;
    walk->cut = SIZE_MAX;
    while (walk->count - position >= CHUNK_HEAD_BYTES &&
           named(walk->bytes + position + 4, "IDAT")) {
        const size_t left = walk->count - position - CHUNK_HEAD_BYTES;
        const size_t length = big_endian(walk->bytes + position);
        if (length > left) {
            walk->cut = position;
        }
        if (left < CHECKSUM_BYTES || left - CHECKSUM_BYTES < length) {
            position = walk->count;
            break;
        }
        position += CHUNK_HEAD_BYTES + length + CHECKSUM_BYTES;
    }
    walk->data_end = position;
}

// Deflate packs up to a thousand to one. Rows are unpacked and unfiltered at some 400 MB a second,
// and pixels, of one bit too, are resized at some 100 million a second: a megabyte could take
// several seconds. Pictures that people make shrink a few times.
static const uint64_t free_row_bytes = (uint64_t)1 << 28, free_pixels = (uint64_t)1 << 26;
enum { MOST_UNPACKED = 100, MOST_PIXELS_A_BYTE = 64 };

// Bytes of all rows with their filters' numbers; those of an interlaced picture's passes differ by
// less than a thousandth.
static uint64_t row_bytes(const chunk_walk* walk) {
    static const uint8_t samples[] = {1, 0, 3, 1, 2, 0, 4};
    const uint64_t bits = (uint64_t)walk->width * samples[walk->color] * walk->depth;
    return (uint64_t)walk->height * (1 + (bits + 7) / 8);
}

image_codecs_status image_codecs_decode_png(const uint8_t* bytes, size_t count, uint64_t max_pixels,
                                            image_codecs_picture* picture) {
    picture_clear(picture);
    if (count < SIGNATURE_BYTES) {
        return picture_fail(picture, IMAGE_CODECS_TRUNCATED, count, "only %zu bytes", count);
    }
    chunk_walk walk = {.bytes = bytes, .count = count};
    image_codecs_status status = walk_to_data(&walk, picture);
    if (walk.has_header) {
        picture->width = walk.width;
        picture->height = walk.height;
        // A size that cannot be is the better message than the missing data that goes with it.
        image_codecs_status size = picture_check_size(picture, max_pixels, SIGNATURE_BYTES);
        status = size != IMAGE_CODECS_OK ? size : status;
    }
    if (status != IMAGE_CODECS_OK) {
        return status;
    }
    find_data_end(&walk);
    const uint64_t unpacked = row_bytes(&walk), packed = walk.data_end - walk.data;
    if (unpacked > free_row_bytes && unpacked / MOST_UNPACKED > packed) {
        return picture_fail(picture, IMAGE_CODECS_UNSUPPORTED, walk.data,
                            "%llu bytes of rows in %llu bytes of data; so much takes too long",
                            (unsigned long long)unpacked, (unsigned long long)packed);
    }
    const uint64_t pixels = (uint64_t)walk.width * walk.height;
    if (pixels > free_pixels && pixels / MOST_PIXELS_A_BYTE > packed) {
        return picture_fail(picture, IMAGE_CODECS_UNSUPPORTED, walk.data,
                            "%llu pixels in %llu bytes of data; so much takes too long",
                            (unsigned long long)pixels, (unsigned long long)packed);
    }
    decoding* state = calloc(1, sizeof *state);
    if (!state) {
        return picture_fail(picture, IMAGE_CODECS_NO_MEMORY, 0, "no memory for libpng");
    }
    status = decode(state, &walk, picture);
    if (state->png) {
        png_destroy_read_struct(&state->png, &state->info, NULL);
    }
    free(state->samples);
    free(state);
    if (status != IMAGE_CODECS_OK) {
        image_codecs_free(picture);
    }
    return status;
}
