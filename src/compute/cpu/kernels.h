// The table of kernels: one per instruction set, all with the same meaning. Kernels are plain
// functions on memory: they neither allocate nor know of threads or tensors. "Lanes" are 16 in
// every instruction set, so the layout of packed weights does not depend on it, and neither does
// the order of a reduction.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spec/kinds.h"

namespace hearth::compute::cpu {

/// Rows of a weight are stored sixteen at a time, interleaved: see panels.h.
inline constexpr std::int64_t kPanelRows = 16;
/// Most columns (rows of the batch) that one call of a dot kernel takes.
inline constexpr int kDotColumns = 8;
/// How many columns a kernel for two panels takes.
inline constexpr int kPairColumns = 6;

/// The layouts of a panel (panels.h). kF32, kF16 and kBF16 are multiplied with float activations,
/// the others with int8 ones. The last ones are what a panel of another format is expanded to
/// before it meets many rows of a batch: int8 weights and ready-made scales.
enum class PanelFormat : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kBF16Pairs,  // multiplied with activations rounded to bfloat16
  // Blocks of 32, 64 or 128 with a float scale; activations in blocks of 32.
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kIQ4_NL,
  kMXFP4,
  kNVFP4,
  kQ1_0,
  kQ2_0,
  // Blocks of 256 with integer scales; activations in blocks of 256.
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_XS,
  kIQ3_XXS,
  kIQ3_S,
  kIQ2,
  kIQ1,
  kTernary,
  // Expanded.
  kWide32,         // a float scale per 32
  kWide32Minimum,  // and a float minimum
  kWide16,         // a float scale per 16, activations in blocks of 32
  kWide256x32,     // an integer scale per 32
  kWide256x32Minimum,
  kWide256x16,  // an integer scale per 16
  kWide256x16Minimum,
};
inline constexpr int kPanelFormats = static_cast<int>(PanelFormat::kWide256x16Minimum) + 1;

/// How a format wants its activations.
enum class RowFormat : std::uint8_t {
  kFloat,     // as they are
  kBFloat,    // rounded to bfloat16
  kBlocks32,  // int8 with a float scale per 32 values
  // int8 with a float scale per 256 values and a small integer scale per 32, with the sums that
  // weights want whose own scales are for 32 or for 16
  kBlocks256x32,
  kBlocks256x16
};

/// Where the parts of a quantized activation row of `columns` values are, in bytes from its start
/// (columns is a multiple of 32 or 256). The int8 values come first.
struct Row32Layout {
  explicit constexpr Row32Layout(std::int64_t columns)
      : scales(columns),
        minus128(columns + columns / 8),
        scaled_sums(minus128 + columns / 8),
        half_minus128(scaled_sums + columns / 8),
        bytes(half_minus128 + columns / 4) {}
  std::int64_t scales;         // float per block
  std::int64_t minus128;       // int32 per block: -128 times the sum of the int8 values
  std::int64_t scaled_sums;    // float per block: scale times the sum
  std::int64_t half_minus128;  // int32 per 16: -128 times their sum
  std::int64_t bytes;
};

/// Products with blocks of 256 apply scales to two sub-blocks at once: their sums become 16-bit
/// halves of a lane. The least shift that makes every sum of `features` products of weights of
/// magnitudes up to `largest` with activations -127 .. 127 fit, rounded.
constexpr int pair_shift(int features, int largest) {
  const int most = features * 127 * largest;
  int shift = 0;
  while ((most + (1 << shift) / 2) >> shift > 0x7FFF) ++shift;
  return shift;
}
/// What sums of sub-block `sub` start at, so that shifting them rounds to nearest: by turns half a
/// unit too much and too little, so that the errors of a pair have no mean.
constexpr std::int32_t pair_rounding(int shift, int sub) {
  return shift == 0 ? 0 : (1 << shift) / 2 - sub % 2;
}
/// Shifts of the formats whose weights are signed, by the size of their sub-blocks.
inline constexpr int kPairShift32 = pair_shift(32, 127), kPairShift16 = pair_shift(16, 43);

