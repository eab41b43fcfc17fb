// Pillow's bicubic resize of 8-bit pictures, to the bit.
//
// The filter is separable. For each output position the weights of its input samples are computed
// in double, normalised to a sum of 1, and rounded to integers with 22 fractional bits (8 bits of
// result and 2 of headroom for the filter's negative lobes leave 22 of 32). A pass sums weights
// times samples plus one half in 32-bit integers, shifts, and clips to 0...255. A pass that changes
// nothing is left out. Between the passes lie 8-bit samples, so their order shows in the result:
// see rows_come_last.
#include "picture.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

enum { FRACTION_BITS = 32 - 8 - 2 };
static const int32_t HALF = 1 << (FRACTION_BITS - 1);

// The weights of one direction: output position i is the sum of `count[i]` samples from `first[i]`
// on, with weights from weights + i * stride.
typedef struct {
    size_t stride;
    size_t* first;
    size_t* count;
    int32_t* weights;
} filter_table;

static void filter_free(filter_table* table) {
    free(table->first);
    free(table->count);
    free(table->weights);
}

// The cubic convolution kernel with a = -0.5 (Keys 1981), in Pillow's order of operations.
static double bicubic(double x) {
    const double a = -0.5;
    if (x < 0.0) {
        x = -x;
    }
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    }
    if (x < 2.0) {
        return (((x - 5) * x + 8) * x - 4) * a;
    }
    return 0.0;
}

static int filter_make(filter_table* table, size_t in_size, size_t out_size) {
    // Pillow passes the source box as 32-bit floats, which matters beyond 2^24 samples.
    const double scale = (double)(float)in_size / (double)out_size;
    const double stretch = scale < 1.0 ? 1.0 : scale;
    const double support = 2.0 * stretch;
    const double inverse = 1.0 / stretch;

    table->stride = (size_t)ceil(support) * 2 + 1;
    table->first = NULL;
    table->count = NULL;
    table->weights = NULL;
    if (table->stride > SIZE_MAX / sizeof(double) / out_size) {
        return 0;
    }
    table->first = malloc(out_size * sizeof *table->first);
    table->count = malloc(out_size * sizeof *table->count);
    table->weights = malloc(out_size * table->stride * sizeof *table->weights);
    double* exact = malloc(table->stride * sizeof *exact);
    if (!table->first || !table->count || !table->weights || !exact) {
        free(exact);
        filter_free(table);
        return 0;
    }
    for (size_t i = 0; i < out_size; i++) {
        const double center = ((double)i + 0.5) * scale;
        double low = center - support + 0.5;
        double high = center + support + 0.5;
        size_t first = low < 0 ? 0 : (size_t)low;
        size_t end = high > (double)in_size ? in_size : (size_t)high;
        size_t count = end > first ? end - first : 0;
        if (count > table->stride) {
            count = table->stride;
        }
        double sum = 0.0;
        for (size_t j = 0; j < count; j++) {
            exact[j] = bicubic(((double)(j + first) - center + 0.5) * inverse);
            sum += exact[j];
        }
        int32_t* weights = table->weights + i * table->stride;
        for (size_t j = 0; j < count; j++) {
            double weight = sum != 0.0 ? exact[j] / sum : exact[j];
            double scaled = weight * (1 << FRACTION_BITS);
            weights[j] = (int32_t)(weight < 0 ? -0.5 + scaled : 0.5 + scaled);
        }
        table->first[i] = first;
        table->count[i] = count;
    }
    free(exact);
    return 1;
}

