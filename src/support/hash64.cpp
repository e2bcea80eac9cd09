#include "support/hash64.h"

#include <bit>
#include <cstring>

namespace hearth {
namespace {

// Odd, so that multiplying is a bijection; the bits of the fractions of square roots of primes.
constexpr std::uint64_t kFirst = 0x6A09E667F3BCC909U;
constexpr std::uint64_t kSecond = 0xBB67AE8584CAA73BU;

std::uint64_t word_at(const std::byte* bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

std::uint64_t step(std::uint64_t lane, std::uint64_t word) noexcept {
  return std::rotl((lane ^ word) * kFirst, 29);
}

}  // namespace

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  // Four lanes: a multiplication takes longer than it takes to begin the next one.
  std::uint64_t lanes[4] = {seed, seed + kSecond, seed ^ kFirst, ~seed};
  for (; left >= 32; at += 32, left -= 32) {
    for (int i = 0; i < 4; ++i) lanes[i] = step(lanes[i], word_at(at + 8 * i));
  }
  std::uint64_t hash = mix64(seed ^ static_cast<std::uint64_t>(bytes.size()));
  for (const std::uint64_t lane : lanes) hash = step(hash, lane);
  for (; left >= 8; at += 8, left -= 8) hash = step(hash, word_at(at));
  if (left > 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, left);
    hash = step(hash, word);
  }
  return mix64(hash * kSecond);
}

}  // namespace hearth
