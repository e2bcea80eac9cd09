// Elementwise and row-wise kernels, written once over the primitives of simd_*.h.
//
// Included only by kernels_*.cpp, after the header of its instruction set.
#pragma once

#include "compute/cpu/kernels.h"

namespace hearth::compute::cpu {
namespace {

/// Coefficients of a polynomial, highest power first, evaluated by Horner's rule.
template <std::size_t kCount>
inline F polynomial(F x, const float (&coefficients)[kCount]) {
  F result = set(coefficients[0]);
  for (std::size_t i = 1; i < kCount; ++i) result = fma(result, x, set(coefficients[i]));
  return result;
}

/// e^x to about 1 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, a Taylor polynomial of degree 7 for
/// e^r, and 2^n in two factors so that the ends of the range (infinity, subnormals, 0) come out
/// right. NaN stays NaN.
inline F exp(F x) {
  x = min(set(89.0F), max(set(-105.0F), x));
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23
  const F shifted = fma(x, set(1.44269504088896341F), set(kRounder));
  const F n = sub(shifted, set(kRounder));
  const I exponent = sub_int(bits_of(shifted), bits_of(set(kRounder)));
  // ln 2 in two parts; the first has few bits, so that n times it is exact.
  F r = fma(n, set(-0.693359375F), x);
  r = fma(n, set(2.12194440e-4F), r);
  static constexpr float kTaylor[] = {1.0F / 5040, 1.0F / 720, 1.0F / 120, 1.0F / 24,
                                      1.0F / 6,    0.5F,       1.0F,       1.0F};
  const F power = polynomial(r, kTaylor);
  const I half = shift_right<1>(exponent);
  const auto two_to = [](I e) { return float_of(shift_left<23>(add_int(e, set_int(127)))); };
  return mul(mul(power, two_to(half)), two_to(sub_int(exponent, half)));
}

inline F negate(F x) { return sub(zero(), x); }
inline F reciprocal_1_plus(F x) { return div(set(1.0F), add(set(1.0F), x)); }
inline F sigmoid(F x) { return reciprocal_1_plus(exp(negate(x))); }

/// tanh x: near zero an odd polynomial (Cephes, S. Moshier), else 1 - 2 / (e^2|x| + 1) with the
/// sign of x.
inline F tanh(F x) {
  static constexpr float kSmall[] = {-5.70498872745e-3F, 2.06390887954e-2F, -5.37397155531e-2F,
                                     1.33314422036e-1F, -3.33332819422e-1F};
  const F magnitude = abs(x);
  const F square = mul(x, x);
  const F near = fma(mul(polynomial(square, kSmall), square), x, x);
  const F far = sub(set(1.0F), mul(set(2.0F), reciprocal_1_plus(exp(add(magnitude, magnitude)))));
  const F signed_far = select_less(x, zero(), negate(far), far);
  return select_less(magnitude, set(0.625F), near, signed_far);
}

/// z Phi(z) = z erfc(-z / sqrt 2) / 2. erf and erfc by the polynomials of Cephes (S. Moshier) for
/// single precision: |t| < 1, 1 <= |t| < 2 and beyond.
inline F gelu_erf(F z) {
  static constexpr float kErf[] = {
      7.853861353153693e-5F, -8.010193625184903e-4F, 5.188327685732524e-3F, -2.685381193529856e-2F,
      1.128358514861418e-1F, -3.761262582423300e-1F, 1.128379165726710e+0F};
  static constexpr float kMiddle[] = {
      2.326819970068386e-2F,  -1.387039388740657e-1F, 3.687424674597105e-1F,
      -5.824733027278666e-1F, 6.210004621745983e-1F,  -4.944515323274145e-1F,
      3.404879937665872e-1F,  -2.741127028184656e-1F, 5.638259427386472e-1F};
  static constexpr float kFar[] = {
      -1.047766399936249e+1F, 1.297719955372516e+1F, -7.495518717768503e+0F, 2.921019019210786e+0F,
      -1.015265279202700e+0F, 4.218463358204948e-1F, -2.820767439740514e-1F, 5.641895067754075e-1F};
  const F t = mul(z, set(0.70710678118654752F));
  const F magnitude = max(abs(t), set(1e-20F));
  const F square = mul(t, t);
  const F erf = mul(t, polynomial(square, kErf));
  const F inverse = div(set(1.0F), magnitude);
  const F inverse_square = mul(inverse, inverse);
  const F tail_polynomial = select_less(magnitude, set(2.0F), polynomial(inverse_square, kMiddle),
                                        polynomial(inverse_square, kFar));
  const F erfc_magnitude = mul(mul(exp(negate(square)), inverse), tail_polynomial);
  const F far = select_less(t, zero(), erfc_magnitude, sub(set(2.0F), erfc_magnitude));
  const F twice_phi = select_less(magnitude, set(1.0F), add(set(1.0F), erf), far);
  return mul(mul(set(0.5F), z), twice_phi);
}

/// ln(1 + e^z) = max(z, 0) + ln(1 + y) with y = e^-|z|, and ln(1 + y) = 2 artanh(u) with
/// u = y / (2 + y) <= 1/3, whose series ends after u^17 / 17 (the rest is below 1e-9 of it).
inline F softplus(F z) {
  static constexpr float kArtanh[] = {1.0F / 17, 1.0F / 15, 1.0F / 13, 1.0F / 11, 1.0F / 9,
                                      1.0F / 7,  1.0F / 5,  1.0F / 3,  1.0F};
  const F y = exp(negate(abs(z)));
  const F u = div(y, add(set(2.0F), y));
  const F series = polynomial(mul(u, u), kArtanh);
  return fma(add(u, u), series, max(zero(), z));
}

template <spec::Activation kActivation>
inline F activated(F z) {
  using enum spec::Activation;
  if constexpr (kActivation == kSilu) {
    return div(z, add(set(1.0F), exp(negate(z))));
  } else if constexpr (kActivation == kGelu) {
    // 0.5 z (1 + tanh u) = z sigmoid(2 u)
    const F u = mul(mul(set(1.5957691216057308F), z), fma(mul(set(0.044715F), z), z, set(1.0F)));
    return div(z, add(set(1.0F), exp(negate(u))));
  } else if constexpr (kActivation == kGeluErf) {
    return gelu_erf(z);
  } else if constexpr (kActivation == kGeluQuick) {
    return div(z, add(set(1.0F), exp(mul(set(-1.702F), z))));
  } else if constexpr (kActivation == kRelu) {
    return max(zero(), z);
  } else if constexpr (kActivation == kReluSquared) {
    const F positive = max(zero(), z);
    return mul(positive, positive);
  } else if constexpr (kActivation == kTanh) {
    return tanh(z);
  } else if constexpr (kActivation == kExp) {
    return exp(z);
  } else if constexpr (kActivation == kSoftplus) {
    return softplus(z);
  } else {
    return sigmoid(z);
  }
}

/// Calls body(load, store) for every sixteen elements, where load(p) and store(p, x) handle the
/// ragged end.
template <class Body>
inline void for_lanes(std::int64_t size, Body body) {
  std::int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    body(
        [i](const float* p) __attribute__((always_inline)) { return load(p + i); },
        [i](float* p, F x) __attribute__((always_inline)) { store(p + i, x); });
  }
  if (i < size) {
    const std::int64_t rest = size - i;
    body(
        [ i, rest ](const float* p)
            __attribute__((always_inline)) { return load_first(p + i, rest); },
        [ i, rest ](float* p, F x) __attribute__((always_inline)) { store_first(p + i, x, rest); });
  }
}

/// Calls use(function object for the activation) with the activation as a compile-time constant.
template <class Use>
inline void with_activation(spec::Activation activation, Use use) {
  using enum spec::Activation;
  switch (activation) {
    case kSilu:
      return use([](F z) { return activated<kSilu>(z); });
    case kGelu:
      return use([](F z) { return activated<kGelu>(z); });
    case kGeluErf:
      return use([](F z) { return activated<kGeluErf>(z); });
    case kGeluQuick:
      return use([](F z) { return activated<kGeluQuick>(z); });
    case kRelu:
      return use([](F z) { return activated<kRelu>(z); });
    case kReluSquared:
      return use([](F z) { return activated<kReluSquared>(z); });
    case kTanh:
      return use([](F z) { return activated<kTanh>(z); });
    case kSigmoid:
      return use([](F z) { return activated<kSigmoid>(z); });
    case kSoftplus:
      return use([](F z) { return activated<kSoftplus>(z); });
    case kExp:
      return use([](F z) { return activated<kExp>(z); });
  }
}

inline void activate_row(spec::Activation activation, const float* x, float* out,
                         std::int64_t size) {
  with_activation(activation, [&](auto function) {
    for_lanes(size, [&](auto get, auto put) { put(out, function(get(x))); });
  });
}

inline void activate_gated_row(const spec::Gating& gating, const float* gate, const float* up,
                               float* out, std::int64_t size) {
  using enum spec::GateForm;
  const F limit = set(gating.limit);
  const auto clamped = [&](F x) { return min(limit, max(negate(limit), x)); };
  if (gating.form == kOpenAi) {
    for_lanes(size, [&](auto get, auto put) {
      const F z = min(limit, get(gate));
      put(out, mul(activated<spec::Activation::kGeluQuick>(z), add(clamped(get(up)), set(1.0F))));
    });
    return;
  }
  with_activation(gating.activation, [&](auto function) {
    if (gating.form == kProduct) {
      for_lanes(size, [&](auto get, auto put) { put(out, mul(function(get(gate)), get(up))); });
    } else if (gating.form == kClampInputs) {
      for_lanes(size, [&](auto get, auto put) {
        put(out, mul(function(min(limit, get(gate))), clamped(get(up))));
      });
    } else {
      for_lanes(size, [&](auto get, auto put) {
        put(out, mul(min(limit, function(get(gate))), clamped(get(up))));
      });
    }
  });
}

inline void add_row(const float* a, const float* b, float factor, float* out, std::int64_t size) {
  for_lanes(size, [&](auto get, auto put) { put(out, fma(set(factor), get(b), get(a))); });
}

inline void scale_row(const float* x, float factor, float* out, std::int64_t size) {
  for_lanes(size, [&](auto get, auto put) { put(out, mul(set(factor), get(x))); });
}

inline void clamp_row(float* x, float limit, std::int64_t size) {
  for_lanes(size, [&](auto get, auto put) { put(x, min(set(limit), max(set(-limit), get(x)))); });
}

inline void softcap_row(float* x, float cap, std::int64_t size) {
  const F limit = set(cap);
  for_lanes(size, [&](auto get, auto put) { put(x, mul(limit, tanh(div(get(x), limit)))); });
}

inline void finish_norm(const NormRow& a, F mean, F factor) {
  for_lanes(a.size, [&](auto get, auto put) {
    F y = mul(sub(get(a.x), mean), factor);
    if (a.weight != nullptr) y = mul(y, get(a.weight));
    if (a.bias != nullptr) y = add(y, get(a.bias));
    put(a.out, y);
  });
}

inline float inverse_root(float x) { return 1.0F / __builtin_sqrtf(x); }

inline void norm_rms_row(const NormRow& a) {
  F squares = zero();
  for_lanes(a.size, [&](auto get, auto) { squares = fma(get(a.x), get(a.x), squares); });
  finish_norm(a, zero(), set(inverse_root(sum(squares) / static_cast<float>(a.size) + a.epsilon)));
}

inline void norm_layer_row(const NormRow& a) {
  F total = zero();
  for_lanes(a.size, [&](auto get, auto) { total = add(total, get(a.x)); });
  const F mean = set(sum(total) / static_cast<float>(a.size));
  F squares = zero();
  std::int64_t i = 0;
  for (; i + 16 <= a.size; i += 16) {
    const F difference = sub(load(a.x + i), mean);
    squares = fma(difference, difference, squares);
  }
  float variance = sum(squares);
  const float center = sum(total) / static_cast<float>(a.size);
  for (; i < a.size; ++i) variance += (a.x[i] - center) * (a.x[i] - center);
  finish_norm(a, mean, set(inverse_root(variance / static_cast<float>(a.size) + a.epsilon)));
}

inline void norm_l2_row(const NormRow& a) {
  F squares = zero();
  for_lanes(a.size, [&](auto get, auto) { squares = fma(get(a.x), get(a.x), squares); });
  const float length = __builtin_sqrtf(sum(squares));
  finish_norm(a, zero(), set(1.0F / (length > a.epsilon ? length : a.epsilon)));
}

inline void rope_halves_head(float* x, const float* table, std::int64_t pairs, float direction) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float cosine = table[2 * i];
    const float sine = direction * table[2 * i + 1];
    const float a = x[i];
    const float b = x[i + pairs];
    x[i] = a * cosine - b * sine;
    x[i + pairs] = a * sine + b * cosine;
  }
}

