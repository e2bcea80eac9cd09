// ModelSpec: what a model computes, as plain data built from a GGUF header alone. Families write
// it, the runner executes it, the planner costs it. Tensors are named, not held; an empty name
// means "absent".
//
// A model is an embedding, stacks of layers, and a head. A layer is a list of sublayers; a sublayer
// is
//
//   stream += residual_scale * post_norm( sum_scale * sum over branches of branch(pre_norm(stream))
//   ) branch(y) = branch_post_norm( body( branch_pre_norm(y) ) )
//
// so that sequential, parallel, sandwich-norm and post-norm blocks are all the same thing. With
// `norm_after_add` (BERT) it is stream = post_norm(stream + sum). Models with several residual
// streams replace the += by how they mix them (HyperConnection, AltUp).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "spec/kinds.h"

namespace hearth::spec {

/// y = scale * (W x) + b. `weight` [out, in]; `bias` [out]; `scale` a sidecar tensor of one number.
struct Linear {
  std::string weight{}, bias{}, scale{};
  std::int64_t in = 0, out = 0;
  [[nodiscard]] bool present() const noexcept { return !weight.empty(); }
};

/// A stack of matrices [matrices, out, in], of which each row of a batch uses some: experts, or the
/// heads of latent attention. `bias` [matrices, out]; `scale` [matrices].
struct LinearStack {
  std::string weight{}, bias{}, scale{};
  std::int64_t in = 0, out = 0, matrices = 0;
  [[nodiscard]] bool present() const noexcept { return !weight.empty(); }
};

/// weight and bias may be absent.
struct Norm {
  NormKind kind = NormKind::kRms;
  std::string weight{}, bias{};
  float epsilon = 0;
};

struct Rope {
  RopePairing pairing = RopePairing::kAdjacent;
  RopeAngles angles;
  std::string factors{};  // frequency factors [rotated/2]
};

enum class WindowKind : std::uint8_t {
  kFull,       // causal: c <= q
  kSliding,    // causal and q - c < size
  kChunked,    // causal and c >= floor(q / size) * size
  kSymmetric,  // encoders: |q - c| <= size / 2
  kEverything  // encoders: always
};

struct Window {
  WindowKind kind = WindowKind::kFull;
  std::int64_t size = 0;
  bool operator==(const Window&) const = default;
};

/// q *= 1 + beta ln(1 + floor((position + offset) / interval)).
struct QueryTemperature {
  float beta = 0;
  std::int64_t offset = 0;
  std::int64_t interval = 1;
  bool operator==(const QueryTemperature&) const = default;
};

// ---- What a sequence remembers ------------------------------------------------------------------

/// Cells that are kept and found alike. A cell stands for `rows_per_cell` rows of the sequence;
/// rows further back than `window` cells are never read again (0: all are).
struct CellGroup {
  std::int64_t rows_per_cell = 1;
  std::int64_t window = 0;
  bool encoder = false;  // cells are the encoder's rows (cross-attention)
  bool operator==(const CellGroup&) const = default;
};

/// Keys and values of one attention (or of several that share them). `value_size` 0: values are the
/// first part of the keys (latent attention).
struct KvMemory {
  std::int64_t kv_heads = 0, key_size = 0, value_size = 0;
  CellGroup group{};
  bool float32 = false;   // whatever the type of the KV cache
  bool selected = false;  // also read by operations that choose cells, not by attend() alone
  bool edge = false;      // of the first or the last layer of its stack
  /// With value_size 0: how much of the keys is the values; 0: all, or there are none.
  std::int64_t value_part = 0;
};

/// State of one recurrent mixer, F32: the last `conv_taps` inputs of every channel and/or a matrix
/// per head.
struct RecurrentMemory {
  std::int64_t conv_channels = 0, conv_taps = 0;
  std::int64_t heads = 0, rows = 0, columns = 0;
  [[nodiscard]] std::int64_t floats() const noexcept {
    return conv_channels * conv_taps + heads * rows * columns;
  }
};

/// Index into ModelSpec::kv_memories or recurrent_memories; -1: none. Families leave them alone:
/// assign_memories() (spec/memory.h) fills them in.
using MemoryIndex = std::int32_t;

// ---- Bodies: what a branch can be ---------------------------------------------------------------

/// Sigmoid or softplus gate on the output of an attention, before its output projection.
struct OutputGate {
  Linear linear{};        // of the attention's input; absent: gates are in `q` (`gate_in_q`)
  bool per_head = false;  // one gate per head instead of one per element
  Activation activation = Activation::kSigmoid;
};

/// Relative position bias (T5): bias[head][bucket] of the tensor [buckets, heads], added to scores;
/// buckets of key - query as in classic.md.
struct RelativeBias {
  std::string table{};
  std::int64_t buckets = 0;
  bool bidirectional = false;
  std::int64_t max_distance = 128;
  bool operator==(const RelativeBias&) const = default;
};

enum class KeySource : std::uint8_t {
  kSelf,     // keys and values of the sequence so far, cached
  kBatch,    // of the rows of this pass only, nothing is remembered (encoders)
  kShared,   // those of an earlier attention (`shares_with`); this one stores none
  kEncoder,  // of the encoder's output (cross-attention)
};

/// Softmax attention with grouped heads. Either `qkv` (rows in the order Q, K, V) or `q`, `k` and
/// `v`.
struct Attention {
  std::int64_t heads = 0, kv_heads = 0;
  std::int64_t key_size = 0, value_size = 0;
  Linear qkv, q, k, v, output;
  /// `v` absent and `qkv` absent: values are the key projection before its norm.
  bool gate_in_q = false;  // q's rows are per head [query, gate]
  std::optional<OutputGate> gate;
  float clamp_qkv = 0;  // 0: off
  /// Normalisation of queries and keys: over each head, or over all heads together (`norm_whole`),
  /// before RoPE unless `norm_after_rope`.
  std::optional<Norm> q_norm, k_norm, v_norm;
  bool norm_whole = false;
  bool norm_after_rope = false;
  std::optional<Rope> rope;
  std::optional<QueryTemperature> temperature;
  float scale = 1;
  float softcap = 0;         // 0: off
  float max_alibi_bias = 0;  // 0: off
  std::optional<RelativeBias> relative_bias;
  std::string sinks;                // one logit per head
  std::optional<Norm> output_norm;  // of the concatenated heads, before `output` (bitnet)
  float output_scale = 1;
  Window window;
  KeySource key_source = KeySource::kSelf;
  std::int32_t shares_with = -1;  // kShared: the layer (of the same stack) whose attention stores
  /// Block-sparse attention (minimax-m3); absent: every visible cell.
  struct BlockSelection {
    Linear q, k;
    std::optional<Norm> q_norm, k_norm;
    std::int64_t size = 0, block = 0, top_k = 0, local = 0;
    MemoryIndex memory = -1;
  };
  std::optional<BlockSelection> selection;

