// What the decoders share: how a failure is written down and how a size is judged.
#pragma once

#include "include/image_codecs.h"

void picture_clear(image_codecs_picture* picture);

// Writes the message and the place; returns `status`, so that a caller can return it in turn.
__attribute__((format(printf, 4, 5))) image_codecs_status
picture_fail(image_codecs_picture* picture, image_codecs_status status, uint64_t offset,
             const char* format, ...);

// Judges width and height of the header, before anything of that size is allocated. What passes
// can be multiplied by 8 (four 16-bit samples) without overflow.
image_codecs_status picture_check_size(image_codecs_picture* picture, uint64_t max_pixels,
                                       uint64_t offset);