inline void rope_adjacent_head(float* x, const float* table, std::int64_t pairs, float direction) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float cosine = table[2 * i];
    const float sine = direction * table[2 * i + 1];
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * cosine - b * sine;
    x[2 * i + 1] = a * sine + b * cosine;
  }
}

inline void to_half_row(const float* x, std::uint16_t* out, std::int64_t size) {
  std::int64_t i = 0;
  for (; i + 16 <= size; i += 16) store_half(out + i, load(x + i));
  if (i < size) {
    std::uint16_t halves[16];
    store_half(halves, load_first(x + i, size - i));
    for (std::int64_t j = i; j < size; ++j) out[j] = halves[j - i];
  }
}

// Attention.

/// Sixteen elements of a row of a pool.
inline F cache_lanes(const std::byte* p, PanelFormat format, std::int64_t first) {
  switch (format) {
    case PanelFormat::kF16:
      return load_half(p + 2 * first);
    case PanelFormat::kBF16:
      return load_bfloat(p + 2 * first);
    case PanelFormat::kQ8_0: {
      // Blocks of a half-precision scale and 32 bytes.
      const std::byte* const block = p + first / 32 * 34;
      std::uint16_t scale[16];
      for (std::uint16_t& lane : scale) __builtin_memcpy(&lane, block, 2);
      return mul(to_float(widen_s8(block + 2 + first % 32)), load_half(scale));
    }
    default:
      return load(reinterpret_cast<const float*>(p) + first);
  }
}
/// The same where only `rest` < 16 elements are left: the lanes beyond are zero.
inline F last_cache_lanes(const std::byte* p, PanelFormat format, std::int64_t first,
                          std::int64_t rest) {
  if (format == PanelFormat::kF32) {
    return load_first(reinterpret_cast<const float*>(p) + first, rest);
  }
  // A block is whole; nobody looks at the lanes beyond.
  if (format == PanelFormat::kQ8_0) return cache_lanes(p, format, first);
  std::uint16_t padded[16] = {};
  __builtin_memcpy(padded, p + 2 * first, static_cast<std::size_t>(2 * rest));
  return format == PanelFormat::kF16 ? load_half(padded) : load_bfloat(padded);
}
inline F cache_lanes(const std::byte* p, PanelFormat format, std::int64_t first,
                     std::int64_t size) {
  return size - first >= 16 ? cache_lanes(p, format, first)
                            : last_cache_lanes(p, format, first, size - first);
}

