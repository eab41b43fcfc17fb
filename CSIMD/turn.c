// Rows of f32 to the columns that gemm_f32 takes.
#include "internal.h"

#include "turn.inc"

void csimd_turn_floats(const float* rows, size_t stride, size_t k, float* to) {
    size_t i = 0;
    for (; i + 4 <= k; i += 4) {
        sixteen_words words[4];
        turn_words(rows + i, stride * sizeof(float), words);
        __builtin_memcpy(to + i * CSIMD_GEMM_PANEL, words, sizeof words);
    }
    for (; i < k; i++) {
        for (size_t r = 0; r < CSIMD_GEMM_PANEL; r++) {
            to[i * CSIMD_GEMM_PANEL + r] = rows[r * stride + i];
        }
    }
}
