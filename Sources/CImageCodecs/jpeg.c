// JPEG through libjpeg, with Pillow's settings and Pillow's judgement of broken files.
//
// Equality to the bit needs libjpeg-turbo, which Pillow's wheels hold too: its "fancy" upsampling
// is not the IJG's. Versions agree except on progressive files that leave coefficients out (cut
// scans, previews), where they guess differently (block smoothing), and on lossless JPEG, read
// from 3.0 on.
#include "picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "jpeg_errors.h"

// The whole file lies in memory, so asking for more always means that the file is cut short. As in
// Pillow the source then suspends instead of inventing an end-of-image marker.
typedef struct {
    struct jpeg_source_mgr manager; // first, as in error_trap
    size_t count;
} memory_source;

static void ignore_source(j_decompress_ptr info) {
    (void)info;
}

static boolean suspend(j_decompress_ptr info) {
    (void)info;
    return FALSE;
}

static void skip_input(j_decompress_ptr info, long bytes) {
    struct jpeg_source_mgr* source = info->src;
    size_t skipped = bytes < 0 ? 0 : (size_t)bytes;
    if (skipped > source->bytes_in_buffer) {
        skipped = source->bytes_in_buffer;
    }
    source->next_input_byte += skipped;
    source->bytes_in_buffer -= skipped;
}

enum { START_OF_SCAN = 0xDA, QUANTIZATION = 0xDB };

