// Kernels of recurrent mixers, written once over the primitives of simd_*.h.
//
// Included only by kernels_*.cpp, after vector_kernels.h.
#pragma once

#include "compute/cpu/kernels.h"
#include "compute/cpu/vector_kernels.h"

namespace hearth::compute::cpu {
namespace {

// Small matrix products.

/// kRows rows by 16 kVectors columns of the result.
template <int kRows, int kVectors>
inline void product_tile(const SmallProduct& p, std::int64_t row, std::int64_t column) {
  const float* a = p.a + row * p.a_row_stride;
  const float* b = p.b + column;
  float* const c = p.c + row * p.c_stride + column;
  F sums[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      sums[i][v] = p.accumulate ? load(c + i * p.c_stride + 16 * v) : zero();
    }
  }
  for (std::int64_t k = 0; k < p.inner; ++k) {
    F line[kVectors];
    for (int v = 0; v < kVectors; ++v) line[v] = load(b + 16 * v);
    for (int i = 0; i < kRows; ++i) {
      const F factor = set(a[i * p.a_row_stride]);
      for (int v = 0; v < kVectors; ++v) sums[i][v] = fma(factor, line[v], sums[i][v]);
    }
    a += p.a_column_stride;
    b += p.b_stride;
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) store(c + i * p.c_stride + 16 * v, sums[i][v]);
  }
}

template <int kVectors>
inline void product_columns(const SmallProduct& p, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + kMaxTile <= p.rows; row += kMaxTile) {
    product_tile<kMaxTile, kVectors>(p, row, column);
  }
  if constexpr (kMaxTile > 4) {
    for (; row + 4 <= p.rows; row += 4) product_tile<4, kVectors>(p, row, column);
  }
  for (; row < p.rows; ++row) product_tile<1, kVectors>(p, row, column);
}

inline void small_product(const SmallProduct& p) {
  constexpr int kVectors = kMaxTile >= 8 ? 2 : 1;
  std::int64_t column = 0;
  for (; column + 16 * kVectors <= p.columns; column += 16 * kVectors) {
    product_columns<kVectors>(p, column);
  }
  for (; column < p.columns; column += 16) product_columns<1>(p, column);
}

inline void transpose_matrix(const float* from, std::int64_t from_stride, std::int64_t rows,
                             std::int64_t columns, float* to, std::int64_t to_stride) {
  for (std::int64_t i = 0; i < rows; i += 16) {
    const std::int64_t high = rows - i < 16 ? rows - i : 16;
    for (std::int64_t j = 0; j < columns; j += 16) {
      const std::int64_t wide = columns - j < 16 ? columns - j : 16;
      F block[16];
      for (std::int64_t r = 0; r < 16; ++r) {
        const float* const row = from + (i + r) * from_stride + j;
        block[r] = r >= high ? zero() : wide == 16 ? load(row) : load_first(row, wide);
      }
      alignas(64) float turned[16 * 16];
      store_transposed(block, wide, turned);
      for (std::int64_t c = 0; c < wide; ++c) {
        float* const out = to + (j + c) * to_stride + i;
        const F line = load(turned + 16 * c);
        if (high == 16) {
          store(out, line);
        } else {
          store_first(out, line, high);
        }
      }
    }
  }
}

// Convolution.

