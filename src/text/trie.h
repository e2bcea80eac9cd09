// A static trie over byte strings, built once: longest-prefix matching for vocabularies.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::text {

class Trie {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::uint32_t kRoot = 0;

  Trie() = default;
  /// Builds from (key, value) pairs; values are not kNone. Empty keys are left out; of equal keys
  /// the first counts.
  explicit Trie(std::vector<std::pair<std::string_view, std::uint32_t>> entries);

  [[nodiscard]] bool empty() const noexcept { return nodes_.size() <= 1; }
  /// The node reached from `node` by `byte`, or kNone.
  [[nodiscard]] std::uint32_t next(std::uint32_t node, unsigned char byte) const noexcept;
  /// The value of the key that ends at `node`, or kNone.
  [[nodiscard]] std::uint32_t value(std::uint32_t node) const noexcept {
    return nodes_[node].value;
  }

 private:
  struct Node {
    std::uint32_t first_child = 0;
    std::uint32_t value = kNone;
    std::uint16_t children = 0;
    std::uint8_t label = 0;
  };
  std::vector<Node> nodes_{1};
  std::vector<std::uint32_t> root_ = std::vector<std::uint32_t>(256, kNone);
};

}  // namespace hearth::text
