// Products of pairs of bf16 for AVX-512: a step takes as long as one of f32 on Zen 4 and adds two
// products, where Intel's cores without AMX take four times as long.
#if defined(__x86_64__)
#include <immintrin.h>

#define VW 16
#define GEMM_ROWS 12
#define GEMM_VECTORS 2

#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))),        \
    apply_to = function)
#include "vectors.inc"

#define GEMM gemm_pairs
#define GEMM_STEP(a, b, sum)                                                                       \
    (vf) _mm512_dpbf16_ps((__m512)(sum), (__m512bh)((vf)(a)), (__m512bh)(b))
#include "gemm.inc"

void csimd_avx512_gemm_pairs(const csimd_gemm* g) {
    gemm_pairs(g);
}
#pragma clang attribute pop
#endif