/// The sums for sub-blocks of 32 come before those for sub-blocks of 16: rows may end behind
/// either.
struct Row256Layout {
  explicit constexpr Row256Layout(std::int64_t columns)
      : scales(columns),
        sub_scales(columns + columns / 64),
        half_sums(sub_scales + columns / 16),
        starts(half_sums + columns / 16),
        bytes_for_32(starts + columns / 8),
        twin_sub_scales(bytes_for_32),
        half_starts32(twin_sub_scales + columns / 8),
        half_starts128(half_starts32 + columns / 4),
        sums16(half_starts128 + columns / 4),
        sums8(sums16 + columns / 8),
        bytes(sums8 + columns / 4) {}
  std::int64_t scales;  // float per 256: a value is scale * sub-scale * int8
  // For sub-blocks of 32.
  std::int64_t sub_scales;  // int16 per 32: 1 .. kSubScales
  std::int64_t half_sums;   // int16 per 32: half of sub-scale times the sum of the int8 values
  /// int32 per 32: -128 times the sum of the int8 values, plus pair_rounding(kPairShift32)
  std::int64_t starts;
  std::int64_t bytes_for_32;
  // For sub-blocks of 16.
  std::int64_t twin_sub_scales;  // two int16 per 32: the sub-scale twice
  /// int32 per 16: -32 and -128 times their sum, plus pair_rounding(kPairShift16)
  std::int64_t half_starts32, half_starts128;
  std::int64_t sums16;  // int16 per 16: sub-scale times their sum
  std::int64_t sums8;   // int16 per 8: their sum
  std::int64_t bytes;
};
/// Which sums of a row of blocks of 256 are wanted.
struct Row256Parts {
  bool for_32 = false, for_16 = false;
  [[nodiscard]] std::int64_t bytes(std::int64_t columns) const noexcept {
    const Row256Layout layout(columns);
    return for_16 ? layout.bytes : for_32 ? layout.bytes_for_32 : 0;
  }
};
/// Sub-scales halve the rounding error of one scale per 256 values. Half a sum of 32 is at most
/// 32 * 127 * kSubScales / 2, and one of 16 as much, < 2^15. The largest integer sums, those of
/// Q6_K, are 256 * 32 * 127 * 128 * kSubScales >> kPairShift16 < 2^31.
inline constexpr int kSubScales = 16;

/// out[c * out_stride ...][16] = panel (16 rows of `columns` features) times activation rows c = 0
/// .. count-1 (count <= kDotColumns), which are `row_stride` apart, or anywhere: then `row_table`
/// points to them. Each output depends on its own activation row only, bit for bit, whatever
/// `count` is.
struct DotArguments {
  const std::byte* panel = nullptr;
  std::int64_t columns = 0;
  const std::byte* rows = nullptr;
  std::int64_t row_stride = 0;                  // bytes
  const std::byte* const* row_table = nullptr;  // instead of rows and row_stride
  int count = 0;
  float* out = nullptr;
  std::int64_t out_stride = kPanelRows;
  /// The panel that will be read next: it may be fetched meanwhile, a share of it with every one of
  /// the first `next_rows` rows that meet this panel, of which this call has those from `next_row`
  /// on.
  const std::byte* next = nullptr;
  int next_row = 0, next_rows = 0;
  std::size_t panel_stride = 0;  // bytes from one panel to the next, for kernels that take two
};
using DotFunction = void (*)(const DotArguments&);
using ExpandFunction = void (*)(const std::byte* panel, std::int64_t columns, std::byte* to);

struct NormRow {
  const float* x = nullptr;
  const float* weight = nullptr;  // may be null
  const float* bias = nullptr;    // may be null
  float* out = nullptr;
  std::int64_t size = 0;
  float epsilon = 0;
};

/// c [rows, columns] = a [rows, inner] b [inner, columns] (+ c when `accumulate`): columns is a
/// multiple of 16. The order of summation does not depend on the sizes.
struct SmallProduct {
  const float* a = nullptr;
  std::int64_t a_row_stride = 0, a_column_stride = 1;
  const float* b = nullptr;
  std::int64_t b_stride = 0;
  float* c = nullptr;
  std::int64_t c_stride = 0;
  std::int64_t rows = 0, columns = 0, inner = 0;
  bool accumulate = false;
};

/// Channels of a convolution that one call of its kernel takes at most.
inline constexpr std::int64_t kConvolutionStrip = 64;

