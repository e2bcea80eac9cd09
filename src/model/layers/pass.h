// What a layer sees of the pass it is part of: the backend, the weights, work memory, and what the
// runner prepared once for all layers (cells, window ranges, rotary angles, recurrent slots).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>

#include "compute/backend.h"
#include "model/adapters.h"
#include "model/weights.h"
#include "spec/model_spec.h"
#include "state/memory.h"
#include "tensor/arena.h"

namespace hearth::model {

/// What the runner resolved for one attention (of any kind) when the model was loaded.
struct AttentionPlan {
  int window = 0;                // index into Pass::windows
  int rope_table = -1;           // index into Pass::rope_tables, -1: no RoPE
  int indexer_rope_table = -1;   // likewise, of the lightning indexer
  int temperature = -1;          // index into Pass::temperatures, -1: none
  tensor::Tensor slopes;         // ALiBi
  tensor::Tensor distance_bias;  // relative bias: F32 [heads, 2R + 1]
};

/// The cells that each row sees.
struct WindowRange {
  tensor::Tensor begin, end;  // I32 [T]
};

/// The blocks of `ratio` rows that the rows of this pass complete (CompressedAttention).
struct CompletedBlocks {
  std::int64_t ratio = 0;
  std::int64_t count = 0;   // N, may be 0
  tensor::Tensor sequence;  // I32 [N]
  tensor::Tensor block;     // I32 [N]: index of the block = its cell in the group of entries
  tensor::Tensor position;  // I32 [N]: of the block's first row
  WindowRange visible;      // I32 [T]: blocks that each row of the pass sees: [0, n)
};

struct Pass {
  compute::Backend& backend;
  const Weights& weights;
  tensor::Arena& arena;
  const state::MemoryPool& memory;
  const spec::ModelSpec& spec;
  std::int64_t rows = 0;  // T

  tensor::Tensor tokens{};     // I32 [T]
  tensor::Tensor positions{};  // I32 [T], or [T, 4] in models with multi-axis RoPE
  /// How cells are found, by cell group (MemoryPool::group_of).
  std::span<const compute::KvRows> groups{};
  /// The same for keys and values of this pass only: a pool [pages, heads, kPageCells, size] made
  /// in the arena, whose cell t is row t.
  compute::KvRows batch_cells{};
  std::int64_t batch_pages = 0;
  std::span<const WindowRange> windows{};        // in cells of the sequence
  std::span<const WindowRange> batch_windows{};  // the same windows in cells of batch_cells
  /// All rows' sequences began with this pass: the batch is all they have to look back on.
  bool all_new = false;
  std::span<const tensor::Tensor> rope_tables{};   // F32 [T, rotated/2, 2]
  std::span<const tensor::Tensor> temperatures{};  // F32 [T]
  std::span<const AttentionPlan> attentions{};     // by plan index
  std::span<const CompletedBlocks> completed{};    // one per ratio
  compute::RecurrentRows recurrent{};

  /// Encoder-decoder models. While the encoder's output is being made known to the decoder:
  /// [rows of the encoder, width], to be stored in the cells of encoder_cells.
  compute::KvRows encoder_cells{};
  WindowRange encoder_range{};  // what each row of the decoder sees of the encoder

  const AdapterSet* adapters = nullptr;  // null: none

  // What layers tell each other.
  tensor::Tensor layer_input{};      // the stream at the input of the current layer, if wanted
  tensor::Tensor sublayer_input{};   // the stream that the current sublayer reads (before its norm)
  tensor::Tensor per_layer{};        // F32 [T, layers * width] (PerLayerEmbedding)
  tensor::Tensor token_embedding{};  // F32 [T, width] (EAGLE-3)
  tensor::Tensor input_slices{};     // F32 [T, slices * width] or absent
  tensor::Tensor first_value{};      // F32 [T, width] (RWKV-7)
  tensor::Tensor selected_cells{};   // I32 [T, N] of the last lightning indexer
  std::size_t layer_index = 0;       // in its stack

