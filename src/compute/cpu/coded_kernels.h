// Kernels on coded pages of keys and values (quant/kv_coder.h), a small table of its own per
// instruction set so that the large ones need not know of it.
//
// Codes are first expanded to bytes in vectors of 64, as dot products take them ("dot bytes": where
// the instruction set multiplies unsigned by signed bytes, with 128 added):
//   keys    [coordinates / 4][4 panels of 16 cells][16 cells][4 coordinates]
//   values  [coordinates / 16][16 quads of cells][16 coordinates][4 cells]
// Products with them are whole numbers, and the few roundings around them concern one query and one
// tile of 64 cells, so a query's result does not depend on what is computed beside it.
//
// "Lanes" are 16 cells: a panel of cells in rotated space is [coordinates][16 cells].
#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/cpu/kernels.h"
#include "quant/kv_code.h"

namespace hearth::compute::cpu {

/// quant::Rotation without functions that other files might share (rooms.cmake).
struct RotationStage {
  std::int64_t first = 0, size = 0;
  const float* factors = nullptr;
};
struct RotationStages {
  const RotationStage* stages = nullptr;
  std::int64_t count = 0;
};

/// scores[query][64] (+)= scale[query] * factors[cell] * products of its bytes with `count`
/// coordinates of the cells.
struct CodedScore {
  const std::byte* keys = nullptr;  // dot bytes; or codes, when `bits` says how many bits they have
  int bits = 0;
  const std::int8_t* numbers = nullptr;  // of the codes, repeated to sixteen
  const std::byte* ahead = nullptr;      // codes that come next, which are fetched meanwhile
  std::int64_t count = 0;                // of coordinates
  const float* factors = nullptr;        // [64]
  const std::int8_t* queries = nullptr;  // [count / 4][query_stride][4]
  std::int64_t query_stride = 0;
  /// Per query, `parameter_stride` apart: what quantize() gave.
  const float* scales = nullptr;
  const std::int32_t* corrections = nullptr;
  std::int64_t parameter_stride = 0;
  int queries_count = 0;
  /// Per query: where the sums start; null: where the scores are.
  const float* start = nullptr;
  float* scores = nullptr;
};

/// products[query] += unit times the product of a page's mean with `count` coordinates of it.
struct MeanProducts {
  const std::int8_t* mean = nullptr;
  float unit = 0;
  const float* x = nullptr;
  std::int64_t stride = 0;  // between queries
  std::int64_t count = 0;
  float* products = nullptr;
  int queries_count = 0;
};

/// Scores [query][64] become p = exp(score - reference[query]), to 4e-6 of it, and 0 where that is
/// below 2^-126; sums[query] = shrink[query] * sums[query] + the sum of its p.
/// A reference begins as minus infinity. It is the largest score that there was when it was last
/// replaced, which happens when scores are more than 8 above it: so the exponentials do not wait
/// for the maximum. `shrink` is what that makes of everything before, almost always 1.
struct CodedSoftmax {
  float* scores = nullptr;
  float* references = nullptr;
  float* sums = nullptr;
  float* shrink = nullptr;
  int queries_count = 0;
};

/// Softmax weights as whole numbers, signed and of 15 bits: weight = scale (128 high + low).
/// Without `low` they are not negative and of 7 bits, rounded up or down by a fixed pattern over
/// the cells, so that many small ones are not lost, with the scale that keeps their sum: for codes
/// of up to four bits, whose own noise is far above theirs (1.5 % of its variance at four bits).
struct CodedWeights {
  std::int8_t* high = nullptr;  // [query][64]
  std::int8_t* low = nullptr;   // the same, or null
  float* scales = nullptr;      // per query
  std::int32_t* corrections = nullptr;
};

/// sums[query] = shrink[query] * sums[query] + weights[query] times values.
struct CodedValue {
  const std::byte* values = nullptr;  // dot bytes or codes, as in CodedScore
  int bits = 0;
  const std::int8_t* numbers = nullptr;
  const std::byte* ahead = nullptr;
  std::int64_t panels = 0;  // of 16 coordinates
  CodedWeights weights;
  const float* shrink = nullptr;
  float* sums = nullptr;
  std::int64_t stride = 0;
  int queries_count = 0;
};

/// Codes `count` coordinates of 16 cells.
struct CodeLanes {
  const float* x = nullptr;        // [count][16]
  std::int64_t count = 0;          // a multiple of 16
  const float* to_unit = nullptr;  // [16]: makes coordinates have variance 1
  int bits = 0;
  const std::int8_t* numbers = nullptr;  // quant::CodeTable
  const float* boundaries = nullptr;
  std::byte* to = nullptr;   // codes as bytes in the order of keys, at the cells' panel
  float* product = nullptr;  // [16], added to: x times the codes' numbers
};
/// The same by rounding.
struct RoundLanes {
  const float* x = nullptr;
  std::int64_t count = 0;
  const float* inverse = nullptr;  // [16]
  float low = 0, high = 0, zero = 0;
  std::byte* to = nullptr;
};

struct CodedKernels {
  const char* name;
  /// Up to so many queries score() and value() take codes as they are in the page.
  int direct_queries;

