#include "spec/memory.h"

#include <string>

#include "spec/visit.h"
#include "support/error.h"

namespace hearth::spec {
namespace {

class Assigner {
 public:
  explicit Assigner(ModelSpec& spec) : spec_(spec) {}

  void assign(Stack& stack, std::size_t layer, Attention& a) {
    a.plan = next_plan_++;
    edge_ = is_edge(stack, layer);
    switch (a.key_source) {
      case KeySource::kSelf:
        a.memory = kv({a.kv_heads, a.key_size, a.value_size, {1, window_cells(a.window), false}});
        break;
      case KeySource::kBatch:
        break;
      case KeySource::kShared:
        a.memory = memory_of(stack, a);
        break;
      case KeySource::kEncoder:
        a.memory = kv({a.kv_heads, a.key_size, a.value_size, {1, 0, true}});
        break;
    }
    if (!a.selection) return;
    // Its cells are chosen, too; a memory that is shared is read by attend() elsewhere as well.
    if (a.memory >= 0) spec_.kv_memories[static_cast<std::size_t>(a.memory)].selected = true;
    a.selection->memory = kv({1, a.selection->size, 0, {}, false, true});
  }
  void assign(Stack& stack, std::size_t layer, LatentAttention& a) {
    a.plan = next_plan_++;
    edge_ = is_edge(stack, layer);
    a.memory = kv({.kv_heads = 1,
                   .key_size = a.latent_size + a.rope_size,
                   .selected = a.indexer.has_value(),
                   .value_part = a.latent_size});
    if (a.indexer && !a.indexer->shared) {
      a.indexer->memory = kv({1, a.indexer->size, 0, {}, false, true});
    }
  }
  void assign(Stack& stack, std::size_t layer, CompressedAttention& a) {
    a.plan = next_plan_++;
    edge_ = is_edge(stack, layer);
    a.memory = kv({1, a.size, 0, {1, bounded(a.window), false}, false, true});
    if (a.compressor) assign(*a.compressor, a.ratio);
    if (a.indexer) assign(a.indexer->compressor, a.ratio);
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, GatedDeltaNet& g) {
    const std::int64_t channels = (2 * g.key_heads + g.value_heads) * g.size;
    g.memory = recurrent({channels, g.conv_taps - 1, g.value_heads, g.size, g.size});
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, KimiDeltaAttention& k) {
    k.memory = recurrent({3 * k.heads * k.size, k.conv_taps - 1, k.heads, k.size, k.size});
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, Mamba1& m) {
    m.memory = recurrent({m.inner, m.conv_taps - 1, 1, m.inner, m.state});
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, Mamba2& m) {
    m.memory = recurrent(
        {m.inner + 2 * m.groups * m.state, m.conv_taps - 1, m.heads, m.inner / m.heads, m.state});
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, ShortConvolution& s) {
    if (!s.centred) s.memory = recurrent({spec_.width, s.taps - 1, 0, 0, 0});
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, RwkvTimeMix& r) {
    r.memory = recurrent({spec_.width, 1, r.heads, r.size, r.size});
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, RwkvChannelMix& r) {
    r.memory = recurrent({spec_.width, 1, 0, 0, 0});
  }
  void assign(Stack& /*stack*/, std::size_t /*layer*/, FeedForward& /*f*/) {}
  void assign(Stack& /*stack*/, std::size_t /*layer*/, MixtureOfExperts& /*m*/) {}
  void assign(Stack& /*stack*/, std::size_t /*layer*/, Dense& /*d*/) {}

 private:
  void assign(Compressor& c, std::int64_t ratio) {
    // Overlapping compressors (ratio 4) read the block before their own, too.
    const std::int64_t halves = ratio == 4 ? 2 : 1;
    c.raw = kv({1, halves * c.size, halves * c.size, {1, halves * ratio, false}, true, true});
    c.entries = kv({1, c.size, 0, {ratio, 0, false}, false, true});
  }
  static bool is_edge(const Stack& stack, std::size_t layer) noexcept {
    return layer == 0 || layer + 1 == stack.layers.size();
  }
  MemoryIndex kv(KvMemory memory) {
    memory.edge = edge_;
    spec_.kv_memories.push_back(memory);
    return static_cast<MemoryIndex>(spec_.kv_memories.size()) - 1;
  }
  MemoryIndex recurrent(const RecurrentMemory& memory) {
    spec_.recurrent_memories.push_back(memory);
    return static_cast<MemoryIndex>(spec_.recurrent_memories.size()) - 1;
  }
  /// A window that no context can fill is none.
  static std::int64_t bounded(std::int64_t cells) {
    constexpr std::int64_t kMostCells = std::int64_t{1} << 30;
    return cells < kMostCells ? cells : 0;
  }
  static std::int64_t window_cells(const Window& window) {
    const bool limited = window.kind == WindowKind::kSliding || window.kind == WindowKind::kChunked;
    return limited ? bounded(window.size) : 0;
  }
  /// What the layer that `a` shares with remembers: as much as `a` reads, in heads like its own.
  [[nodiscard]] MemoryIndex memory_of(const Stack& stack, const Attention& a) const {
    const std::string layer = std::to_string(a.shares_with);
    const Attention* const source = attention_of(stack, a.shares_with);
    if (source == nullptr) {
      throw Error("a layer of the model shares keys with layer " + layer + ", which has none",
                  "the file is damaged or of an unknown kind");
    }
    const std::int64_t kept = window_cells(source->window);
    const std::int64_t read = window_cells(a.window);
    if (source->kv_heads != a.kv_heads || source->key_size != a.key_size ||
        source->value_size != a.value_size || (kept > 0 && (read == 0 || read > kept))) {
      throw Error("a layer of the model shares keys with layer " + layer +
                      ", whose heads or window differ from its own",
                  "the file is damaged or of an unknown kind");
    }
    return source->memory;
  }
  /// The first attention of a layer that remembers keys; null when there is none.
  [[nodiscard]] static const Attention* attention_of(const Stack& stack, std::int32_t layer) {
    if (layer < 0 || static_cast<std::size_t>(layer) >= stack.layers.size()) return nullptr;
    for (const Sublayer& sublayer : stack.layers[static_cast<std::size_t>(layer)].sublayers) {
      for (const Branch& branch : sublayer.branches) {
        const auto* attention = std::get_if<Attention>(&branch.body);
        if (attention != nullptr && attention->memory >= 0) return attention;
      }
    }
    return nullptr;
  }

  ModelSpec& spec_;
  std::int32_t next_plan_ = 0;
  bool edge_ = false;  // the layer at hand is its stack's first or last
};

}  // namespace

void assign_memories(ModelSpec& spec) {
  spec.kv_memories.clear();
  spec.recurrent_memories.clear();
  Assigner assigner(spec);
  for_each_body(spec, [&](Stack& stack, std::size_t layer, Body& body) {
    std::visit([&](auto& concrete) { assigner.assign(stack, layer, concrete); }, body);
  });
}

}  // namespace hearth::spec
