// The C kernels of mmq, called from Swift. Everything returns when it is done, and no call keeps a
// pointer after it returns. What works on whole tensors is thread-parallel inside; what works on
// one row (csimd_blocks.h) is not. Shapes are Hugging Face order, rows first.
//
// Numbers: activations are f32. Products with quantized weights of 1,024 columns or more
// quantize activations to int8 or int16 in blocks of 32: block products are exact integers, and
// blocks are summed in f32. All other products are f32 fused multiply-adds, but for those of
// attention where its arguments ask for bf16. csimd_matmul adds
// blocks in ascending order; in f32 it adds chains over 128 k, each ascending, in ascending order.
// csimd_matvec spreads its sums over lanes. Each order is fixed, so a result does not depend on the
// number of threads, nor on how tokens are split into calls. Instruction sets differ, in the last
// bits, where sums run over lanes (csimd_matvec, norms, softmax, attention) and in exp and erf.
#pragma once

#include "csimd_blocks.h"

// --- dispatch.c, parallel.c: which instructions, how many threads ------------------------------

/// Name of the instruction set in use: "scalar"; on x86 "avx2", "avxvnni", "avx512vnni" and,
/// where products of bf16 are fast, "avx512bf16"; on Arm "neon" (with the dot product extension),
/// "i8mm". The best that CPU and OS support, or what
/// MMQ_ISA names.
const char* csimd_isa(void);
/// Null if MMQ_ISA is unset or was honoured; else why it was not (unknown, or not on this CPU).
const char* csimd_isa_error(void);
/// The i-th instruction set compiled in, worst first; NULL past the last.
const char* csimd_isa_name(int i);
/// Whether this CPU and OS can run `isa`.
bool csimd_isa_supported(const char* isa);
/// Switches the instruction set of what the calling thread asks for, on however many threads that
/// is computed. False if unknown or unsupported.
bool csimd_select_isa(const char* isa);

/// Sets how many threads kernels use, clamped to 1 ... 256. Not while kernels run.
void csimd_set_threads(int threads);
/// How many that are: the physical cores unless set, 1 without OpenMP.
int csimd_threads(void);
/// False if built without OpenMP: everything then runs on one thread.
bool csimd_has_threads(void);
/// Physical cores this process may use (SMT siblings counted once), at least 1.
int csimd_physical_cores(void);
/// Runs task(context, i) for i in 0 ..< count, each once, on the kernel threads.
void csimd_parallel(void (*task)(void* context, int64_t index), void* context, int64_t count);

// --- activations.c: activations as products take them ------------------------------------------

/// Integers that activations are rounded to, in blocks of 32 with one f32 scale each.
typedef enum csimd_integers {
    CSIMD_INT8 = 0,  // [-127, 127]
    CSIMD_INT16 = 1, // [-16319, 16319]: two planes of int8, q = 128 high + low
} csimd_integers;

/// Activations [tokens, cols] that a product takes: f32 rows `stride` floats apart, and their form
/// in integers, needed where csimd_takes_integers (csimd_quantize_activations makes it).
typedef struct csimd_input {
    const float* x;
    size_t tokens;
    size_t cols;
    size_t stride;
    csimd_integers integers;
    void* quantized; // csimd_quantized_bytes(...) bytes, 64-byte aligned; may be NULL
} csimd_input;

/// Bytes for the integer form of [tokens, cols]. cols must be a multiple of 32, else 0.
size_t csimd_quantized_bytes(size_t tokens, size_t cols, csimd_integers integers);
/// Fills input->quantized from input->x: integers, one f32 scale per token and 32 values; NaN where
/// they are not all finite. For products under the same instruction set: part of the form is
/// private to it.
void csimd_quantize_activations(const csimd_input* input);

// --- matmul.c: products with weights -----------------------------------------------------------

/// A weight matrix [rows, cols] as it lies in the file. Quantized types need cols % 32 == 0.
typedef struct csimd_matrix {
    csimd_type type;
    const void* data;
    size_t rows;
    size_t cols;
} csimd_matrix;

/// Whether products with w take the activations in integers; else they take them in f32.
bool csimd_takes_integers(const csimd_matrix* w);
/// Sets from how many columns on quantized weights take integers: 1,024 unless set, which is also
/// the most that can be set. For measurements; not while kernels run.
void csimd_set_integer_columns(size_t columns);