  MemoryIndex memory = -1;
  std::int32_t plan = -1;
};

/// Lightning indexer: every query attends only to the `top_k` cells of the largest
/// sum_h w_h relu(q_h . k) (deepseek.md).
struct Indexer {
  std::int64_t heads = 0, size = 0, top_k = 0;
  Linear q, k, weights;
  std::optional<Norm> k_norm;
  std::optional<Rope> rope;  // of the first rope.angles.rotated dimensions
  bool shared = false;       // reuse the selection of the layer before
  MemoryIndex memory = -1;
};

/// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434; blocks.md section 3.3). Cached:
/// latent_size + rope_size values per row.
struct LatentAttention {
  std::int64_t heads = 0, nope_size = 0, rope_size = 0, value_size = 0;
  std::int64_t latent_size = 0, query_rank = 0;
  Linear q;  // without a low-rank query
  Linear q_a, q_b;
  std::optional<Norm> q_a_norm;
  Linear kv_a;
  std::optional<Norm> kv_a_norm;
  LinearStack k_b, v_b;  // per head: k_b [latent, nope], v_b [value, latent]
  /// Instead of k_b and v_b in older files: per head [nope + value, latent], keys first.
  LinearStack kv_b;
  Linear output;
  std::optional<Rope> rope;
  std::optional<QueryTemperature> temperature;
  float scale = 1;
  std::optional<Indexer> indexer;

