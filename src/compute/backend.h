// The vocabulary of operations. Layers are written in it once; backends speak it: `reference`
// slowly and obviously correctly, `cpu` fast, `count` only counts.
//
// Conventions. Shapes are row-major. T is the number of rows of the batch. Activations are F32;
// index tensors are I32. The last stride of every tensor is 1; other strides are free, so inputs
// and outputs may be column slices of a wider matrix. An output may be the same tensor as an input
// of an elementwise operation, never a partial overlap. Operations are asynchronous in principle:
// they may be recorded and run by submit(); finish() waits and reports errors. Preconditions
// (shapes, types) are the caller's; operations do not throw and, on resident weights, neither
// allocate nor lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "quant/kv_code.h"
#include "spec/kinds.h"
#include "tensor/tensor.h"

namespace hearth::compute {

using quant::KvCode;
using quant::KvPart;
using spec::Activation;
using spec::Gating;
using spec::NormKind;
using spec::RopeAngles;
using spec::RopePairing;
using spec::Routing;
using spec::Xielu;
using tensor::Buffer;
using tensor::DType;
using tensor::Tensor;

/// What memory is used for; every allocation is reported under one of these.
enum class MemoryCategory : std::uint8_t { kWeights, kKv, kState, kBuffers, kOther };
inline constexpr int kMemoryCategories = 5;

/// Largest size of an attention head, of keys and of values: what backends size their workspaces
/// for.
inline constexpr std::int64_t kMaxHeadSize = 1024;
/// Most experts that route() chooses among.
inline constexpr std::int64_t kMaxExperts = 4096;

/// How a weight is used; flags.
enum WeightUse : unsigned {
  kUseMatmul = 1,  // y = W x
  kUseRows = 2,    // rows are looked up (embedding tables)
};

/// Where a weight's bytes are while the model runs. kStreamed and kDevice come with later backends.
enum class Residency : std::uint8_t {
  kPacked,  // copied once into memory of the backend, in the layout its kernels want
  kMapped,  // read from the file as it is
};

/// A matrix as stored in a file: `rows` output features of `columns` input features each (the
/// PyTorch (out, in) order; GGUF shape [columns, rows]), every row a whole number of blocks; or a
/// stack of `matrices` such matrices, one after the other (experts, heads).
/// `bytes` must outlive the Weight made from it.
struct WeightSource {
  std::string_view name;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::span<const std::byte> bytes;
  std::int64_t matrices = 1;
};

/// A weight made ready by a backend.
class Weight {
 public:
  virtual ~Weight() = default;
  Weight(const Weight&) = delete;
  Weight& operator=(const Weight&) = delete;
  [[nodiscard]] const WeightSource& source() const noexcept { return source_; }
  [[nodiscard]] std::int64_t rows() const noexcept { return source_.rows; }
  [[nodiscard]] std::int64_t columns() const noexcept { return source_.columns; }
  [[nodiscard]] std::int64_t matrices() const noexcept { return source_.matrices; }

 protected:
  explicit Weight(const WeightSource& source) : source_(source) {}