/// One segment of up to kConvolutionStrip channels.
inline void convolve_strip(const ConvolveStrip& s) {
  constexpr std::int64_t kWide = kConvolutionStrip;
  alignas(64) float weights[spec::kMaxTaps * kWide];
  alignas(64) float before[spec::kMaxTaps * kWide];  // rows -(taps - 1) .. -1
  alignas(64) float bias[kWide] = {};
  const std::int64_t history = s.taps - 1;
  for (std::int64_t c = 0; c < s.channels; ++c) {
    for (std::int64_t j = 0; j < s.taps; ++j) {
      weights[j * kWide + c] = s.weight[c * s.weight_stride + j];
    }
    for (std::int64_t j = 0; j < history; ++j) {
      before[j * kWide + c] =
          s.initial == nullptr ? 0.0F : s.initial[c * s.state_channel_stride + j];
    }
    if (s.bias != nullptr) bias[c] = s.bias[c];
  }
  const float* lines[spec::kMaxTaps];
  const auto input = [&](std::int64_t row) -> const float* {
    if (row < 0) return before + (row + history) * kWide;
    return s.x + row * s.x_stride;
  };
  for (std::int64_t t = 0; t < s.rows; ++t) {
    std::int64_t first_tap = 0;
    std::int64_t last_tap = s.taps;
    for (std::int64_t j = 0; j < s.taps; ++j) {
      const std::int64_t row = t - history + j + s.ahead;
      if (row >= s.rows) {  // centred: nothing there
        last_tap = j;
        break;
      }
      if (row < 0 && s.ahead > 0) first_tap = j + 1;
      lines[j] = input(row);
    }
    float* const out = s.out + t * s.out_stride;
    for (std::int64_t c = 0; c < s.channels; c += 16) {
      const std::int64_t wide = s.channels - c;
      F total = load(bias + c);
      for (std::int64_t j = first_tap; j < last_tap; ++j) {
        const F x = wide >= 16 ? load(lines[j] + c) : load_first(lines[j] + c, wide);
        const F w =
            wide >= 16 ? load(weights + j * kWide + c) : load_first(weights + j * kWide + c, wide);
        total = fma(w, x, total);
      }
      if (s.silu) total = activated<spec::Activation::kSilu>(total);
      if (wide >= 16) {
        store(out + c, total);
      } else {
        store_first(out + c, total, wide);
      }
    }
    const std::int32_t slot = s.state == nullptr ? -1 : s.row_slot[t * s.row_slot_stride];
    if (slot < 0) continue;
    float* const state = s.state + slot * s.state_slot_stride;
    for (std::int64_t j = 0; j < history; ++j) {
      const float* const line = input(t - history + 1 + j);
      for (std::int64_t c = 0; c < s.channels; ++c) state[c * s.state_channel_stride + j] = line[c];
    }
  }
}

// One step of each recurrence: the state is read once from `from` and written once to `to`.