/// Rows of one segment through some channels of a depthwise convolution (ConvolveArguments).
struct ConvolveStrip {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  std::int64_t rows = 0, channels = 0;
  const float* weight = nullptr;  // [channels, taps]
  std::int64_t weight_stride = 0;
  std::int64_t taps = 0;           // 2 .. kMaxTaps
  std::int64_t ahead = 0;          // taps that look ahead
  const float* bias = nullptr;     // [channels] or null
  const float* initial = nullptr;  // [channels, taps - 1] or null: zeros
  /// Where states go: `state` [slots][channels, taps - 1], slot row_slot[row] or none (-1); or
  /// null.
  float* state = nullptr;
  std::int64_t state_slot_stride = 0, state_channel_stride = 0;
  const std::int32_t* row_slot = nullptr;
  std::int64_t row_slot_stride = 0;
  bool silu = false;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

/// One row through one head of delta_scan: S [keys, values] from `from` to `to` (which may be the
/// same). `decay` are factors, with stride 0 for one per head.
struct DeltaStep {
  const float* from = nullptr;
  std::int64_t from_stride = 0;
  float* to = nullptr;
  std::int64_t to_stride = 0;
  std::int64_t keys = 0, values = 0;
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  const float* decay = nullptr;
  std::int64_t decay_stride = 0;
  float beta = 0, scale = 1;
  float* out = nullptr;
};

/// One row through one head of state_space_scan: S [rows, size]. `decay` is the factor.
struct StateSpaceStep {
  const float* from = nullptr;
  std::int64_t from_stride = 0;
  float* to = nullptr;
  std::int64_t to_stride = 0;
  std::int64_t rows = 0, size = 0;
  const float* x = nullptr;
  const float* b = nullptr;
  const float* c = nullptr;
  float dt = 0, decay = 1, d = 0;
  float* out = nullptr;
};

/// One row through one head of rwkv_scan: S [size, size].
struct RwkvStep {
  const float* from = nullptr;
  std::int64_t from_stride = 0;
  float* to = nullptr;
  std::int64_t to_stride = 0;
  std::int64_t size = 0;
  const float *r = nullptr, *w = nullptr, *k = nullptr, *v = nullptr, *a = nullptr, *b = nullptr;
  float* out = nullptr;
};

/// Rows through up to 16 channels of selective_scan. `a` and `state` are [size][16 channels].
struct SelectiveRows {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const float* dt = nullptr;
  std::int64_t dt_stride = 0;
  const float* b = nullptr;
  std::int64_t b_stride = 0;
  const float* c = nullptr;
  std::int64_t c_stride = 0;
  const float* a = nullptr;
  const float* d = nullptr;
  float* state = nullptr;
  std::int64_t rows = 0, channels = 0, size = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

// Attention with dot products of bfloat16 pairs (attention_kernels.h), on tiles of kAttentionTile
// cells of 16-bit numbers: keys [element pairs][64 cells][2 elements], values [elements / 64][32
// cell pairs][64 elements][2 cells], where the last block may have 16, 32 or 48 elements.

inline constexpr std::int64_t kAttentionTile = 64;
/// Elements of a value that lie together in a tile.
inline constexpr std::int64_t kValueBlock = 64;

/// Half-precision numbers x count as 2^-112 x, which is what their bits mean as bfloat16. Blocks
/// (Q8_0, kv_layout.h) are multiplied as bytes with integers of 16 bits.
enum class PairFormat : std::uint8_t { kBF16, kF16, kBlocks };

/// Of the tile that is read next, the kernels fetch each their share into the second-level cache,
/// and spread it evenly over their work: memory that rests while softmax weights are made is lost
/// (at four queries and a head size of 64 as much as a third of its bandwidth). Per row of keys
/// that is scored, and per pair of cells and `panels` (4 or less) of values, so many lines: of
/// blocks all but the scales.
constexpr std::int64_t fetched_key_lines(PairFormat format) noexcept {
  return format == PairFormat::kBlocks ? 2 : 3;
}
constexpr std::int64_t fetched_value_lines(PairFormat format, std::int64_t panels) noexcept {
  return format == PairFormat::kBlocks ? panels / 2 : panels - panels / 4;
}
inline constexpr std::int64_t kCacheLine = 64;

/// scores[query][64] = keys times queries.
struct ScoreTile {
  PairFormat format = PairFormat::kBF16;
  const std::byte* keys = nullptr;
  const std::byte* ahead = nullptr;        // the beginning of the next keys, or null
  const std::uint16_t* queries = nullptr;  // [count][pairs][2] bfloat16, or integers for blocks
  const float* query_scales = nullptr;     // for blocks: what one stands for
  std::int64_t query_stride = 0;           // numbers
  std::int64_t pairs = 0;
  int count = 0;
  float* scores = nullptr;
};

/// Softmax weights, as bfloat16, of `count` queries' scores relative to the running maximum, times
/// 2^shift; what was summed before shrinks by factors[query]. Invisible cells score minus infinity.
struct WeighTile {
  const float* scores = nullptr;
  std::uint16_t* weights = nullptr;  // [count][64]
  float* maxima = nullptr;
  float* sums = nullptr;  // [count][16]: running sums of weights, by lane
  float* factors = nullptr;
  float shift = 0;
  int count = 0;
  /// Lines of the next keys and values that the other kernels do not fetch.
  const std::byte *ahead_keys = nullptr, *ahead_values = nullptr;
  std::int64_t ahead_key_lines = 0, ahead_value_lines = 0;
};

/// sums[query] = factors[query] * sums[query] + weights[query] times values of the cells first_cell
/// (which is even) .. end_cell - 1 of the tile.
struct ValueTile {
  PairFormat format = PairFormat::kBF16;
  const std::byte* values = nullptr;
  const std::byte* ahead = nullptr;  // the last part of the next values, or null
  std::int64_t panels = 0;           // of 16 elements
  std::int64_t first_cell = 0, end_cell = 0;
  const std::uint16_t* weights = nullptr;
  const float* factors = nullptr;
  float* sums = nullptr;
  std::int64_t stride = 0;
  int count = 0;
};

struct PairAttentionKernels {
  void (*score)(const ScoreTile&);
  void (*weigh)(const WeighTile&);
  void (*value)(const ValueTile&);
  /// to = bfloat16 of factor * x, made finite, padded with a zero to an even size.
  void (*pack_query)(const float* x, float factor, std::int64_t size, std::uint16_t* to);
  /// The same as integers for blocks (`size` a multiple of 16); returns what one stands for.
  float (*pack_query_integers)(const float* x, float factor, std::int64_t size, std::uint16_t* to);
  /// `count` halves (a multiple of 32) as bfloat16 of 2^-112 times them. What is converted next, at
  /// `ahead`, is fetched.
  void (*from_halves)(const std::byte* from, std::int64_t count, std::byte* to,
                      const std::byte* ahead);
  /// A tile of keys in Q8_0 blocks (kv_layout.h) of `size` elements as bfloat16.
  void (*keys_from_blocks)(const std::byte* tile, std::int64_t size, std::byte* to);
  /// Sixteen keys of a tile as floats [2 * pairs][16].
  void (*to_floats)(const std::byte* keys, PairFormat format, std::int64_t pairs, float* to);
  /// The first `pairs` pairs of a tile of bfloat16 keys as values.
  void (*turn)(const std::byte* keys, std::int64_t pairs, std::byte* values);
  /// Of sixteen lanes.
  float (*sum)(const float* lanes);
};

struct KernelTable {
  const char* name;
  /// Whether signed weight bytes are stored with 128 added.
  bool biased_weights;
  /// Whether BF16 and F16 weights are kept as kBF16Pairs (but not for exact results).
  bool bfloat_pairs;
  /// Whether kernels for expanded panels are so much faster that every format is expanded early.
  bool tiles = false;
  DotFunction dot[kPanelFormats];
  /// The same for two panels and kPairColumns columns: out[c * out_stride ...][2][16], to the bit
  /// what `dot` makes of each. Null where that is no faster.
  DotFunction dot_two[kPanelFormats];
  /// Writes a panel of `columns` features in its expanded format; null for the other formats.
  ExpandFunction expand[kPanelFormats];
  /// to[i][lane] = quad i (four bytes) of rows[lane], for i < quads; `flip`: with 128 added to
  /// every byte. Eight quads begin every `step` bytes; where that is not 32, `quads` is a multiple
  /// of eight.
  void (*interleave_quads)(const std::byte* const (&rows)[kPanelRows], std::int64_t quads,
                           std::int64_t step, bool flip, std::byte* to);
  void (*to_bfloat)(const float* x, std::int64_t size, std::byte* to);