/// y[t, r] = sum_k w[r, k] x[t, k] + bias[r], many tokens at a time. bias may be NULL.
/// y rows are `y_stride` floats apart. x and y must not overlap.
void csimd_matmul(const csimd_matrix* w, const float* bias, const csimd_input* input, float* y,
                  size_t y_stride);
/// The same for a few tokens (decoding): weights straight from the file's blocks, from memory once.
/// Sums in another order than csimd_matmul, but the same for any number of tokens.
void csimd_matvec(const csimd_matrix* w, const float* bias, const csimd_input* input, float* y,
                  size_t y_stride);

/// One of several products with the same activations.
typedef struct csimd_product {
    const csimd_matrix* w;
    const float* bias;
    float* y;
    size_t y_stride;
} csimd_product;

enum { CSIMD_MOST_PRODUCTS = 4 };

/// csimd_matmul of each of 1 to CSIMD_MOST_PRODUCTS products, the same bits: threads that end with
/// one go on with the next.
void csimd_matmuls(const csimd_product* products, size_t count, const csimd_input* input);
/// csimd_matvec of each, likewise.
void csimd_matvecs(const csimd_product* products, size_t count, const csimd_input* input);

// --- rounding.c: weights rounded so that errors make up for each other --------------------------

/// Splits the second moments of a product's inputs, H [n, n] (symmetric, read above its diagonal;
/// overwritten), into M D M^T, M upper triangular with ones on its diagonal: feedback [n, n] is M's
/// transpose without them, weights [n] is D. In f64, the same bits on any number of threads. False
/// if H is not positive definite.
bool csimd_split_moments(double* h, size_t n, float* feedback, float* weights);

/// Solves x (1 + F) = row for each of `count` rows of 32 columns, in place, rows `stride` floats
/// apart. factors [32, 32] is F, which lies below its diagonal if `backwards`, else above it, with
/// zeros elsewhere. The same bits on any number of threads.
void csimd_solve_block(const float* factors, bool backwards, float* rows, size_t stride,
                       size_t count);

/// How the 32 columns of a block are rounded.
typedef struct csimd_rounding {
    csimd_type type; // Q4_0, IQ4_NL, Q5_0 or Q8_0
    const float*
        feedback;         // [32, 32]: what the error of column k adds to column j > k at k * 32 + j
    const float* weights; // [32]: how much what is left of each column counts
} csimd_rounding;

/// Rounds a block of each of `rows` rows, column by column. weights: the block of the weights, rows
/// `stride` floats apart; base [rows, 32]: the same with what the errors of the columns before it
/// add. The scale is searched, then fitted to the levels as long as that leaves less. errors: where
/// weights - rounded goes, laid out as weights; out: blocks, `out_stride` bytes apart. False if a
/// block cannot be stored.
bool csimd_round_block(const csimd_rounding* how, const float* weights, const float* base,
                       size_t rows, size_t stride, float* errors, void* out, size_t out_stride);

/// A panel of the columns of rounded rows, `count` from `first` on, whole blocks.
typedef struct csimd_refinement {
    csimd_type type; // as in csimd_rounding
    size_t rows, n;  // of the weight
    size_t first, count;
    bool scales;          // whether scales change too
    const float* h;       // H [n, n]
    const float* weights; // [rows, n]
    float* errors;        // weights - rounded [rows, n]
    void* blocks;         // rows of n columns, row_bytes apart
    size_t row_bytes;
} csimd_refinement;

/// Goes over the panel once (coordinate descent): a level moves by one, and a block's scale to what
/// fits its levels, where that lowers e H e^T, e being a row's errors. gradients [rows, count]: the
/// panel's columns of e H; overwritten. The same bits on every instruction set and any number of
/// threads.
void csimd_refine_panel(const csimd_refinement* how, float* gradients);

// --- elementwise.c -----------------------------------------------------------------------------

/// y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight, rows of n. y may be x.
void csimd_rms_norm(const float* x, const float* weight, float eps, float* y, size_t tokens,
                    size_t n);
/// y[t] = (x[t] - mean) / sqrt(variance + eps) * weight + bias, rows of n. y may be x.
void csimd_layer_norm(const float* x, const float* weight, const float* bias, float eps, float* y,
                      size_t tokens, size_t n);