 private:
  WeightSource source_;
};

/// One product of a matmul: out [T, rows] = scale * (x W^T) + bias. `bias` [rows] F32 may be
/// absent.
struct Projection {
  const Weight* weight = nullptr;
  Tensor out;
  Tensor bias;
  float scale = 1.0F;
};

/// Normalises the last dimension of x [T, D] or [T, H, D]. weight and bias: absent, [D] (the same
/// for all heads) or [H, D].
struct NormArguments {
  NormKind kind = NormKind::kRms;
  float epsilon = 0;
  Tensor x, weight, bias, out;
};

/// One product of a grouped_matmul: out[t][j] = scale[m] * (x[t][j] W_m^T) + bias[m] with m =
/// ids[t][j].
struct GroupedProjection {
  const Weight* weight = nullptr;  // a stack of matrices
  Tensor out;                      // F32 [T, K, rows]
  Tensor bias;                     // F32 [matrices, rows] or absent
  Tensor scale;                    // F32 [matrices] or absent
};

/// The other way around, for the parts of latent attention: out[t][j] = sum_r x[t][j][r] W_m[r][:]
/// over the first `rows of x` rows of W_m, m = ids[t][j].
struct TransposedArguments {
  Tensor x;    // F32 [T, K, rows], or [T, 1, rows] shared by the K products of a row
  Tensor ids;  // I32 [T, K]: the same in every row (strides may be 0)
  const Weight* weight = nullptr;  // a stack of matrices of at least `rows` rows
  Tensor out;                      // F32 [T, K, columns]
};

/// Choice of experts (blocks.md section 5). `selected`: the choice is given, only the weights are
/// computed. Equal scores: the lower index wins; ids are in descending order of score.
struct RouteArguments {
  Routing routing;
  Tensor logits;          // F32 [T, E], E <= kMaxExperts
  Tensor selection_bias;  // F32 [E] or absent
  Tensor selected;        // I32 [T, K] or absent
  /// Of `selected`: ids = selected / divisor (grovemoe), taken to the nearest of 0 .. E - 1.
  std::int32_t divisor = 1;
  Tensor ids;      // I32 [T, K], out
  Tensor weights;  // F32 [T, K], out
};

/// In a page table: the page is one of the coded pools, of keys and of values (quant/kv_code.h).
/// Pools with such pages have P = quant::kCodedCells.
inline constexpr std::int32_t kCodedPage = 1 << 30;

/// Turns whole raw pages into coded ones: page pairs[i][0] of `raw` becomes page pairs[i][1] of
/// `coded`.
struct EncodePagesArguments {
  KvPart part = KvPart::kKeys;
  Tensor raw;    // [pages, kv_heads, P, size], F32, F16 or BF16
  Tensor coded;  // I8 [pages, kv_heads, quant::coded_page_bytes(code, size)]
  KvCode code;
  Tensor pairs;  // I32 [N, 2]
};

/// Which cells of the KV pages each row of a batch touches. A sequence's cell c lives in page
/// page_table[sequence][c / P] at slot c mod P, where P is the page length (the third dimension of
/// the pools).
struct KvRows {
  Tensor page_table;    // I32 [sequences, pages per sequence]
  Tensor row_sequence;  // I32 [T], index into page_table
  Tensor row_cell;      // I32 [T], the cell of the row itself
};

/// Cells that attention takes together, from a multiple of so many on: in long contexts more of
/// them, where there are plenty.
inline constexpr std::int64_t kAttendCells = 512, kFarCells = 8192, kFarAttendCells = 2048;

/// The first of the cells that attention takes together with this one, and the first after them.
[[nodiscard]] constexpr std::int64_t attend_begin(std::int64_t cell) {
  return cell - cell % (cell < kFarCells ? kAttendCells : kFarAttendCells);
}
[[nodiscard]] constexpr std::int64_t attend_end(std::int64_t cell) {
  return attend_begin(cell) + (cell < kFarCells ? kAttendCells : kFarAttendCells);
}

/// A part of attend(): the cells [begin, end) of those that the rows see. Where not all keys are in
/// memory at once, attention is made of parts, in ascending order, whose cells follow each other
/// and begin where attend_begin() says; only the last one may end elsewhere. The results are those
/// of one attend(): on the CPU backend to the last bit.
struct AttendPart {
  std::int64_t begin = 0, end = 0;
  bool first = true, last = true;
  /// F32 [T, heads, 2 + value size], contiguous: what the parts so far gave. Written by all but
  /// the last part, read by all but the first. Absent: there are no parts, all is attended to.
  Tensor running{};
};

/// Attention of T query rows over paged keys and values (flash-attention style implementations
/// welcome). With s(h, c) = scale q_h . k_c, then
///
///   s = softcap tanh(s / softcap)    if softcap > 0
///   s = s - slope_h |row_cell - c|   if slopes
///   s = s + distance_bias[h][clamp(c - row_cell, -R, R) + R]   if distance_bias [heads, 2R + 1]
///
/// out_h = sum over c in [row_begin, row_end) of softmax(s)(c) v_c, where the softmax's denominator
/// includes exp(sink_h) if sinks. Query head h reads KV head h / (heads / kv_heads).
struct AttendArguments {
  Tensor q;       // F32 [T, heads, key size]; sizes up to kMaxHeadSize
  Tensor keys;    // [pages, kv_heads, P, key size], F32, F16, BF16 or Q8_0
  Tensor values;  // [pages, kv_heads, P, value size], likewise; absent: the first part of the keys
  /// Pages that the table marks with kCodedPage are read from these; absent: there are none.
  Tensor coded_keys{}, coded_values{};  // I8 [pages, kv_heads, bytes of a page]
  KvCode key_code{}, value_code{};
  KvRows rows;
  Tensor row_begin;  // I32 [T], first visible cell
  Tensor row_end;    // I32 [T], one past the last visible cell; > row_begin
  float scale = 1;
  float softcap = 0;
  Tensor slopes;         // F32 [heads] or absent
  Tensor distance_bias;  // F32 [heads, 2R + 1] or absent
  Tensor sinks;          // F32 [heads] or absent
  Tensor out;            // F32 [T, heads, value size]
  AttendPart part{};
};

/// Keys and values that attend_selected() reads: the cells [row_begin, row_end) of each row, or the
/// listed ones.
struct KvSource {
  Tensor keys, values;        // as in AttendArguments
  Tensor page_table;          // I32 [sequences, pages per sequence]
  Tensor row_begin, row_end;  // I32 [T]; an empty range is allowed
  Tensor cells;               // I32 [T, G, N], ended by -1; query head h uses list h / (heads / G)
};

/// Attention over chosen cells, from one or two pools. A row must see at least one cell or a sink.
struct SelectedAttendArguments {
  Tensor q;  // F32 [T, heads, key size]
  std::span<const KvSource> sources;
  Tensor row_sequence;  // I32 [T]
  float scale = 1;
  Tensor sinks;  // F32 [heads] or absent
  Tensor out;    // F32 [T, heads, value size]
};

/// Most cells or blocks that select_cells() and select_blocks() choose per row.
inline constexpr std::int64_t kMaxSelected = 1 << 14;

/// The cells of the largest score(t, c) = sum_h weights[t][h] relu(q[t][h] . k_c) among
/// [row_begin, row_end): all of them when there are at most N, in ascending order, then -1. Of
/// equal scores those win that compute/best_cells.h says.
struct SelectCellsArguments {
  Tensor q;        // F32 [T, H, size]
  Tensor weights;  // F32 [T, H]
  Tensor keys;     // pool with one head
  KvRows rows;
  Tensor row_begin, row_end;  // I32 [T]; an empty range is allowed
  Tensor cells;               // I32 [T, N], out
};

/// Block-sparse choice (minimax-m3, moe.md): for every group g the `top_k` blocks of `block` cells
/// with the largest max of q[t][g] . k_c over their visible cells [0, row_end), the last `local`
/// blocks always among them (as far as top_k allows); cells are the
/// visible cells of those blocks in ascending order, then -1.
struct SelectBlocksArguments {
  Tensor q;     // F32 [T, G, size]
  Tensor keys;  // pool with one head
  KvRows rows;
  Tensor row_end;  // I32 [T], > 0
  std::int64_t block = 0, top_k = 0, local = 0;
  Tensor cells;  // I32 [T, G, top_k * block], out
};

/// Pools blocks of cells (deepseek4, deepseek.md): per channel, out[n] = sum over the items of
/// block n of softmax(gates + bias) * values. Items are the `ratio` cells of the block;
/// overlapping: the first halves of the cells of the block before (none for block 0) and the second
/// halves of the block's own.
struct CompressArguments {
  /// Pools with one head, F32, of width D, or 2 D when overlapping; stored as KvPart::kValues and
  /// KvPart::kKeys.
  Tensor values, gates;
  Tensor bias;            // F32 [ratio, width of gates] by the cell's place in its block, or absent
  Tensor page_table;      // I32 [sequences, pages per sequence]
  Tensor block_sequence;  // I32 [N]
  Tensor block;           // I32 [N]: cells block * ratio ..
  std::int64_t ratio = 0;
  bool overlapping = false;
  Tensor out;  // F32 [N, D]
};

/// How the rows of a batch use recurrent state. Rows segment_begin[s] .. segment_begin[s + 1] - 1
/// follow each other in one sequence, whose state before them is in slot segment_slot[s] (-1:
/// zero). The state after row t is written to slot row_slot[t] unless that is -1.
struct RecurrentRows {
  Tensor segment_begin;  // I32 [S + 1]
  Tensor segment_slot;   // I32 [S]
  Tensor row_slot;       // I32 [T]
};

/// Causal depthwise convolution (blocks-recurrent.md section 1): out[t][c] = f(sum_j w[c][j]
/// x[t - K + 1 + j][c] + bias[c]), rows before a segment from the state, oldest first.
struct ConvolveArguments {
  Tensor x;       // F32 [T, C]
  Tensor weight;  // F32 [C, K]
  Tensor bias;    // F32 [C] or absent
  bool silu = false;
  /// Not causal: (K - 1) / 2 taps look back and as many ahead, within the segment; no state.
  bool centred = false;
  Tensor state;  // F32 [slots, C, K - 1]
  RecurrentRows rows;
  Tensor out;  // F32 [T, C], not x
};

/// Gated delta rule (blocks-recurrent.md sections 2 and 3), per value head with S [d, dv]:
///   S = exp(decay) S (per key channel when decay has them); e = beta (v - S^T k); S = S + k e^T;
///   out = scale S^T q.
struct DeltaScanArguments {
  Tensor q, k;         // F32 [T, key heads, d]
  Tensor v;            // F32 [T, heads, dv]
  Tensor decay;        // F32 [T, heads] or [T, heads, d]; logarithms, <= 0
  Tensor beta;         // F32 [T, heads]
  bool tiled = false;  // head h reads key head h mod key heads; else h / (heads / key heads)
  float scale = 1;
  Tensor state;  // F32 [slots, heads, d, dv]
  RecurrentRows rows;
  Tensor out;  // F32 [T, heads, dv]
};

/// Mamba-1: S[c][i] = S[c][i] exp(dt_c a[c][i]) + dt_c b_i x_c; out_c = sum_i S[c][i] c_i + d_c
/// x_c.
struct SelectiveScanArguments {
  Tensor x, dt;  // F32 [T, C]; dt after softplus
  Tensor b, c;   // F32 [T, n]
  Tensor a;      // F32 [C, n]
  Tensor d;      // F32 [C]
  Tensor state;  // F32 [slots, 1, C, n]
  RecurrentRows rows;
  Tensor out;  // F32 [T, C]
};

/// Mamba-2: S_h[p][i] = S_h[p][i] exp(dt_h a_h) + dt_h x_h[p] b_g[i]; out_h[p] = sum_i S_h[p][i]
/// c_g[i] + d_h x_h[p]; group g = h / (H / G).
struct StateSpaceScanArguments {
  Tensor x;      // F32 [T, H, P]
  Tensor dt;     // F32 [T, H], after softplus
  Tensor b, c;   // F32 [T, G, n]
  Tensor a, d;   // F32 [H]
  Tensor state;  // F32 [slots, H, P, n]
  RecurrentRows rows;
  Tensor out;  // F32 [T, H, P]
};

/// RWKV-7: s = S a; S[i][j] = S[i][j] w_j + v_i k_j + s_i b_j; out_i = sum_j S[i][j] r_j.
struct RwkvScanArguments {
  Tensor r, w, k, v, a, b;  // F32 [T, H, d]; w are factors
  Tensor state;             // F32 [slots, H, d (value), d (key)]
  RecurrentRows rows;
  Tensor out;  // F32 [T, H, d]
};

/// Hyper-connections (deepseek.md): from z [T, (2 + M) M] the weights of one sublayer.
///   before[j] = sigmoid(z_j scale_0 + base_j) + eps
///   after[d] = 2 sigmoid(z_{M+d} scale_1 + base_{M+d})
///   mix[d][s] = C[s][d], the Sinkhorn-normalised matrix
/// Without `after` and `mix` (the head of the model) z is [T, M], base [M] and scale [1].
struct HyperWeightsArguments {
  Tensor z;      // F32 [T, (2 + M) M]
  Tensor base;   // F32 [(2 + M) M]
  Tensor scale;  // F32 [3]
  std::int32_t iterations = 0;
  float epsilon = 0;
  Tensor before;  // F32 [T, 1, M], out
  Tensor after;   // F32 [T, M, 1], out, or absent
  Tensor mix;     // F32 [T, M, M], out, or absent
};

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;

