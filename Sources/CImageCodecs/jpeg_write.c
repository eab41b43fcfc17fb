// JPEG files of our own, for the small pictures of a page: baseline, with libjpeg's usual tables.
#include "include/image_codecs.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jerror.h>
#include <jpeglib.h>

#include "jpeg_errors.h"

// The file, in memory that doubles as it fills up: libjpeg's own (jpeg_mem_dest) loses track of
// its memory where a call fails.
typedef struct {
    struct jpeg_destination_mgr manager; // first, as in error_trap
    uint8_t* bytes;
    size_t room;
    size_t count;
} memory_sink;

typedef struct {
    struct jpeg_compress_struct info;
    error_trap trap;
    memory_sink sink;
} encoding;

// Gives libjpeg the memory behind the `used` bytes that hold the file so far.
static void offer(j_compress_ptr info, size_t used, size_t room) {
    memory_sink* sink = (memory_sink*)info->dest;
    uint8_t* grown = realloc(sink->bytes, room);
    if (!grown) {
        ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
    }
    sink->bytes = grown;
    sink->room = room;
    sink->manager.next_output_byte = grown + used;
    sink->manager.free_in_buffer = room - used;
}

static void begin_output(j_compress_ptr info) {
    offer(info, 0, 4096);
}

// Called when all of the memory is full, whatever `free_in_buffer` says.
static boolean grow_output(j_compress_ptr info) {
    const size_t room = ((memory_sink*)info->dest)->room;
    offer(info, room, room * 2);
    return TRUE;
}

static void end_output(j_compress_ptr info) {
    memory_sink* sink = (memory_sink*)info->dest;
    sink->count = sink->room - sink->manager.free_in_buffer;
}

static void encode(encoding* state, const uint8_t* pixels, uint32_t width, uint32_t height,
                   int quality) {
    struct jpeg_compress_struct* info = &state->info;
    info->image_width = width;
    info->image_height = height;
    info->input_components = 3;
    info->in_color_space = JCS_RGB;
    jpeg_set_defaults(info);
    jpeg_set_quality(info, quality, TRUE);
    // Colours as sharp as light: a small picture is looked at enlarged.
    info->comp_info[0].h_samp_factor = 1;
    info->comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(info, TRUE);
    while (info->next_scanline < height) {
        // libjpeg only reads it.
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)info->next_scanline * width * 3);
        jpeg_write_scanlines(info, &row, 1);
    }
    jpeg_finish_compress(info);
}

image_codecs_status image_codecs_encode_jpeg(const uint8_t* pixels, uint32_t width, uint32_t height,
                                             int quality, uint8_t** bytes, size_t* count) {
    *bytes = NULL;
    *count = 0;
    encoding* state = calloc(1, sizeof *state);
    if (!state) {
        return IMAGE_CODECS_NO_MEMORY;
    }
    state->info.err = trap_errors(&state->trap);
    state->sink.manager.init_destination = begin_output;
    state->sink.manager.empty_output_buffer = grow_output;
    state->sink.manager.term_destination = end_output;
    image_codecs_status status = IMAGE_CODECS_OK;
    if (setjmp(state->trap.escape) == 0) {
        jpeg_create_compress(&state->info);
        state->info.dest = &state->sink.manager;
        encode(state, pixels, width, height, quality);
    } else {
        switch (state->trap.manager.msg_code) {
        case JERR_OUT_OF_MEMORY:
            status = IMAGE_CODECS_NO_MEMORY;
            break;
        case JERR_EMPTY_IMAGE:
            status = IMAGE_CODECS_EMPTY;
            break;
        default: // more than 65,500 rows or columns
            status = IMAGE_CODECS_TOO_LARGE;
        }
    }
    // Safe also where creating failed: the struct was zeroed.
    jpeg_destroy_compress(&state->info);
    if (status == IMAGE_CODECS_OK) {
        *bytes = state->sink.bytes;
        *count = state->sink.count;
    } else {
        free(state->sink.bytes);
    }
    free(state);
    return status;
}

void image_codecs_free_bytes(uint8_t* bytes) {
    free(bytes);
}