static inline uint8_t clip(int32_t sum) {
    int32_t value = sum >> FRACTION_BITS;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

// in [rows, in_width, 3] -> out [rows, out_width, 3]
static void resize_rows(const uint8_t* in, size_t in_width, uint8_t* out, size_t out_width,
                        size_t rows, const filter_table* table) {
    for (size_t y = 0; y < rows; y++) {
        const uint8_t* row = in + y * in_width * 3;
        for (size_t x = 0; x < out_width; x++) {
            const int32_t* weights = table->weights + x * table->stride;
            const uint8_t* sample = row + table->first[x] * 3;
            int32_t red = HALF, green = HALF, blue = HALF;
            for (size_t j = 0; j < table->count[x]; j++, sample += 3) {
                red += sample[0] * weights[j];
                green += sample[1] * weights[j];
                blue += sample[2] * weights[j];
            }
            *out++ = clip(red);
            *out++ = clip(green);
            *out++ = clip(blue);
        }
    }
}

// in [?, row_samples], whose first row is number `in_first` of the table's rows
// -> out [out_height, row_samples]. `sums` holds row_samples numbers.
static void resize_columns(const uint8_t* in, size_t in_first, size_t row_samples, uint8_t* out,
                           size_t out_height, const filter_table* table, int32_t* sums) {
    for (size_t y = 0; y < out_height; y++) {
        const int32_t* weights = table->weights + y * table->stride;
        for (size_t x = 0; x < row_samples; x++) {
            sums[x] = HALF;
        }
        for (size_t j = 0; j < table->count[y]; j++) {
            const uint8_t* row = in + (table->first[y] + j - in_first) * row_samples;
            const int32_t weight = weights[j];
            for (size_t x = 0; x < row_samples; x++) {
                sums[x] += row[x] * weight;
            }
        }
        for (size_t x = 0; x < row_samples; x++) {
            *out++ = clip(sums[x]);
        }
    }
}

// Pillow resizes horizontally first, except, since version 13, where the height loses more than
// twice as many pixels as the width (which may also grow). Found by comparing thousands of sizes
// with both orders. Before, it was where the height shrinks and was more than a hundred times the
// width.
static int rows_come_last(size_t in_width, size_t in_height, size_t out_width, size_t out_height,
                          image_codecs_pass_order order) {
    if (out_height >= in_height) {
        return 0;
    }
    if (order == IMAGE_CODECS_PILLOW_12) {
        return (in_height - 1) / 100 >= in_width;
    }
    return out_width >= in_width || (in_height - out_height) / 2 > in_width - out_width ||
           ((in_height - out_height) / 2 == in_width - out_width &&
            (in_height - out_height) % 2 == 1);
}

image_codecs_status image_codecs_resize_bicubic(const uint8_t* in, size_t in_width,
                                                size_t in_height, uint8_t* out, size_t out_width,
                                                size_t out_height, image_codecs_pass_order order) {
    const int horizontal = in_width != out_width;
    const int vertical = in_height != out_height;
    if (!horizontal && !vertical) {
        memcpy(out, in, in_width * in_height * 3);
        return IMAGE_CODECS_OK;
    }
    const int rows_last = rows_come_last(in_width, in_height, out_width, out_height, order);
    filter_table across = {0}, down = {0};
    uint8_t* between = NULL;
    int32_t* sums = NULL;
    image_codecs_status status = IMAGE_CODECS_NO_MEMORY;
    if (horizontal && !filter_make(&across, in_width, out_width)) {
        goto done;
    }
    if (vertical) {
        const size_t row_samples = (rows_last ? in_width : out_width) * 3;
        sums = malloc(row_samples * sizeof *sums);
        if (!sums || !filter_make(&down, in_height, out_height)) {
            goto done;
        }
    }
    if (!vertical) {
        resize_rows(in, in_width, out, out_width, in_height, &across);
    } else if (!horizontal) {
        resize_columns(in, 0, out_width * 3, out, out_height, &down, sums);
    } else if (rows_last) {
        between = malloc(out_height * in_width * 3);
        if (!between) {
            goto done;
        }
        resize_columns(in, 0, in_width * 3, between, out_height, &down, sums);
        resize_rows(between, in_width, out, out_width, out_height, &across);
    } else {
        // Only the rows that the columns' filter reads.
        const size_t first = down.first[0];
        const size_t rows = down.first[out_height - 1] + down.count[out_height - 1] - first;
        between = malloc(rows * out_width * 3);
        if (!between) {
            goto done;
        }
        resize_rows(in + first * in_width * 3, in_width, between, out_width, rows, &across);
        resize_columns(between, first, out_width * 3, out, out_height, &down, sums);
    }
    status = IMAGE_CODECS_OK;
done:
    free(sums);
    free(between);
    filter_free(&across);
    filter_free(&down);
    return status;
}