/// 16 kVectors columns of the state (or, with kVectors == 1, `wide` <= 16 of them).
template <int kVectors>
inline void delta_step_columns(const DeltaStep& s, std::int64_t column, std::int64_t wide) {
  const auto get = [wide](const float* p) {
    return kVectors > 1 || wide >= 16 ? load(p) : load_first(p, wide);
  };
  const auto put = [wide](float* p, F x) {
    if (kVectors > 1 || wide >= 16) {
      store(p, x);
    } else {
      store_first(p, x, wide);
    }
  };
  const float* from = s.from + column;
  F recalled[kVectors];
  for (F& line : recalled) line = zero();
  for (std::int64_t i = 0; i < s.keys; ++i) {
    const F key = set(s.k[i] * s.decay[i * s.decay_stride]);
    for (int v = 0; v < kVectors; ++v) {
      recalled[v] = fma(key, get(from + i * s.from_stride + 16 * v), recalled[v]);
    }
  }
  F error[kVectors];
  F out[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    error[v] = mul(set(s.beta), sub(get(s.v + column + 16 * v), recalled[v]));
    out[v] = zero();
  }
  float* const to = s.to + column;
  for (std::int64_t i = 0; i < s.keys; ++i) {
    const F decay = set(s.decay[i * s.decay_stride]);
    const F key = set(s.k[i]);
    const F query = set(s.q[i]);
    for (int v = 0; v < kVectors; ++v) {
      const F kept = mul(decay, get(from + i * s.from_stride + 16 * v));
      const F next = fma(key, error[v], kept);
      put(to + i * s.to_stride + 16 * v, next);
      out[v] = fma(query, next, out[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    put(s.out + column + 16 * v, mul(set(s.scale), out[v]));
  }
}

inline void delta_step(const DeltaStep& s) {
  constexpr int kVectors = kMaxTile >= 8 ? 4 : 2;
  std::int64_t column = 0;
  for (; column + 16 * kVectors <= s.values; column += 16 * kVectors) {
    delta_step_columns<kVectors>(s, column, 16 * kVectors);
  }
  for (; column < s.values; column += 16) delta_step_columns<1>(s, column, s.values - column);
}

/// Four rows of the state at once, or one.
template <int kRows>
inline void state_space_rows(const StateSpaceStep& s, std::int64_t row) {
  F sums[kRows];
  F inputs[kRows];
  for (int r = 0; r < kRows; ++r) {
    sums[r] = zero();
    inputs[r] = set(s.dt * s.x[row + r]);
  }
  const F decay = set(s.decay);
  const float* const from = s.from + row * s.from_stride;
  float* const to = s.to + row * s.to_stride;
  const auto columns = [&](auto get, auto put) {
    const F b = get(s.b);
    const F c = get(s.c);
    for (int r = 0; r < kRows; ++r) {
      const F next = fma(inputs[r], b, mul(decay, get(from + r * s.from_stride)));
      put(to + r * s.to_stride, next);
      sums[r] = fma(next, c, sums[r]);
    }
  };
  for_lanes(s.size, columns);
  for (int r = 0; r < kRows; ++r) s.out[row + r] = sum(sums[r]) + s.d * s.x[row + r];
}

inline void state_space_step(const StateSpaceStep& s) {
  std::int64_t row = 0;
  for (; row + 4 <= s.rows; row += 4) state_space_rows<4>(s, row);
  for (; row < s.rows; ++row) state_space_rows<1>(s, row);
}

/// Two rows of the state at once, or one.
template <int kRows>
inline void rwkv_rows(const RwkvStep& s, std::int64_t row) {
  const float* const from = s.from + row * s.from_stride;
  float* const to = s.to + row * s.to_stride;
  F sums[kRows];
  for (F& total : sums) total = zero();
  for_lanes(s.size, [&](auto get, auto) {
    const F a = get(s.a);
    for (int r = 0; r < kRows; ++r) sums[r] = fma(get(from + r * s.from_stride), a, sums[r]);
  });
  F removed[kRows];
  F values[kRows];
  for (int r = 0; r < kRows; ++r) {
    removed[r] = set(sum(sums[r]));
    values[r] = set(s.v[row + r]);
    sums[r] = zero();
  }
  for_lanes(s.size, [&](auto get, auto put) {
    const F w = get(s.w);
    const F k = get(s.k);
    const F b = get(s.b);
    const F query = get(s.r);
    for (int r = 0; r < kRows; ++r) {
      const F kept = mul(get(from + r * s.from_stride), w);
      const F next = fma(removed[r], b, fma(values[r], k, kept));
      put(to + r * s.to_stride, next);
      sums[r] = fma(next, query, sums[r]);
    }
  });
  for (int r = 0; r < kRows; ++r) s.out[row + r] = sum(sums[r]);
}

inline void rwkv_step(const RwkvStep& s) {
  std::int64_t row = 0;
  for (; row + 4 <= s.size; row += 4) rwkv_rows<4>(s, row);
  for (; row < s.size; ++row) rwkv_rows<1>(s, row);
}

/// Sixteen channels (or, at the end, fewer) through some rows: channels are lanes.
inline void selective_rows(const SelectiveRows& s) {
  const std::int64_t wide = s.channels;
  const auto get = [wide](const float* p) { return wide >= 16 ? load(p) : load_first(p, wide); };
  const F d = get(s.d);
  for (std::int64_t t = 0; t < s.rows; ++t) {
    const F x = get(s.x + t * s.x_stride);
    const F dt = get(s.dt + t * s.dt_stride);
    const F input = mul(dt, x);
    const float* const b = s.b + t * s.b_stride;
    const float* const c = s.c + t * s.c_stride;
    F total = mul(d, x);
    for (std::int64_t i = 0; i < s.size; ++i) {
      const F decay = exp(mul(dt, load(s.a + 16 * i)));
      const F next = fma(input, set(b[i]), mul(load(s.state + 16 * i), decay));
      store(s.state + 16 * i, next);
      total = fma(next, set(c[i]), total);
    }
    if (wide >= 16) {
      store(s.out + t * s.out_stride, total);
    } else {
      store_first(s.out + t * s.out_stride, total, wide);
    }
  }
}

}  // namespace
}  // namespace hearth::compute::cpu