  MemoryIndex memory = -1;
  std::int32_t plan = -1;
};

/// Learned pooling of blocks of rows into one cell (DeepSeek V4). Overlapping compressors have two
/// halves.
struct Compressor {
  Linear values, gates;
  std::string position_bias;  // [ratio, width of gates]
  std::optional<Norm> norm;
  std::int64_t size = 0;  // of an entry
  MemoryIndex raw = -1, entries = -1;
};

/// DeepSeek V4 attention: one shared key = value head, a raw sliding window, and compressed entries
/// of blocks of `ratio` rows (deepseek.md, section deepseek4).
struct CompressedAttention {
  std::int64_t heads = 0, size = 0, rotated = 0;
  std::int64_t window = 0, ratio = 0;  // ratio 0: the raw window only
  Linear q_a, q_b, kv;
  std::optional<Norm> q_a_norm, q_norm, kv_norm;
  std::optional<Rope> rope;  // of the last `rotated` dimensions; its inverse on the output
  float scale = 1;
  std::string sinks;
  std::optional<Compressor> compressor;
  /// Ratio 4: which entries a query sees.
  struct BlockIndexer {
    std::int64_t heads = 0, size = 0, top_k = 0;
    Linear q, weights;
    Compressor compressor;
  };
  std::optional<BlockIndexer> indexer;
  LinearStack output_a;  // per group of heads
  Linear output_b;