inline void pack_keys(const std::byte* const (&keys)[kPanelRows], PanelFormat format,
                      std::int64_t size, float* panel) {
  for (std::int64_t i = 0; i < size; i += 16) {
    F block[kPanelRows];
    for (int key = 0; key < kPanelRows; ++key) {
      block[key] = keys[key] == nullptr ? zero() : cache_lanes(keys[key], format, i, size);
    }
    store_transposed(block, size - i < 16 ? size - i : 16, panel + i * 16);
  }
}

inline void pack_value(const std::byte* value, PanelFormat format, std::int64_t size,
                       std::int64_t row, std::int64_t row_count, float* panels) {
  for (std::int64_t i = 0; i < size; i += 16) {
    store(panels + (i / 16 * row_count + row) * 16,
          value == nullptr ? zero() : cache_lanes(value, format, i, size));
  }
}

inline void turn_panel(const std::byte* panel, PanelFormat format, std::int64_t size,
                       std::int64_t row, std::int64_t row_count, float* panels) {
  for (std::int64_t i = 0; i < size; i += 16) {
    F block[kPanelRows];
    for (int j = 0; j < kPanelRows; ++j) {
      block[j] = i + j >= size ? zero() : cache_lanes(panel, format, 16 * (i + j));
    }
    store_transposed(block, 16, panels + (i / 16 * row_count + row) * 16);
  }
}