  // Queries and results, one vector at a time.
  void (*turn)(const RotationStages& rotation, float* x);
  void (*turn_back)(const RotationStages& rotation, float* x);
  /// to = x / scale, whole numbers up to 127; `count` is a multiple of 16. Returns the scale.
  float (*quantize)(const float* x, std::int64_t count, std::int8_t* to, std::int32_t* correction);
  void (*mean_products)(const MeanProducts&);

  // Pages.
  /// Codes of 8 * 64 per block to dot bytes. Of eight bits: `numbers` is null.
  void (*expand)(const std::byte* codes, int bits, const std::int8_t* numbers, std::int64_t blocks,
                 std::byte* to);
  /// Bytes in the order of keys to that of values, `panels` times 16 coordinates.
  void (*turn_bytes)(const std::byte* keys, std::int64_t panels, std::byte* values);
  /// `steps`: quant::factor_steps().
  void (*factors)(const std::byte* bytes, float largest, const float* steps, float* to);
  void (*half_factors)(const std::byte* halves, float* to);

  void (*score)(const CodedScore&);
  void (*softmax)(const CodedSoftmax&);
  /// Weights of p [query][64] times factors [64].
  void (*weigh)(const float* p, const float* factors, const CodedWeights& to, int queries_count);
  void (*value)(const CodedValue&);

  // Encoding; lanes are cells.
  /// Sixteen cells of a raw page as floats [size][16], as panels or as pairs of values
  /// (kv_layout.h); other layouts are the caller's.
  void (*load_key_panel)(const std::byte* from, PanelFormat format, std::int64_t size, float* to);
  void (*load_value_panel)(const std::byte* page, PanelFormat format, std::int64_t size,
                           std::int64_t panel, float* to);
  void (*load_value_pairs)(const std::byte* page, PanelFormat format, std::int64_t size,
                           std::int64_t panel, float* to);
  /// NaN becomes 0; what is beyond 1e17 that.
  void (*make_finite)(float* x, std::int64_t count);
  void (*turn_lanes)(const RotationStages& rotation, float* x);
  /// mean[i] = of the 4 panels [count][16] that are `stride` apart.
  void (*mean_lanes)(const float* x, std::int64_t stride, std::int64_t count, float* mean);
  void (*subtract_mean)(float* x, std::int64_t count, const float* mean);
  void (*squares)(const float* x, std::int64_t count, float* sums);
  void (*extremes)(const float* x, std::int64_t count, float* least, float* largest);
  void (*code)(const CodeLanes&);
  void (*round)(const RoundLanes&);
  /// Bytes of codes, 8 * 64 per block, packed.
  void (*pack)(const std::byte* bytes, int bits, std::int64_t blocks, std::byte* to);
};

[[nodiscard]] const CodedKernels& coded_kernels_portable() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const CodedKernels& coded_kernels_avx2() noexcept;
[[nodiscard]] const CodedKernels& coded_kernels_avx512vnni() noexcept;
[[nodiscard]] const CodedKernels& coded_kernels_avx512bf16() noexcept;
#elif defined(__aarch64__)
[[nodiscard]] const CodedKernels& coded_kernels_neon() noexcept;
#endif

/// Those that go with a table of kernels.
[[nodiscard]] const CodedKernels& coded_kernels_of(const KernelTable& kernels) noexcept;

}  // namespace hearth::compute::cpu
