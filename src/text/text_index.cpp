#include "text/text_index.h"

#include <cstring>

namespace hearth::text {
namespace {

constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio

std::uint64_t mix(std::uint64_t value) {
  value ^= value >> 32;
  value *= kMultiplier;
  return value ^ value >> 29;
}

std::uint64_t load(const char* from, std::size_t count) {
  std::uint64_t word = 0;
  std::memcpy(&word, from, count);
  return word;
}

}  // namespace

std::uint64_t TextIndex::hash(std::string_view text) noexcept {
  std::uint64_t state = text.size() * kMultiplier;
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 8; left -= 8, at += 8) state = mix((state ^ load(at, 8)) * kMultiplier);
  if (left > 0) state = (state ^ load(at, left)) * kMultiplier;
  return mix(state);
}

void TextIndex::prefetch(std::uint64_t hashed) const noexcept {
  if (!slots_.empty()) __builtin_prefetch(&slots_[hashed & mask_]);
}

std::uint32_t TextIndex::find_hashed(std::string_view text, std::uint64_t hashed) const noexcept {
  if (slots_.empty()) return kNone;
  const auto tag = static_cast<std::uint32_t>(hashed >> 32);
  for (std::size_t at = hashed & mask_;; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.number == kNone) return kNone;
    if (slot.tag == tag && (*this)[slot.number] == text) return slot.number;
  }
}

void TextIndex::reserve(std::size_t count, std::size_t bytes) {
  bytes_.reserve(bytes);
  starts_.reserve(count + 1);
  std::size_t slots = 16;
  while (slots < count * 2) slots *= 2;
  if (slots > slots_.size()) grow(slots);
}

void TextIndex::grow(std::size_t slots) {
  slots_.assign(slots, Slot{});
  mask_ = slots - 1;
  for (std::size_t number = 0; number < size(); ++number) {
    const std::uint64_t hashed = hash((*this)[number]);
    std::size_t at = hashed & mask_;
    while (slots_[at].number != kNone) at = (at + 1) & mask_;
    slots_[at] = {static_cast<std::uint32_t>(hashed >> 32), static_cast<std::uint32_t>(number)};
  }
}

std::uint32_t TextIndex::append(std::string_view text, std::uint64_t hashed) {
  if ((size() + 1) * 2 > slots_.size()) grow(slots_.empty() ? 16 : slots_.size() * 2);
  const auto number = static_cast<std::uint32_t>(size());
  std::size_t at = hashed & mask_;
  while (slots_[at].number != kNone) at = (at + 1) & mask_;
  slots_[at] = {static_cast<std::uint32_t>(hashed >> 32), number};
  bytes_.append(text);
  starts_.push_back(bytes_.size());
  return number;
}

std::uint32_t TextIndex::add(std::string_view text) {
  const std::uint64_t hashed = hash(text);
  return find_hashed(text, hashed) != kNone ? kNone : append(text, hashed);
}

std::uint32_t TextIndex::intern(std::string_view text) {
  const std::uint64_t hashed = hash(text);
  const std::uint32_t found = find_hashed(text, hashed);
  return found != kNone ? found : append(text, hashed);
}

}  // namespace hearth::text
