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

#include "spec/kinds.h"
#include "tensor/tensor.h"

namespace hearth::compute {

using spec::Activation;
using spec::NormKind;
using spec::RopeAngles;
using spec::RopePairing;
using tensor::Buffer;
using tensor::DType;
using tensor::Tensor;

/// What memory is used for; every allocation is reported under one of these.
enum class MemoryCategory : std::uint8_t { kWeights, kKv, kState, kBuffers, kOther };
inline constexpr int kMemoryCategories = 5;

/// Largest size of an attention head, of keys and of values: what backends size their workspaces
/// for.
inline constexpr std::int64_t kMaxHeadSize = 1024;

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
/// PyTorch (out, in) order; GGUF shape [columns, rows]), every row a whole number of blocks.
/// `bytes` must outlive the Weight made from it.
struct WeightSource {
  std::string_view name;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::span<const std::byte> bytes;
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

enum class KvPart : std::uint8_t { kKeys, kValues };

/// Which cells of the KV pages each row of a batch touches. A sequence's cell c lives in page
/// page_table[sequence][c / P] at slot c mod P, where P is the page length (the third dimension of
/// the pools).
struct KvRows {
  Tensor page_table;    // I32 [sequences, pages per sequence]
  Tensor row_sequence;  // I32 [T], index into page_table
  Tensor row_cell;      // I32 [T], the cell of the row itself
};

/// Attention of T query rows over paged keys and values (flash-attention style implementations
/// welcome). With s(h, c) = scale q_h . k_c, then
///
///   s = softcap tanh(s / softcap)    if softcap > 0
///   s = s - slope_h |row_cell - c|   if slopes
///
/// out_h = sum over c in [row_begin, row_end) of softmax(s)(c) v_c, where the softmax's denominator
/// includes exp(sink_h) if sinks. Query head h reads KV head h / (heads / kv_heads).
struct AttendArguments {
  Tensor q;       // F32 [T, heads, key size]; sizes up to kMaxHeadSize
  Tensor keys;    // F32 or F16 [pages, kv_heads, P, key size]
  Tensor values;  // F32 or F16 [pages, kv_heads, P, value size]
  KvRows rows;
  Tensor row_begin;  // I32 [T], first visible cell
  Tensor row_end;    // I32 [T], one past the last visible cell; > row_begin
  float scale = 1;
  float softcap = 0;
  Tensor slopes;  // F32 [heads] or absent
  Tensor sinks;   // F32 [heads] or absent
  Tensor out;     // F32 [T, heads, value size]
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
  /// Rotates the first 2 * table.shape[1] dimensions of every head of x [T, heads, size] in place.
  virtual void rope(RopePairing pairing, const Tensor& table, const Tensor& x) noexcept = 0;
  /// Writes rows [T, kv_heads, size] into their cells of a pool [pages, kv_heads, P, size],
  /// converting to its type. How a page of a head is laid out inside is the backend's own affair.
  virtual void store_kv(KvPart part, const Tensor& values, const KvRows& rows,
                        const Tensor& pool) noexcept = 0;
  virtual void attend(const AttendArguments& arguments) noexcept = 0;
  /// Elementwise on [T, D].
  virtual void activate(Activation activation, const Tensor& x, const Tensor& out) noexcept = 0;
  /// out = activation(gate) * up.
  virtual void activate_gated(Activation activation, const Tensor& gate, const Tensor& up,
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
  /// out[i] = x[rows[i]]: rows I32 [N], out F32 [N, D].
  virtual void gather(const Tensor& x, const Tensor& rows, const Tensor& out) noexcept = 0;
};

}  // namespace hearth::compute