/// x += y, n values.
void csimd_add(float* x, const float* y, size_t n);
/// y = x rounded to f16, n values. y may be memory that nobody has touched yet: the threads share
/// what the system does for that.
void csimd_to_halves(const float* x, uint16_t* y, size_t n);
/// x[t] += row, rows of n.
void csimd_add_row(float* x, const float* row, size_t tokens, size_t n);
/// sums[i] += x[t][i]^2 over tokens, ascending, in f64; rows of n.
void csimd_add_squares(const float* x, size_t tokens, size_t n, double* sums);
/// Softmax of each row of n, in place. -inf entries become 0; a row of only -inf becomes 0.
void csimd_softmax(float* x, size_t rows, size_t n);

/// Rotates pairs (2i, 2i + 1) of every head by the angle whose cosine and sine stand in
/// cos_sin[t] = [cos 0 ... cos d/2-1, sin 0 ... sin d/2-1]. x [tokens, heads, head_dim], in place,
/// tokens `stride` floats apart.
void csimd_rope_interleaved(float* x, const float* cos_sin, size_t tokens, size_t heads,
                            size_t head_dim, size_t stride);

typedef enum csimd_activation {
    CSIMD_SILU = 0,       // x * sigmoid(x)
    CSIMD_GELU_ERF = 1,   // x / 2 * (1 + erf(x / sqrt 2))
    CSIMD_GELU_QUICK = 2, // x * sigmoid(1.702 x)
} csimd_activation;

/// Where the histograms of activations are cut.
enum { CSIMD_EDGES = 12 };
/// Ascending, and the same for every module, so that histograms of whatever passes add up.
extern const float csimd_edges[CSIMD_EDGES];

/// How many activations of a neuron are kept at most, and unless somebody says otherwise: kernels
/// have lists of so many in registers.
enum { CSIMD_MOST_KEPT = 64, CSIMD_USUAL_KEEP = 8 };

/// The strongest activations of each neuron so far, and a histogram of all.
typedef struct csimd_moments {
    size_t keep;    // how many of a neuron's are kept, 1 ... CSIMD_MOST_KEPT
    size_t stride;  // numbers from one row of `values`, `tokens` and `above` to the next
    uint32_t token; // where the first token stands
    float*
        floors; // [n], an activation has to be greater to be kept: the least kept, once `keep` are
    float* values;    // [keep, stride], descending, equal ones by token; -inf: none
    uint32_t* tokens; // [keep, stride], where they were; untouched where there is none
    uint32_t* above;  // [CSIMD_EDGES, stride], += tokens whose activation is greater than the edge
} csimd_moments;

/// The strongest activations of each neuron in several samples.
typedef struct csimd_strongest {
    size_t keep;       // how many of a neuron's are kept, 1 ... CSIMD_MOST_KEPT
    size_t stride;     // numbers from one row to the next
    float* values;     // [keep, stride], descending, equal ones by sample; -inf: none
    uint32_t* samples; // [keep, stride], of which sample; 0 where there is none
    uint32_t* tokens;  // [keep, stride], at which of its tokens; 0 where there is none
    float* floors;     // [n], one below the least of `keep`, -inf where there are fewer
} csimd_strongest;

/// Adds those of other samples, which may be earlier ones and later ones: values, samples and
/// tokens [keep, all->stride], in the same order.
void csimd_add_strongest(const csimd_strongest* all, const float* values, const uint32_t* samples,
                         const uint32_t* tokens, size_t n);

/// What an observed site does to activations besides computing them. Every pointer may be NULL.
typedef struct csimd_site {
    // The intervention, [n] each, both or neither: activation a becomes scale * a + shift, rounded
    // once, before it is counted, and exactly shift where scale is 0, whatever a is. Scale 1 with
    // shift -0 leaves every a as it is.
    const float* scale;
    const float* shift;
    int64_t* counts; // [n], += tokens whose activation is > 0
    double* sums;    // [n], += the activations, tokens in ascending order
    double* squares; // [n], += their squares, likewise
    float* maxima;   // [n], the greatest so far; NaN is greater than none
    uint8_t* fired;  // [tokens, (n + 7) / 8], bit i % 8 of byte i / 8: neuron i's is > 0
    float* values;   // [tokens, n], the activations themselves, as they are counted
    const csimd_moments* moments;
} csimd_site;

/// x = intervention(activation(x)) in place, x [tokens, n]; counts and sums on the way. site may be
/// NULL.
void csimd_activate(csimd_activation kind, float* x, size_t tokens, size_t n,
                    const csimd_site* site);
/// gate = intervention(activation(gate)) * up in place, both [tokens, n]; the intervention, counts
/// and sums see the value before the product.
void csimd_activate_gated(csimd_activation kind, float* gate, const float* up, size_t tokens,
                          size_t n, const csimd_site* site);

