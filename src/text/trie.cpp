#include "text/trie.h"

#include <algorithm>

namespace hearth::text {
namespace {

/// The first eight bytes, so that most comparisons need not touch the text.
std::uint64_t prefix_of(std::string_view text) {
  std::uint64_t prefix = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    prefix = prefix << 8 | (i < text.size() ? static_cast<unsigned char>(text[i]) : 0U);
  }
  return prefix;
}

struct Key {
  std::uint64_t prefix;
  std::uint32_t order;
  std::uint32_t value;
  std::string_view text;
};

std::vector<Key> sorted_keys(
    const std::vector<std::pair<std::string_view, std::uint32_t>>& entries) {
  std::vector<Key> keys;
  keys.reserve(entries.size());
  for (const auto& [text, value] : entries) {
    if (!text.empty()) {
      keys.push_back({prefix_of(text), static_cast<std::uint32_t>(keys.size()), value, text});
    }
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    if (a.prefix != b.prefix) return a.prefix < b.prefix;
    const int order = a.text.compare(b.text);
    return order != 0 ? order < 0 : a.order < b.order;
  });
  return keys;
}

}  // namespace

Trie::Trie(std::vector<std::pair<std::string_view, std::uint32_t>> entries) {
  const std::vector<Key> keys = sorted_keys(entries);
  struct KeyRange {
    std::uint32_t begin, end, depth;
  };
  std::vector<KeyRange> spans{
      {0, static_cast<std::uint32_t>(keys.size()), 0}};  // keys below each node
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    auto [begin, end, depth] = spans[i];
    while (begin < end && keys[begin].text.size() == depth) {
      if (nodes_[i].value == kNone) nodes_[i].value = keys[begin].value;
      ++begin;
    }
    nodes_[i].first_child = static_cast<std::uint32_t>(nodes_.size());
    while (begin < end) {
      const char label = keys[begin].text[depth];
      const std::uint32_t first = begin;
      while (begin < end && keys[begin].text[depth] == label) ++begin;
      Node child;
      child.label = static_cast<std::uint8_t>(label);
      nodes_.push_back(child);
      spans.push_back({first, begin, depth + 1});
      ++nodes_[i].children;
    }
  }
  for (std::uint32_t child = 1; child <= nodes_[kRoot].children; ++child) {
    root_[nodes_[child].label] = child;
  }
}

std::uint32_t Trie::next(std::uint32_t node, unsigned char byte) const noexcept {
  if (node == kRoot) return root_[byte];
  const Node& parent = nodes_[node];
  std::uint32_t low = parent.first_child;
  std::uint32_t high = low + parent.children;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (nodes_[middle].label == byte) return middle;
    if (nodes_[middle].label < byte) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return kNone;
}

}  // namespace hearth::text
