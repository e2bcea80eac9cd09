#include "state/prefix_tree.h"

#include <algorithm>
#include <utility>

namespace hearth::state {

PrefixTree::Match PrefixTree::match(std::span<const std::int32_t> tokens) noexcept {
  Node* node = &root_;
  for (;;) {
    const auto rest = tokens.subspan(static_cast<std::size_t>(node->end));
    if (rest.empty()) return {node, node->end};
    const auto child = node->children.find(rest.front());
    if (child == node->children.end()) return {node, node->end};
    Node& next = *child->second;
    const auto differ = std::mismatch(rest.begin(), rest.end(), next.edge.begin(), next.edge.end());
    const std::int64_t length = node->end + (differ.first - rest.begin());
    if (length < next.end) return {&next, length};
    node = &next;
  }
}

/// A node in the middle of the edge that leads to `node`.
PrefixTree::Node& PrefixTree::split(Node& node, std::int64_t length) {
  Node& parent = *node.parent;
  const auto cut = node.edge.begin() + (length - parent.end);
  auto middle = std::make_unique<Node>();
  middle->edge.assign(node.edge.begin(), cut);
  middle->end = length;
  middle->parent = &parent;
  std::unique_ptr<Node>& place = parent.children.at(node.edge.front());
  const std::int32_t first = *cut;
  auto [below, added] = middle->children.try_emplace(first);
  std::vector<std::int32_t> rest(cut, node.edge.end());
  // Nothing throws from here on.
  below->second = std::move(place);
  node.edge = std::move(rest);
  node.parent = middle.get();
  place = std::move(middle);
  return *place;
}

PrefixTree::Node& PrefixTree::insert(std::span<const std::int32_t> tokens) {
  const Match found = match(tokens);
  Node* node = found.at_node() ? found.node : &split(*found.node, found.length);
  const auto rest = tokens.subspan(static_cast<std::size_t>(node->end));
  if (rest.empty()) return *node;
  auto leaf = std::make_unique<Node>();
  leaf->edge.assign(rest.begin(), rest.end());
  leaf->end = static_cast<std::int64_t>(tokens.size());
  leaf->parent = node;
  cells_ += static_cast<std::int64_t>(rest.size());
  return *(node->children[rest.front()] = std::move(leaf));
}

void PrefixTree::remove(Node& node) noexcept {
  node.entry.reset();
  Node* at = &node;
  while (at->parent != nullptr && at->children.empty() && !at->entry) {
    Node* parent = at->parent;
    cells_ -= static_cast<std::int64_t>(at->edge.size());
    parent->children.erase(at->edge.front());
    at = parent;
  }
  if (at->parent == nullptr || at->entry || at->children.size() != 1) return;
  // One child and no duty: its edge becomes part of the child's.
  std::unique_ptr<Node> child = std::move(at->children.begin()->second);
  child->edge.insert(child->edge.begin(), at->edge.begin(), at->edge.end());
  child->parent = at->parent;
  std::unique_ptr<Node>& place = at->parent->children.find(at->edge.front())->second;
  place = std::move(child);
}

PrefixTree::Node& PrefixTree::any_entry(Node& node) noexcept {
  Node* at = &node;
  while (!at->entry) at = at->children.begin()->second.get();
  return *at;
}

std::vector<std::int32_t> PrefixTree::tokens(const Node& node) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(node.end));
  for (const Node* at = &node; at->parent != nullptr; at = at->parent)
    std::copy(at->edge.begin(), at->edge.end(), all.begin() + at->parent->end);
  return all;
}

PrefixTree::Node* PrefixTree::entry_above(const Node& node) noexcept {
  Node* at = node.parent;
  while (at != nullptr && !at->entry) at = at->parent;
  return at;
}

}  // namespace hearth::state
