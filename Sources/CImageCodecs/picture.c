#include "picture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void picture_clear(image_codecs_picture* picture) {
    picture->width = 0;
    picture->height = 0;
    picture->pixels = NULL;
    picture->offset = 0;
    picture->message[0] = 0;
}

image_codecs_status picture_fail(image_codecs_picture* picture, image_codecs_status status,
                                 uint64_t offset, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(picture->message, sizeof picture->message, format, arguments);
    va_end(arguments);
    picture->offset = offset;
    return status;
}

image_codecs_status picture_check_size(image_codecs_picture* picture, uint64_t max_pixels,
                                       uint64_t offset) {
    if (picture->width == 0 || picture->height == 0) {
        return picture_fail(picture, IMAGE_CODECS_EMPTY, offset, "a picture of %u x %u pixels",
                            (unsigned)picture->width, (unsigned)picture->height);
    }
    uint64_t pixels = (uint64_t)picture->width * picture->height;
    if (pixels > max_pixels || pixels > SIZE_MAX / 8) {
        return picture_fail(picture, IMAGE_CODECS_TOO_LARGE, offset,
                            "a picture of %u x %u = %llu pixels, more than the %llu allowed",
                            (unsigned)picture->width, (unsigned)picture->height,
                            (unsigned long long)pixels, (unsigned long long)max_pixels);
    }
    return IMAGE_CODECS_OK;
}

void image_codecs_free(image_codecs_picture* picture) {
    free(picture->pixels);
    picture->pixels = NULL;
}