inline float exp_scores(float* scores, float maximum, std::int64_t size) {
  F total = zero();
  const F most = set(maximum);
  for (std::int64_t i = 0; i < size; i += 16) {
    const F e = exp(sub(load(scores + i), most));
    store(scores + i, e);
    total = add(total, e);
  }
  return sum(total);
}

inline float largest_score(const float* x, std::int64_t size) {
  F most = load(x);
  for (std::int64_t i = 16; i < size; i += 16) most = max(most, load(x + i));
  return largest(most);
}

// Measuring.

inline std::int64_t measure_int8(std::int64_t rounds, std::int32_t* sink) {
  constexpr int kChains = kMaxTile >= 8 ? 16 : 4;
  alignas(64) std::int8_t data[64];
  for (int i = 0; i < 64; ++i) data[i] = static_cast<std::int8_t>(i % 50);
  const B weights = load_bytes(data);
  I sums[kChains];
  for (I& chain : sums) chain = zero_int();
  for (std::int64_t round = 0; round < rounds; ++round) {
    const std::int8_t* const y = data + (round & 7) * 4;
    for (int c = 0; c < kChains; ++c) sums[c] = dot_byte(sums[c], weights, y);
  }
  std::int32_t total = 0;
  for (const I& chain : sums) total += sum_int(chain);
  *sink = total;
  return rounds * kChains * 64;
}