  void (*quantize32)(const float* x, std::int64_t columns, std::byte* row);
  void (*quantize256)(const float* x, std::int64_t columns, Row256Parts parts, std::byte* row);

  void (*norm_rms)(const NormRow&);
  void (*norm_layer)(const NormRow&);
  void (*norm_l2)(const NormRow&);
  void (*activate)(spec::Activation, const float* x, float* out, std::int64_t size);
  /// out = gating(gate, up)
  void (*activate_gated)(const spec::Gating&, const float* gate, const float* up, float* out,
                         std::int64_t size);
  /// out = a + factor * b
  void (*add)(const float* a, const float* b, float factor, float* out, std::int64_t size);
  void (*scale)(const float* x, float factor, float* out, std::int64_t size);
  void (*clamp)(float* x, float limit, std::int64_t size);
  void (*softcap)(float* x, float cap, std::int64_t size);
  /// Rotates pairs of one head by table[pair] = (cos, direction * sin).
  void (*rope_halves)(float* x, const float* table, std::int64_t pairs, float direction);
  void (*rope_adjacent)(float* x, const float* table, std::int64_t pairs, float direction);
  void (*to_half)(const float* x, std::uint16_t* out, std::int64_t size);
  /// Q8_0 blocks, 34 bytes each, of `size` values, a multiple of 32.
  void (*to_blocks)(const float* x, std::int64_t size, std::byte* blocks);

