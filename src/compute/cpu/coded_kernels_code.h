// The kernels on coded pages, written once over the primitives of an instruction set.
//
// Included only by coded_kernels_*.cpp, after the header of the instruction set.
#pragma once

#include "compute/cpu/coded_attend_code.h"
#include "compute/cpu/coded_decode_code.h"
#include "compute/cpu/coded_encode_code.h"
#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/coded_lanes.h"

namespace hearth::compute::cpu {
namespace {

// ---- Hadamard transforms ------------------------------------------------------------------------

/// One pass of butterflies over kRadix vectors that are `half` vectors apart; `factors` may be
/// null.
template <int kRadix>
inline void butterfly_pass(float* x, std::int64_t vectors, std::int64_t half,
                           const float* factors) {
  for (std::int64_t block = 0; block < vectors; block += kRadix * half) {
    for (std::int64_t first = block; first < block + half; ++first) {
      F v[kRadix];
      for (int r = 0; r < kRadix; ++r) {
        v[r] = load(x + 16 * (first + r * half));
        if (factors != nullptr) v[r] = mul(v[r], set(factors[first + r * half]));
      }
      for (int step = 1; step < kRadix; step *= 2) {
        for (int r = 0; r < kRadix; ++r) {
          if ((r & step) != 0) continue;
          const F a = v[r];
          v[r] = add(a, v[r + step]);
          v[r + step] = sub(a, v[r + step]);
        }
      }
      for (int r = 0; r < kRadix; ++r) store(x + 16 * (first + r * half), v[r]);
    }
  }
}

/// The transform across `vectors` vectors, of every lane.
inline void transform_vectors(float* x, std::int64_t vectors, const float* factors) {
  std::int64_t half = 1;
  while (half < vectors) {
    const std::int64_t rest = vectors / half;
    if (rest >= 8 && kMaxTile >= 8) {
      butterfly_pass<8>(x, vectors, half, factors);
      half *= 8;
    } else if (rest >= 4) {
      butterfly_pass<4>(x, vectors, half, factors);
      half *= 4;
    } else {
      butterfly_pass<2>(x, vectors, half, factors);
      half *= 2;
    }
    factors = nullptr;
  }
  if (vectors == 1 && factors != nullptr) store(x, mul(load(x), set(*factors)));
}

/// The transform of one vector of `size` coordinates.
inline void transform(float* x, std::int64_t size) {
  if (size >= 16) {
    for (std::int64_t i = 0; i < size; i += 16) store(x + i, hadamard_lanes(load(x + i)));
    transform_vectors(x, size / 16, nullptr);
    return;
  }
  for (std::int64_t half = 1; half < size; half *= 2) {
    for (std::int64_t i = 0; i < size; ++i) {
      if ((i & half) != 0) continue;
      const float a = x[i];
      x[i] = a + x[i + half];
      x[i + half] = a - x[i + half];
    }
  }
}

inline void turn(const RotationStages& rotation, float* x) {
  for (std::int64_t s = 0; s < rotation.count; ++s) {
    const RotationStage& stage = rotation.stages[s];
    float* const part = x + stage.first;
    for (std::int64_t i = 0; i < stage.size; ++i) part[i] *= stage.factors[i];
    transform(part, stage.size);
  }
}

inline void turn_back(const RotationStages& rotation, float* x) {
  for (std::int64_t s = rotation.count; s-- > 0;) {
    const RotationStage& stage = rotation.stages[s];
    float* const part = x + stage.first;
    transform(part, stage.size);
    for (std::int64_t i = 0; i < stage.size; ++i) part[i] *= stage.factors[i];
  }
}

inline void turn_lanes(const RotationStages& rotation, float* x) {
  for (std::int64_t s = 0; s < rotation.count; ++s) {
    const RotationStage& stage = rotation.stages[s];
    transform_vectors(x + 16 * stage.first, stage.size, stage.factors);
  }
}

// ---- Queries ------------------------------------------------------------------------------------

inline float quantize_query(const float* x, std::int64_t count, std::int8_t* to,
                            std::int32_t* correction) {
  F most = zero();
  for (std::int64_t i = 0; i < count; i += 16) most = max(abs(load(x + i)), most);
  const float scale = largest(most) / 127.0F;
  // Where all are tiny the products are zero anyway.
  const F inverse = set(scale > 1e-30F ? 1.0F / scale : 0.0F);
  I total = zero_int();
  for (std::int64_t i = 0; i < count; i += 16) {
    const I numbers = round_to_int(mul(load(x + i), inverse));
    store_int8(to + i, numbers);
    total = add_int(total, numbers);
  }
  *correction = kBiasedWeights ? -128 * sum_int(total) : 0;
  return scale;
}

// ---- Pages --------------------------------------------------------------------------------------

inline void turn_bytes(const std::byte* keys, std::int64_t panels, std::byte* values) {
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    for (std::int64_t cells = 0; cells < 4; ++cells) {
      B rows[4];
      for (std::int64_t quad = 0; quad < 4; ++quad) {
        rows[quad] = load_bytes(keys + ((4 * panel + quad) * 4 + cells) * kVector);
      }
      turn_quads(rows);
      for (std::int64_t quad = 0; quad < 4; ++quad) {
        store_bytes(values + (16 * panel + 4 * cells + quad) * kVector, rows[quad]);
      }
    }
  }
}

inline void read_factors(const std::byte* bytes, float largest, const float* steps, float* to) {
  for (std::int64_t i = 0; i < kCells; i += 16) {
    store(to + i, mul(set(largest), factor_lanes(bytes + i, steps)));
  }
}

inline void read_half_factors(const std::byte* halves, float* to) {
  for (std::int64_t i = 0; i < kCells; i += 16) store(to + i, load_half(halves + 2 * i));
}

constexpr CodedKernels make_coded_kernels(const char* name) {
  return {
      .name = name,
      .direct_queries = kDirectQueries,
      .turn = turn,
      .turn_back = turn_back,
      .quantize = quantize_query,
      .mean_products = mean_products,
      .expand = expand_codes,
      .turn_bytes = turn_bytes,
      .factors = read_factors,
      .half_factors = read_half_factors,
      .score = score_coded,
      .softmax = softmax_coded,
      .weigh = weigh_coded,
      .value = value_coded,
      .load_key_panel = load_key_panel,
      .load_value_panel = load_value_panel,
      .load_value_pairs = load_value_pairs,
      .make_finite = make_finite_lanes,
      .turn_lanes = turn_lanes,
      .mean_lanes = mean_lanes,
      .subtract_mean = subtract_mean,
      .squares = add_squares,
      .extremes = find_extremes,
      .code = code_lanes_of,
      .round = round_lanes,
      .pack = pack_codes,
  };
}

}  // namespace
}  // namespace hearth::compute::cpu
