#include "compute/cpu/bf16_peak.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "machine/cpu.h"

namespace hearth::compute::cpu {

bool has_bf16_products() noexcept { return machine::cpu_features().avx512_bf16; }

#if defined(__x86_64__)
namespace {

[[gnu::target("avx512f,avx512bf16")]] std::int64_t measure(std::int64_t rounds, float* sink) {
  constexpr int kChains = 16;
  __m512 sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_ps(static_cast<float>(c));
  const __m512bh weight = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3F003F00));  // 0.5
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_dpbf16_ps(sums[c], weight, weight);
  }
  float total = 0;
  for (const __m512& chain : sums) total += _mm512_cvtss_f32(chain);
  *sink = total;
  return rounds * kChains * 32;
}

}  // namespace

std::int64_t bf16_peak(std::int64_t rounds, float* sink) noexcept {
  return has_bf16_products() ? measure(rounds, sink) : 0;
}
#else
std::int64_t bf16_peak(std::int64_t /*rounds*/, float* /*sink*/) noexcept { return 0; }
#endif

}  // namespace hearth::compute::cpu