  [[nodiscard]] tensor::Tensor scratch(std::int64_t width) {
    return arena.allocate(tensor::DType::kF32, {rows, width});
  }
  [[nodiscard]] tensor::Tensor scratch(std::int64_t parts, std::int64_t size) {
    return arena.allocate(tensor::DType::kF32, {rows, parts, size});
  }
  [[nodiscard]] const compute::KvRows& cells(spec::MemoryIndex index) const {
    return groups[memory.group_of(index)];
  }
  [[nodiscard]] const CompletedBlocks& completed_blocks(std::int64_t ratio) const;
  /// I32 [T, count]: every row is 0, 1, .. count - 1 (one row in memory, stride 0).
  [[nodiscard]] tensor::Tensor iota(std::int64_t count) const;
  tensor::Tensor iota_row{};  // I32 [longest]
};

// ---- Matrices. All layers multiply through these, so that adapters apply everywhere. ------------

struct Product {
  const spec::Linear* linear = nullptr;
  tensor::Tensor out;  // [T, out]
};
/// out = linear(x) for each product, adapters included. x [T, in].
void multiply(Pass& pass, const tensor::Tensor& x, std::span<const Product> products);
inline void multiply(Pass& pass, const tensor::Tensor& x, std::initializer_list<Product> products) {
  multiply(pass, x, std::span<const Product>(products.begin(), products.size()));
}

struct StackProduct {
  const spec::LinearStack* linear = nullptr;
  tensor::Tensor out;  // [T, K, out]
};
/// The same for stacks of matrices: x [T, K or 1, in], ids I32 [T, K].
void multiply_grouped(Pass& pass, const tensor::Tensor& x, const tensor::Tensor& ids,
                      std::initializer_list<StackProduct> products);
/// out [T, K, in] = x [T, K or 1, rows] times the first rows of the matrices themselves, not of
/// their transposes; adapters included. ids [T, K] are the same in every row; the stack has neither
/// bias nor scale.
void multiply_transposed(Pass& pass, const tensor::Tensor& x, const tensor::Tensor& ids,
                         const spec::LinearStack& linear, const tensor::Tensor& out);

void apply_norm(const Pass& pass, const spec::Norm& norm, const tensor::Tensor& x,
                const tensor::Tensor& out);
/// norm(x) in new scratch memory, or x itself without a norm.
[[nodiscard]] tensor::Tensor normed(Pass& pass, const std::optional<spec::Norm>& norm,
                                    const tensor::Tensor& x);

// ---- Bodies: out [T, width] = body(x [T, width]) ------------------------------------------------

void run_body(Pass& pass, const spec::Attention& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::LatentAttention& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::CompressedAttention& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::FeedForward& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::MixtureOfExperts& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::GatedDeltaNet& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::KimiDeltaAttention& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::Mamba1& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::Mamba2& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::ShortConvolution& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::RwkvTimeMix& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::RwkvChannelMix& body, const tensor::Tensor& x,
              const tensor::Tensor& out);
void run_body(Pass& pass, const spec::Dense& body, const tensor::Tensor& x,
              const tensor::Tensor& out);

/// Rows of latent attention that are absorbed at a time: queries in the space of the latent are
/// wide.
inline constexpr std::int64_t kAbsorbedRows = 64;

/// attend() over the keys of a memory, of which some may be on disk: part by part then, as the
/// pool's stream() brings them. `first_row`: the row of the pass that a's rows begin with.
void attend_memory(Pass& pass, spec::MemoryIndex memory, std::int64_t first_row,
                   const compute::AttendArguments& a);

/// Block-sparse attention of queries q [T, heads, size] of the layer whose input is x (minimax-m3).
void attend_blocks(Pass& pass, const spec::Attention& body, const tensor::Tensor& x,
                   const tensor::Tensor& q, const tensor::Tensor& out);

/// Keys and values of the encoder's output [rows, width] for one cross-attention.
void store_encoder_keys(Pass& pass, const spec::Attention& body, const tensor::Tensor& output);

/// sum [T, width] = the sum of the sublayer's branches on `input`, the normed stream.
void run_branches(Pass& pass, const spec::Sublayer& sublayer, const tensor::Tensor& input,
                  const tensor::Tensor& sum);
/// One sublayer on stream [T, streams * width]: see spec::Sublayer.
void run_sublayer(Pass& pass, const spec::Sublayer& sublayer, const tensor::Tensor& stream);
/// One layer, with everything that belongs to it besides its sublayers.
void run_layer(Pass& pass, const spec::Layer& layer, const tensor::Tensor& stream);

// ---- Several residual streams -------------------------------------------------------------------

/// The sublayer of `hyper` connections (deepseek4): stream [T, M * width].
void run_hyper_sublayer(Pass& pass, const spec::Sublayer& sublayer, const tensor::Tensor& stream);
/// Streams [T, M * width] collapsed to out [T, width] by the head's weights.
void collapse_streams(Pass& pass, const spec::StreamHead& head, const tensor::Tensor& streams,
                      const tensor::Tensor& out);
/// The layer of gemma3n: stream [T, 4 * width].
void run_altup_layer(Pass& pass, const spec::Layer& layer, const tensor::Tensor& stream);
/// Streams 1.. from stream 0, and the mean of all at the end (gemma3n).
void open_altup_streams(Pass& pass, const spec::AltUpStreams& streams,
                        const tensor::Tensor& stream);
void close_altup_streams(Pass& pass, const spec::AltUpStreams& streams,
                         const tensor::Tensor& stream, const tensor::Tensor& out);
/// Fills in pass.per_layer from the token ids and the embedding x [T, width].
void make_per_layer_embeddings(Pass& pass, const spec::PerLayerEmbedding& embedding,
                               const tensor::Tensor& x);
/// out = post_norm(projection(gelu(gate x) * the layer's slice of pass.per_layer)).
void per_layer_signal(Pass& pass, const spec::PerLayerInput& input, const tensor::Tensor& x,
                      const tensor::Tensor& out);
/// stream += per_layer_signal(stream).
void add_per_layer_input(Pass& pass, const spec::PerLayerInput& input,
                         const tensor::Tensor& stream);

}  // namespace hearth::model
