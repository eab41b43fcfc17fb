#include "image_codecs.h"

#include <zlib.h>

uint32_t image_codecs_crc32(const uint8_t* bytes, size_t count) {
    return (uint32_t)crc32_z(0, bytes, count);
}

uint32_t image_codecs_adler32(const uint8_t* bytes, size_t count) {
    return (uint32_t)adler32_z(1, bytes, count);
}