  MemoryIndex memory = -1;
  std::int32_t plan = -1;
};

/// down(gating(gate x, up x)) when gated, else down(activation(up x)). `gate_up` holds both,
/// gate rows first.
struct FeedForward {
  std::int64_t width = 0;
  bool gated = true;
  Gating gating;                 // its activation also when not gated
  std::optional<Xielu> xielu{};  // instead of the activation, when not gated
  Linear gate{}, up{}, gate_up{}, down{};
  std::optional<Norm> hidden_norm{};  // before `down` (bitnet)
  float sparsity = 0;                 // gate = relu(gate - (mean + sparsity * std)); gemma3n
};

/// Where a router reads.
enum class RouterInput : std::uint8_t {
  kBody,      // what the experts read
  kSublayer,  // the stream before the branch's norm (gemma4)
  kLayer,     // the stream at the input of the layer (smallthinker)
};

/// Mixture of experts (blocks.md section 5), with its shared experts.
struct MixtureOfExperts {
  std::int64_t experts = 0, used = 0, width = 0;
  Linear router;
  RouterInput router_input = RouterInput::kBody;
  std::optional<Norm> router_norm;
  float router_scale = 1;      // of the router's input
  std::string selection_bias;  // [experts]
  std::string token_experts;   // I32 [vocabulary, used]: experts chosen by token id (deepseek4)
  Routing routing;
  bool weight_on_input = false;  // llama4
  bool gated = true;
  Gating gating;
  LinearStack gate, up, gate_up, down;
  Linear latent_down, latent_up;  // around the experts (Nemotron 3 Super)
  std::optional<FeedForward> shared;
  Linear shared_gate;      // sigmoid, one number per row
  float output_scale = 1;  // of the sum of experts and shared expert
  /// grovemoe: adjugate "chunk" experts (moe.md).
  struct Chunks {
    std::int64_t per_chunk = 0, width = 0;
    LinearStack gate, up, down;
    float scale = 0;
  };
  std::optional<Chunks> chunks;
};

/// Gated delta net (Yang et al. 2024, arXiv:2412.06464; blocks-recurrent.md section 2).
struct GatedDeltaNet {
  std::int64_t key_heads = 0, value_heads = 0, size = 0, conv_taps = 0;
  bool tiled = false;  // value head h reads key head h mod key_heads, else h / (values per key)
  Linear qkv, gate;    // or `qkvz` (legacy: per key head q, k, v, z)
  Linear qkvz;
  Linear beta, alpha;  // or `beta_alpha`: per key head betas, then alphas
  Linear beta_alpha;
  std::string conv, dt_bias, a;
  Norm output_norm;
  Linear output;
  MemoryIndex memory = -1;
};

/// Kimi delta attention (arXiv:2510.26692; blocks-recurrent.md section 3).
struct KimiDeltaAttention {
  std::int64_t heads = 0, size = 0, conv_taps = 0;
  Linear q, k, v;
  std::string conv_q, conv_k, conv_v;
  Linear decay_a, decay_b, beta, gate_a, gate_b, output;
  std::string dt_bias, a;
  Norm output_norm;
  float l2_epsilon = 0;
  MemoryIndex memory = -1;
};

/// Mamba-1 selective scan (Gu & Dao 2023, arXiv:2312.00752; blocks-recurrent.md section 4).
struct Mamba1 {
  std::int64_t inner = 0, state = 0, dt_rank = 0, conv_taps = 0;
  Linear in, x, dt, output;
  std::string conv, conv_bias, a, d;
  std::optional<Norm> dt_norm, b_norm, c_norm;
  MemoryIndex memory = -1;
};

/// Mamba-2 / SSD (Dao & Gu 2024, arXiv:2405.21060; blocks-recurrent.md section 5).
struct Mamba2 {
  std::int64_t inner = 0, state = 0, heads = 0, groups = 0, conv_taps = 0;
  Linear in, output;
  std::string conv, conv_bias, dt_bias, a, d;
  std::optional<Norm> norm;  // [groups, inner / groups]
  MemoryIndex memory = -1;
};

/// LFM2 short convolution (blocks-recurrent.md section 6).
struct ShortConvolution {
  std::int64_t taps = 0;
  bool centred = false;  // bidirectional embedders: half of the taps look ahead
  Linear in, output;
  std::string conv;
  MemoryIndex memory = -1;
};

/// RWKV-7 (arXiv:2503.14456; blocks-recurrent.md section 7).
struct RwkvTimeMix {
  std::int64_t heads = 0, size = 0;
  bool first = false;  // the layer whose values the others mix in
  std::string lerp;    // [6, width]: r, w, k, v, a, g
  Linear receptance, key, value, output;
  Linear w1, w2, a1, a2, v1, v2, g1, g2;
  std::string w0, a0, v0, k_k, k_a, r_k;
  Norm norm;  // [heads, size]
  MemoryIndex memory = -1;
};
struct RwkvChannelMix {
  std::string lerp;
  Linear key, value;
  MemoryIndex memory = -1;
};

/// A single matrix (deci).
struct Dense {
  Linear linear{};
};

using Body = std::variant<Attention, LatentAttention, CompressedAttention, FeedForward,
                          MixtureOfExperts, GatedDeltaNet, KimiDeltaAttention, Mamba1, Mamba2,
                          ShortConvolution, RwkvTimeMix, RwkvChannelMix, Dense>;

// ---- Layers -------------------------------------------------------------------------------------

struct Branch {
  std::optional<Norm> pre_norm{};
  Body body;
  std::optional<Norm> post_norm{};
  bool from_layer_input = false;  // reads the stream at the input of the layer (arctic)
};

/// Hyper-connections (arXiv:2409.19606; deepseek.md): the sublayer reads a mix of the streams and
/// is written back to all of them.
struct HyperConnection {
  Norm norm{};          // of all streams together
  Linear function{};    // [(2 + streams) * streams, streams * width]
  std::string base{};   // [(2 + streams) * streams]
  std::string scale{};  // [3]
};

struct Sublayer {
  std::optional<Norm> pre_norm{};
  std::vector<Branch> branches{};
  std::optional<Norm> post_norm{};
  float residual_scale = 1;
  float sum_scale = 1;
  bool norm_after_add = false;
  /// EAGLE-3: the normed token embedding is put before the normed stream.
  std::optional<Norm> token_norm{};
  std::optional<HyperConnection> hyper{};
  /// With norm_after_add, the stream once more: stream = second_norm(post_norm(stream + sum) +
  /// stream) (jina-bert-v2).
  std::optional<Norm> second_norm{};
};

/// stream += post_norm(projection(gelu(gate stream) * per-layer embedding)) (gemma3n, gemma4).
struct PerLayerInput {
  Linear gate{}, projection{};
  std::optional<Norm> post_norm{};
};

/// Alternating updates (arXiv:2301.13310) and learned augmented residual (gemma.md, gemma3n). The
/// layer's two sublayers are then its attention and its feed-forward.
struct AltUp {
  Linear router, predict, correct;
  std::optional<Norm> router_norm;
  std::string correct_scale;
  Linear laurel_left, laurel_right;
  std::optional<Norm> laurel_norm;
};

struct Layer {
  std::vector<Sublayer> sublayers{};
  std::optional<AltUp> altup{};
  std::optional<PerLayerInput> per_layer_input{};
  std::string output_scale{};         // one number; the stream is multiplied by it
  std::optional<Norm> output_norm{};  // of the stream (nanbeige, between loops)
  std::int32_t add_input_slice = -1;  // deepstack: slice of the input rows added after the layer
};

struct Stack {
  std::string name{};  // "decoder"
  std::vector<Layer> layers{};
};

/// Embeddings of every layer (gemma3n, gemma4): ple = (norm(projection(x) * projection_scale) +
/// tokens * token_scale) / sqrt(2), [layers * width].
struct PerLayerEmbedding {
  std::string tokens;  // table [vocabulary, layers * width]
  float token_scale = 1;
  Linear projection;
  float projection_scale = 1;
  std::optional<Norm> norm;  // [width]
  std::int64_t layers = 0, width = 0;
};

/// What a draft head reads beside the token: hidden states of the model it drafts for.
struct HiddenInput {
  std::int64_t width = 0;  // of one stream; the rows given are streams * width wide
  std::optional<Norm> token_norm, hidden_norm;
  Linear projection;  // of [token, hidden]; absent (EAGLE-3): the stream is the hidden state
  /// EAGLE-3: makes the hidden state of the target's features.
  Linear features;
  std::optional<Norm> features_norm;
};

struct Embedding {
  std::string tokens;
  float scale = 1;
  std::string positions;  // learned position embeddings [positions, width]
  std::string types;      // [types, width]: row 0 is added to every token (BERT)
  std::optional<Norm> norm;
  std::int64_t input_slices = 1;  // rows given instead of tokens are this many widths wide
  std::optional<PerLayerEmbedding> per_layer;
  std::optional<HiddenInput> hidden;
};

/// The streams of gemma3n and deepseek4 become one again.
struct StreamHead {
  Norm norm;                // of all streams together
  Linear function;          // [streams, streams * width]
  std::string base, scale;  // [streams], [1]
};
/// gemma3n: streams 1.. are made of stream 0 by these matrices, and unmade at the end.
struct AltUpStreams {
  LinearStack projection, unembedding;
};

/// What the hidden state of a row is, for draft heads and embeddings.
enum class HiddenKind : std::uint8_t {
  kNormed,   // after the head's norm
  kStreams,  // the residual streams after the last layer
};

/// logits = softcap(scale * linear(norm(stream))).
struct Head {
  std::optional<Norm> norm{};
  Linear linear{};  // absent: the model has no logits (encoders)
  float scale = 1;
  float softcap = 0;
  HiddenKind hidden = HiddenKind::kNormed;
  /// Draft vocabularies: row i is token target_tokens[i] (I64 tensor "d2t").
  std::string target_tokens{};
};

enum class PoolingKind : std::uint8_t { kNone, kMean, kFirst, kLast, kRank };

/// How the hidden states of a text become one vector or scores (blocks.md section 7).
struct Pooling {
  PoolingKind kind = PoolingKind::kNone;
  PoolingKind rank_from = PoolingKind::kFirst;  // kRank: the vector that is classified
  std::vector<Linear> dense{};                  // after pooling
  Linear classifier{}, classifier_output{};     // either may be absent
  Activation classifier_activation = Activation::kTanh;
  std::optional<Norm> classifier_norm{};
  bool softmax = false;  // over the labels; the score is the first
};

/// The encoder of an encoder-decoder model; its output feeds the cross-attentions.
struct Encoder {
  Stack stack;
  std::optional<Norm> norm;
};

struct ModelSpec {
  std::string architecture;
  std::string name;             // general.name
  std::int64_t vocabulary = 0;  // rows of the embedding table
  std::int64_t logits = 0;      // columns of the logits: `vocabulary`, or a draft vocabulary
  std::int64_t width = 0;
  std::int64_t streams = 1;         // residual streams
  std::int64_t context_length = 0;  // the model was trained for
  std::int64_t position_limit = 0;  // rows of learned position embeddings; 0: no hard limit
  bool causal = true;               // false: all rows of a text must be in one pass
  Embedding embedding;
  std::optional<AltUpStreams> altup_streams;
  std::optional<Encoder> encoder;
  std::vector<Stack> stacks;
  std::optional<StreamHead> stream_head;
  float hyper_epsilon = 0;
  std::int32_t sinkhorn_iterations = 0;
  Head head;
  Pooling pooling;
  std::int32_t decoder_start_token = -1;
  std::int64_t draft_heads = 0;             // next-token-prediction blocks in the same file
  std::vector<std::int32_t> target_layers;  // EAGLE-3: layers of the target it reads

  std::vector<KvMemory> kv_memories;                // filled in by assign_memories()
  std::vector<RecurrentMemory> recurrent_memories;  // likewise
};

}  // namespace hearth::spec