static int is_frame(uint8_t marker) {
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// Markers without a length.
static int stands_alone(uint8_t marker) {
    return (marker >= 0xD0 && marker <= 0xD9) || marker == 0xC8 ||
           (marker >= 0xF0 && marker <= 0xFD);
}

// What Pillow refuses in a segment of a header. `place` is the segment's position in the file.
static image_codecs_status check_segment(uint8_t marker, const uint8_t* body, size_t length,
                                         size_t place, image_codecs_picture* picture) {
    if (is_frame(marker)) {
        if (length < 6 || (length - 6) % 3 != 0) {
            return picture_fail(picture, IMAGE_CODECS_CORRUPT, place, "a frame header of %zu bytes",
                                length);
        }
        if (body[0] != 8) {
            return picture_fail(picture, IMAGE_CODECS_UNSUPPORTED, place,
                                "%u bits a sample; only 8 are read", body[0]);
        }
    } else if (marker == QUANTIZATION) {
        while (length > 0) {
            const size_t table = body[0] < 16 ? 1 + 64 : 1 + 128;
            if (length < table) {
                return picture_fail(picture, IMAGE_CODECS_CORRUPT, place,
                                    "a quantization table that is not whole");
            }
            body += table;
            length -= table;
        }
    } else if ((marker == 0xE0 && length >= 4 && length < 7 && !memcmp(body, "JFIF", 4)) ||
               (marker == 0xEE && length >= 5 && length < 7 && !memcmp(body, "Adobe", 5))) {
        return picture_fail(picture, IMAGE_CODECS_CORRUPT, place,
                            "an application segment of %zu bytes", length);
    }
    return IMAGE_CODECS_OK;
}

// Scans that every picture may have: what encoders write by default is 10 in colour.
enum { FREE_SCANS = 16 };

// More scans cost no bytes to speak of and a pass over all coefficients each. Beyond FREE_SCANS so
// many pixels times scans are decoded: about a second's work.
static const uint64_t max_scanned_pixels = (uint64_t)1 << 27;

// A block that is coded as nothing new costs a bit or none, and decoding it what any block costs.
// Up to so many pixels and samples together (33 million pixels in grey, 17 in full colour) a file
// may be of any size; beyond, it has a byte for so many of them. Pictures of that size have a few
// at most.
static const uint64_t free_work = (uint64_t)1 << 26;
enum { MOST_WORK_A_BYTE = 64 };

// The scans of a file, from the first one's marker at `position` on. Within a scan 0xFF stands
// before a zero, a restart marker or the next segment.
static uint64_t count_scans(const uint8_t* bytes, size_t count, size_t position) {
    uint64_t scans = 0;
    while (position < count) {
        const uint8_t* found = memchr(bytes + position, 0xFF, count - position);
        if (!found) {
            break;
        }
        position = (size_t)(found - bytes) + 1;
        if (position >= count) {
            break;
        }
        const uint8_t marker = bytes[position];
        if (marker == 0xFF || marker == 0 || stands_alone(marker)) {
            continue;
        }
        if (marker == START_OF_SCAN) {
            scans++;
        }
        if (count - position < 3) {
            break;
        }
        const size_t length = (size_t)bytes[position + 1] << 8 | bytes[position + 2];
        position += 1 + (length < 2 ? 2 : length);
    }
    return scans;
}

// Pillow walks the markers itself before libjpeg does, and refuses some that libjpeg would pass.
static image_codecs_status walk_header(const uint8_t* bytes, size_t count, uint64_t* scans,
                                       image_codecs_picture* picture) {
    size_t position = 2;
    int has_frame = 0;
    for (;;) {
        // Bytes between segments are skipped, as is a stuffed 0xFF 0x00.
        while (position < count && bytes[position] != 0xFF) {
            position++;
        }
        while (position < count && bytes[position] == 0xFF) {
            position++;
        }
        if (position >= count) {
            break;
        }
        const size_t place = position - 1;
        const uint8_t marker = bytes[position++];
        if (marker == 0 || stands_alone(marker)) {
            continue;
        }
        if (marker < 0xC0) {
            return picture_fail(picture, IMAGE_CODECS_CORRUPT, place, "an unknown marker, 0x%02X",
                                marker);
        }
        if (count - position < 2) {
            break;
        }
        const size_t stated = (size_t)bytes[position] << 8 | bytes[position + 1];
        const size_t length = stated < 2 ? 0 : stated - 2;
        position += 2;
        if (count - position < length) {
            break;
        }
        image_codecs_status status =
            check_segment(marker, bytes + position, length, place, picture);
        if (status != IMAGE_CODECS_OK) {
            return status;
        }
        if (marker == START_OF_SCAN) {
            if (!has_frame) {
                return picture_fail(picture, IMAGE_CODECS_CORRUPT, place,
                                    "a scan before the frame header");
            }
            *scans = count_scans(bytes, count, place);
            return IMAGE_CODECS_OK;
        }
        has_frame |= is_frame(marker);
        position += length;
    }
    return picture_fail(picture, IMAGE_CODECS_TRUNCATED, count,
                        "the file ends before the first scan, after %zu bytes", count);
}

// All that a decoding holds, so that one place can let go of it however it ends.
typedef struct {
    struct jpeg_decompress_struct info;
    error_trap trap;
    memory_source source;
    uint64_t scans;
    uint8_t* row; // one row of four-component samples
} decoding;

static uint64_t reached(const decoding* state) {
    return state->source.count - state->source.manager.bytes_in_buffer;
}

static image_codecs_status fail_truncated(const decoding* state, image_codecs_picture* picture,
                                          const char* place) {
    return picture_fail(picture, IMAGE_CODECS_TRUNCATED, state->source.count,
                        "the file ends %s, after %zu bytes", place, state->source.count);
}

// Inverted CMYK [width, 4] to RGB [width, 3], in Pillow's integer arithmetic: each ink takes its
// share, rounded, away from the light that black leaves over.
static void convert_cmyk(const uint8_t* in, uint8_t* out, size_t width) {
    for (size_t x = 0; x < width; x++, in += 4, out += 3) {
        const uint32_t light = in[3];
        for (int i = 0; i < 3; i++) {
            uint32_t ink = 255u - in[i];
            uint32_t product = ink * light + 128;
            uint32_t taken = ((product >> 8) + product) >> 8;
            out[i] = taken > light ? 0 : (uint8_t)(light - taken);
        }
    }
}

static image_codecs_status decode(decoding* state, uint64_t max_pixels,
                                  image_codecs_picture* picture) {
    struct jpeg_decompress_struct* info = &state->info;
    int header;
    do {
        header = jpeg_read_header(info, FALSE);
    } while (header == JPEG_HEADER_TABLES_ONLY);
    if (header == JPEG_SUSPENDED) {
        return fail_truncated(state, picture, "before the first scan");
    }

    picture->width = info->image_width;
    picture->height = info->image_height;
    image_codecs_status status = picture_check_size(picture, max_pixels, reached(state));
    if (status != IMAGE_CODECS_OK) {
        return status;
    }
    const uint64_t pixels = (uint64_t)picture->width * picture->height;
    if (state->scans > FREE_SCANS && state->scans > max_scanned_pixels / pixels) {
        return picture_fail(picture, IMAGE_CODECS_UNSUPPORTED, reached(state),
                            "%llu scans of %llu pixels each; so many take too long",
                            (unsigned long long)state->scans, (unsigned long long)pixels);
    }
    uint64_t work = pixels;
    for (int i = 0; i < info->num_components; i++) {
        const jpeg_component_info* component = &info->comp_info[i];
        work += (uint64_t)component->width_in_blocks * component->height_in_blocks * DCTSIZE2;
    }
    if (work > free_work && work / MOST_WORK_A_BYTE > state->source.count) {
        return picture_fail(
            picture, IMAGE_CODECS_UNSUPPORTED, reached(state),
            "%u x %u pixels in %zu bytes; a picture of that size has a byte for every %d",
            (unsigned)picture->width, (unsigned)picture->height, state->source.count,
            MOST_WORK_A_BYTE);
    }
    switch (info->num_components) {
    case 1:
        info->out_color_space = JCS_GRAYSCALE;
        break;
    case 3:
        info->out_color_space = JCS_RGB;
        break;
    case 4:
        info->out_color_space = JCS_CMYK;
        break;
    default:
        return picture_fail(picture, IMAGE_CODECS_UNSUPPORTED, reached(state),
                            "a JPEG of %d components; 1, 3 and 4 are read", info->num_components);
    }
    const size_t width = info->image_width, height = info->image_height;
    picture->pixels = malloc(width * height * 3);
    state->row = malloc(width * 4);
    if (!picture->pixels || !state->row) {
        return picture_fail(picture, IMAGE_CODECS_NO_MEMORY, reached(state),
                            "no memory for %zu x %zu pixels", width, height);
    }
    if (!jpeg_start_decompress(info)) {
        return fail_truncated(state, picture, "before the last scan");
    }
    for (size_t y = 0; y < height; y++) {
        uint8_t* pixels = picture->pixels + y * width * 3;
        JSAMPROW row = info->num_components == 3 ? pixels : state->row;
        if (jpeg_read_scanlines(info, &row, 1) != 1) {
            char place[48];
            snprintf(place, sizeof place, "in row %zu of %zu", y, height);
            return fail_truncated(state, picture, place);
        }
        if (info->num_components == 1) {
            for (size_t x = 0; x < width; x++) {
                memset(pixels + 3 * x, row[x], 3);
            }
        } else if (info->num_components == 4) {
            convert_cmyk(row, pixels, width);
        }
    }
    // All rows are there. Only a missing end-of-image marker is forgiven, as Pillow does.
    jpeg_finish_decompress(info);
    return IMAGE_CODECS_OK;
}

image_codecs_status image_codecs_decode_jpeg(const uint8_t* bytes, size_t count,
                                             uint64_t max_pixels, image_codecs_picture* picture) {
    picture_clear(picture);
    uint64_t scans = 0;
    image_codecs_status status = walk_header(bytes, count, &scans, picture);
    if (status != IMAGE_CODECS_OK) {
        return status;
    }
    decoding* state = calloc(1, sizeof *state);
    if (!state) {
        return picture_fail(picture, IMAGE_CODECS_NO_MEMORY, 0, "no memory for a JPEG decoder");
    }
    state->info.err = trap_errors(&state->trap);
    state->source.count = count;
    state->scans = scans;
    state->source.manager = (struct jpeg_source_mgr){
        .next_input_byte = bytes,
        .bytes_in_buffer = count,
        .init_source = ignore_source,
        .fill_input_buffer = suspend,
        .skip_input_data = skip_input,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = ignore_source,
    };
    if (setjmp(state->trap.escape) == 0) {
        jpeg_create_decompress(&state->info);
        state->info.src = &state->source.manager;
        status = decode(state, max_pixels, picture);
    } else {
        char message[JMSG_LENGTH_MAX];
        state->info.err->format_message((j_common_ptr)&state->info, message);
        switch (state->info.err->msg_code) {
        case JERR_SOF_UNSUPPORTED:
        case JERR_BAD_PRECISION:
        case JERR_CONVERSION_NOTIMPL:
        case JERR_ARITH_NOTIMPL:
        case JERR_NOT_COMPILED:
            status = IMAGE_CODECS_UNSUPPORTED;
            break;
        case JERR_OUT_OF_MEMORY:
            status = IMAGE_CODECS_NO_MEMORY;
            break;
        case JERR_EMPTY_IMAGE:
            status = IMAGE_CODECS_EMPTY;
            break;
        default:
            status = IMAGE_CODECS_CORRUPT;
        }
        picture_fail(picture, status, reached(state), "libjpeg: %s", message);
    }
    // Safe also where creating failed: the struct was zeroed.
    jpeg_destroy_decompress(&state->info);
    free(state->row);
    free(state);
    if (status != IMAGE_CODECS_OK) {
        image_codecs_free(picture);
    }
    return status;
}