inline std::int64_t measure_f32(std::int64_t rounds, float* sink) {
  constexpr int kChains = kMaxTile >= 8 ? 16 : 4;
  F sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = set(static_cast<float>(c));
  const F weight = set(0.5F);
  const F x = set(0.25F);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int c = 0; c < kChains; ++c) sums[c] = fma(sums[c], weight, x);
  }
  float total = 0;
  for (const F& chain : sums) total += sum(chain);
  *sink = total;
  return rounds * kChains * 16;
}

/// A template, so that dot_bf16 is only looked for where there is one.
template <bool kHasDot>
inline std::int64_t measure_bf16(std::int64_t rounds, float* sink) {
  if constexpr (kHasDot) {
    constexpr int kChains = 16;
    constexpr std::uint16_t kPair[2] = {0x3F00, 0x3F00};  // 0.5
    const auto pair = [](auto p) { return set_pair(p); }(&kPair);
    F sums[kChains];
    for (int c = 0; c < kChains; ++c) sums[c] = set(static_cast<float>(c));
    for (std::int64_t round = 0; round < rounds; ++round) {
      for (int c = 0; c < kChains; ++c) sums[c] = dot_bf16(sums[c], pair, pair);
    }
    float total = 0;
    for (const F& chain : sums) total += sum(chain);
    *sink = total;
    return rounds * kChains * 32;
  } else {
    *sink = 0;
    return 0;
  }
}

inline std::uint32_t sum_memory(const std::byte* data, std::size_t bytes) {
  I sums[4] = {zero_int(), zero_int(), zero_int(), zero_int()};
  for (std::size_t i = 0; i + 256 <= bytes; i += 256) {
    for (std::size_t c = 0; c < 4; ++c) sums[c] = add_int(sums[c], load_int(data + i + 64 * c));
  }
  const I total = add_int(add_int(sums[0], sums[1]), add_int(sums[2], sums[3]));
  alignas(64) std::int32_t lanes[16];
  __builtin_memcpy(lanes, &total, sizeof lanes);
  std::uint32_t result = 0;
  for (const std::int32_t lane : lanes) result += static_cast<std::uint32_t>(lane);
  return result;
}

}  // namespace
}  // namespace hearth::compute::cpu
