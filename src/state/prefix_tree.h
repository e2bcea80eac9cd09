// The radix tree behind PrefixCache: texts by their tokens, entries at some of their lengths.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "state/prefix_cache.h"

namespace hearth::state {

/// Every leaf has an entry, and so has every node with one child but the root; every edge has at
/// least one token.
class PrefixTree {
 public:
  struct Entry {
    std::unique_ptr<SequenceState> state;
    std::vector<float> logits;
    bool boundary = false;
    bool saved = false;         // is on disk, or was refused there
    std::uint64_t used = 0;     // when it, or one further on, was last used
    std::int64_t distance = 0;  // rows from it to the one that was used then
  };
  struct Node {
    std::vector<std::int32_t> edge;  // tokens from the parent to here
    std::int64_t end = 0;            // tokens from the root to here
    Node* parent = nullptr;
    std::map<std::int32_t, std::unique_ptr<Node>> children;  // by the first token of their edge
    std::unique_ptr<Entry> entry;
  };
  struct Match {
    Node* node = nullptr;     // where the match ends: at it, or on the edge that leads to it
    std::int64_t length = 0;  // tokens in common
    [[nodiscard]] bool at_node() const noexcept { return length == node->end; }
  };

  explicit PrefixTree(PrefixKey key) : key_(std::move(key)) {}

  [[nodiscard]] const PrefixKey& key() const noexcept { return key_; }
  [[nodiscard]] bool empty() const noexcept { return root_.children.empty(); }
  [[nodiscard]] Match match(std::span<const std::int32_t> tokens) noexcept;
  /// The node of exactly these tokens, which is made if need be; the caller gives it an entry.
  Node& insert(std::span<const std::int32_t> tokens);
  /// Takes an entry away, and the nodes that are of no use without it.
  void remove(Node& node) noexcept;
  /// A node with an entry, at or below `node`.
  [[nodiscard]] static Node& any_entry(Node& node) noexcept;
  [[nodiscard]] static std::vector<std::int32_t> tokens(const Node& node);
  /// The nearest entry above `node`; null: none.
  [[nodiscard]] static Node* entry_above(const Node& node) noexcept;
  /// Tokens of all edges.
  [[nodiscard]] std::int64_t cells() const noexcept { return cells_; }

 private:
  Node& split(Node& node, std::int64_t length);

  PrefixKey key_;
  Node root_;
  std::int64_t cells_ = 0;
};

}  // namespace hearth::state