  // Memory. Throws Error when there is not enough.
  [[nodiscard]] virtual std::unique_ptr<Buffer> allocate(std::size_t bytes,
                                                         MemoryCategory category) = 0;
  /// Bytes allocated now, by category (buffers made by allocate(), packed weights, internal
  /// workspaces).
  [[nodiscard]] virtual std::size_t allocated(MemoryCategory category) const noexcept = 0;
  virtual void write(const Tensor& to, const void* host) noexcept = 0;  // contiguous `to`
  virtual void read(const Tensor& from,
                    void* host) noexcept = 0;  // dense copy of a possibly strided tensor
  virtual void copy(const Tensor& from,
                    const Tensor& to) noexcept = 0;  // same shape and type, both of this backend

  // Weights. Loading may throw Error (out of memory, a type that the backend cannot use).
  [[nodiscard]] virtual std::unique_ptr<Weight> load_weight(const WeightSource& source,
                                                            unsigned use, Residency residency) = 0;
  /// Bytes of this backend's memory that load_weight would take: what a plan is made of.
  [[nodiscard]] virtual std::size_t resident_bytes(const WeightSource& source, unsigned use,
                                                   Residency residency) const noexcept = 0;
  /// Makes the internal workspaces large enough for batches of `rows` rows of at most `columns`
  /// features, so that operations need no allocation. Called once, before the first pass.
  virtual void reserve(std::int64_t rows, std::int64_t columns) = 0;
  /// Makes them large enough for products of a weight, as load_weight() does: what a plan calls
  /// first, so that loading needs no more than was stated.
  virtual void reserve_weight(const WeightSource& /*source*/, unsigned /*use*/,
                              Residency /*residency*/) {}