// --- lens.c ------------------------------------------------------------------------------------

/// Rows of logits to look through; all arrays but the two of references are written.
typedef struct csimd_lens_rows {
    float* logits;        // [count, n] in, log-probabilities out; rows `stride` floats apart
    float* probabilities; // [count, n], laid out alike
    size_t count, n, stride;
    size_t top;               // how many of the most probable entries are wanted
    int32_t* top_ids;         // [count, top], most probable first, equal ones by id; -1: no more
    float* top_probabilities; // [count, top]
    float* entropies;         // [count], natural logarithm
    // KL(reference || row); NULL: not wanted. The references are what this call made of other rows.
    float* divergences; // [count]
    const float* reference_logits;
    const float* reference_probabilities;
} csimd_lens_rows;

/// Softmax, entropy, divergence and most probable entries of each row, over its first n entries.
void csimd_lens(const csimd_lens_rows* rows);
/// sums[r] = {x.x, y.y, x.y, (x - y).(x - y)} of each row of n, in f64.
void csimd_row_deviation(const float* x, const float* y, size_t rows, size_t n, double* sums);
/// How many bits of two arrays differ.
uint64_t csimd_differing_bits(const uint8_t* a, const uint8_t* b, size_t bytes);

// --- attention.c -------------------------------------------------------------------------------

/// Keys or values of several sequences: element (sequence, position, head, i) of type F32 or F16
/// lies at data[sequence * sequence_stride + position * position_stride + head * head_stride + i].
typedef struct csimd_kv {
    csimd_type type;
    const void* data;
    size_t sequence_stride, position_stride, head_stride; // in elements
} csimd_kv;

/// Queries of `sequences` sequences, and the keys and values they look at.
typedef struct csimd_attention_args {
    const float* q;  // [sequences, tokens, heads, head_dim], tokens `q_stride` floats apart
    size_t q_stride; // sequence s begins at token s * tokens
    csimd_kv k, v;
    float* out;        // as q, tokens `out_stride` floats apart
    size_t out_stride; // may not overlap q, k or v
    size_t sequences, tokens;
    size_t keys;                      // positions of k and v in every sequence
    size_t first_position;            // of query 0 among them; query t stands at first_position + t
    size_t heads, kv_heads, head_dim; // kv_heads divides heads (grouped-query attention)
    float scale;
    bool causal; // a query sees keys 0 ... its own position; else all `keys`
    // Whether queries, keys, values and what e^x gives are rounded to bf16 before they are
    // multiplied: for models whose activations are rounded anyway. Sums are f32.
    bool rounded;
} csimd_attention_args;

/// Attention of many queries: out[s, t, h] = softmax(scale q.k) v, never holding a score matrix.
/// False if memory for the scratch tiles cannot be had.
bool csimd_attention(const csimd_attention_args* args);

/// What one sequence's query sees when decoding: `keys` positions of k and v, whose sequence_stride
/// is not used.
typedef struct csimd_sequence {
    csimd_kv k, v;
    size_t keys;
} csimd_sequence;

/// One new token of each of `sequences` sequences.
typedef struct csimd_decode_args {
    const float* q; // [sequences, heads, head_dim], sequences `q_stride` floats apart
    size_t q_stride;
    float* out; // as q, sequences `out_stride` floats apart
    size_t out_stride;
    size_t sequences;
    size_t heads, kv_heads, head_dim;
    float scale;
} csimd_decode_args;

/// The same of one new token of each of several sequences, each with its own keys: sequences
/// [args->sequences]. A sequence's result does not depend on the others. False if out of memory.
bool csimd_attention_decode(const csimd_decode_args* args, const csimd_sequence* sequences);

// --- limits.c: what the machine can do at best, for benchmarks ---------------------------------

/// int8 operations a second of the selected instruction set on all threads (a multiplication and an
/// addition are two), measured; 0 if it has no vector products.
double csimd_measure_int8_peak(void);
/// The same of f32 operations.
double csimd_measure_float_peak(void);
/// The same of products of bf16, summed in f32; 0 where nothing is computed so.
double csimd_measure_bf16_peak(void);
/// Bytes a second that all threads read, measured over `bytes` of 8-byte aligned memory (or over
/// memory of its own if those are few; 0 if it cannot have any).
double csimd_measure_read_bandwidth(const void* data, size_t bytes);