  /// panel[i][lane] = element i of keys[lane], of `size` elements as a pool keeps them in rows
  /// (F32, F16, BF16 or Q8_0); a null key gives zeros.
  void (*keys_to_panel)(const std::byte* const (&keys)[kPanelRows], PanelFormat format,
                        std::int64_t size, float* panel);
  /// One value row of `size` into panels [size / 16 rounded up][row_count][16] at row `row`; null:
  /// zeros.
  void (*value_to_panels)(const std::byte* value, PanelFormat format, std::int64_t size,
                          std::int64_t row, std::int64_t row_count, float* panels);
  /// scores[i] = exp(scores[i] - maximum), size a multiple of 16; returns the sum.
  float (*exp_row)(float* scores, float maximum, std::int64_t size);
  float (*largest)(const float* x, std::int64_t size);  // size a multiple of 16
  /// One int8 dot product per call and lane, for measuring the machine: returns multiply-adds done.
  std::int64_t (*int8_peak)(std::int64_t rounds, std::int32_t* sink);
  /// The same of float multiply-adds, and of bfloat16 dot products: 0 where they are not used.
  std::int64_t (*f32_peak)(std::int64_t rounds, float* sink);
  std::int64_t (*bf16_peak)(std::int64_t rounds, float* sink);
  /// Sums `bytes` bytes (a multiple of 1024) as 32-bit words: reads memory as fast as it can.
  std::uint32_t (*read_memory)(const std::byte* data, std::size_t bytes);

  // Recurrent mixers: recurrent_kernels.h.
  void (*small_product)(const SmallProduct&);
  /// to[j][i] = from[i][j]
  void (*transpose)(const float* from, std::int64_t from_stride, std::int64_t rows,
                    std::int64_t columns, float* to, std::int64_t to_stride);
  void (*convolve)(const ConvolveStrip&);
  void (*delta_step)(const DeltaStep&);
  void (*state_space_step)(const StateSpaceStep&);
  void (*rwkv_step)(const RwkvStep&);
  void (*selective_rows)(const SelectiveRows&);

  // elementwise_kernels.h.
  /// out = a * b
  void (*multiply)(const float* a, const float* b, float* out, std::int64_t size);
  float (*sum_squares)(const float* x, std::int64_t size);
  /// x = relu(x - (mean + multiplier * deviation))
  void (*keep_largest)(float* x, float multiplier, std::int64_t size);
  /// The first `size` elements of the sixteen keys of a panel (F32, F16 or BF16) as value rows
  /// row .. row + 15 of panels [size / 16 rounded up][row_count][16].
  void (*panel_to_values)(const std::byte* panel, PanelFormat format, std::int64_t size,
                          std::int64_t row, std::int64_t row_count, float* panels);
  /// to = a * to + b * from; size is a multiple of 16.
  void (*blend)(float* to, float a, const float* from, float b, std::int64_t size);
  /// Null where there are no dot products of bfloat16.
  const PairAttentionKernels* pair_attention;
};

[[nodiscard]] const KernelTable& portable_kernels() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const KernelTable& avx2_kernels() noexcept;
[[nodiscard]] const KernelTable& avxvnni_kernels() noexcept;
[[nodiscard]] const KernelTable& avx512vnni_kernels() noexcept;
/// The next one, and integer products on tiles.
[[nodiscard]] const KernelTable& amx_kernels() noexcept;
/// AVX-512 with VNNI, VBMI and BF16.
[[nodiscard]] const KernelTable& avx512bf16_kernels() noexcept;
#elif defined(__aarch64__)
[[nodiscard]] const KernelTable& neon_kernels() noexcept;
[[nodiscard]] const KernelTable& neon_dotprod_kernels() noexcept;
#endif

}  // namespace hearth::compute::cpu