  /// Runs what was recorded; waits; returns a sentence when something failed (a lost device, a
  /// failed read).
  virtual void submit() noexcept {}
  [[nodiscard]] virtual std::optional<std::string> finish() noexcept { return std::nullopt; }

  // Operations.

  /// out[t] = scale * table[ids[t]]: ids I32 [T], out F32 [T, columns].
  virtual void get_rows(const Weight& table, const Tensor& ids, float scale,
                        const Tensor& out) noexcept = 0;
  /// Several products of the same x F32 [T, columns] in one operation (one quantization of x, one
  /// barrier).
  virtual void matmul(const Tensor& x, std::span<const Projection> projections) noexcept = 0;
  virtual void norm(const NormArguments& arguments) noexcept = 0;
  /// table F32 [T, rotated/2, 2] = (m cos, m sin) of every row's angles. positions I32 [T] or [T,
  /// 4] (axes t, h, w, e); factors F32 [rotated/2] or absent.
  virtual void rope_table(const RopeAngles& angles, const Tensor& positions, const Tensor& factors,
                          const Tensor& table) noexcept = 0;
  /// Rotates the first 2 * table.shape[1] dimensions of every head of x [T, heads, size] in place;
  /// `inverse`: by the negative angles.
  virtual void rope(RopePairing pairing, const Tensor& table, const Tensor& x,
                    bool inverse = false) noexcept = 0;
  /// Writes rows [T, kv_heads, size] into their cells of a pool [pages, kv_heads, P, size],
  /// converting to its type. How a page of a head is laid out inside is the backend's own affair.
  virtual void store_kv(KvPart part, const Tensor& values, const KvRows& rows,
                        const Tensor& pool) noexcept = 0;
  virtual void encode_pages(const EncodePagesArguments& arguments) noexcept = 0;
  virtual void attend(const AttendArguments& arguments) noexcept = 0;
  /// Elementwise on [T, D].
  virtual void activate(Activation activation, const Tensor& x, const Tensor& out) noexcept = 0;
  virtual void activate_xielu(const Xielu& xielu, const Tensor& x, const Tensor& out) noexcept = 0;
  /// out = gating(gate, up).
  virtual void activate_gated(const Gating& gating, const Tensor& gate, const Tensor& up,
                              const Tensor& out) noexcept = 0;
  /// out = a + factor * b, with b [T, D] or one row [1, D] added to all.
  virtual void add(const Tensor& a, const Tensor& b, float factor, const Tensor& out) noexcept = 0;
  /// out = factor * x.
  virtual void scale(const Tensor& x, float factor, const Tensor& out) noexcept = 0;
  /// Row t of x [T, D] or [T, H, D] multiplied by factors[t], in place. factors F32 [T].
  virtual void scale_rows(const Tensor& x, const Tensor& factors) noexcept = 0;
  /// x = min(max(x, -limit), limit), in place.
  virtual void clamp(const Tensor& x, float limit) noexcept = 0;
  /// x = cap tanh(x / cap), in place.
  virtual void softcap(const Tensor& x, float cap) noexcept = 0;
  /// out[i] = x[rows[i]]: rows I32 [N], x and out F32 or I32 [.., D].
  virtual void gather(const Tensor& x, const Tensor& rows, const Tensor& out) noexcept = 0;
  /// out = a * b, where b has the shape of a, or its first dimension is 1 (the same for all rows),
  /// or it lacks the last dimension (one factor per row, or per head of a row).
  virtual void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept = 0;
  /// out[t][o] = sum_i coefficients[t][o][i] x[t][i] (+ out[t][o] when `accumulate`): coefficients
  /// [T, O, I], x [T, I, D], out [T, O, D], not x. Sums the weighted experts of a row, mixes
  /// residual streams.
  virtual void mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
                   const Tensor& out) noexcept = 0;
  /// x scaled to the L2 norm of the same row of `like`, in place: [T, D], or x [T, H, D] and like
  /// [T, D].
  virtual void match_norm(const Tensor& x, const Tensor& like) noexcept = 0;
  /// x = relu(x - (mean + multiplier * deviation)) per row of [T, D], in place; the deviation has
  /// divisor D - 1.
  virtual void keep_largest(const Tensor& x, float multiplier) noexcept = 0;

  // Experts.
  virtual void route(const RouteArguments& arguments) noexcept = 0;
  /// x F32 [T, K, columns], or [T, 1, columns] shared by the K products of a row; ids I32 [T, K],
  /// whose strides may be 0. Rows are grouped by matrix; only matrices in `ids` are read.
  virtual void grouped_matmul(const Tensor& x, const Tensor& ids,
                              std::span<const GroupedProjection> projections) noexcept = 0;
  virtual void transposed_matmul(const TransposedArguments& arguments) noexcept = 0;

  // Attention over chosen cells.
  virtual void attend_selected(const SelectedAttendArguments& arguments) noexcept = 0;
  virtual void select_cells(const SelectCellsArguments& arguments) noexcept = 0;
  virtual void select_blocks(const SelectBlocksArguments& arguments) noexcept = 0;
  virtual void compress(const CompressArguments& arguments) noexcept = 0;

  // Recurrent mixers.
  virtual void convolve(const ConvolveArguments& arguments) noexcept = 0;
  virtual void delta_scan(const DeltaScanArguments& arguments) noexcept = 0;
  virtual void selective_scan(const SelectiveScanArguments& arguments) noexcept = 0;
  virtual void state_space_scan(const StateSpaceScanArguments& arguments) noexcept = 0;
  virtual void rwkv_scan(const RwkvScanArguments& arguments) noexcept = 0;

  virtual void hyper_weights(const HyperWeightsArguments& arguments) noexcept = 0;
};

}  // namespace hearth::compute
