#include "compute/count/count_backend.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace hearth::compute {
namespace {

/// Keeps what is written to it as integers; everything else has no memory.
class CountBuffer final : public Buffer {
 public:
  CountBuffer(std::size_t bytes, std::size_t& counter) : Buffer(bytes), counter_(&counter) {
    *counter_ += bytes;
  }
  ~CountBuffer() override { *counter_ -= size(); }

  void store(const Tensor& to, const void* host) {
    integers_.resize(size() / sizeof(std::int32_t));
    std::memcpy(&integers_[to.offset / sizeof(std::int32_t)], host,
                static_cast<std::size_t>(to.elements()) * sizeof(std::int32_t));
  }
  [[nodiscard]] std::int32_t integer(const Tensor& t, std::int64_t i) const {
    return integers_[t.offset / sizeof(std::int32_t) + static_cast<std::size_t>(i)];
  }

 private:
  std::vector<std::int32_t> integers_;
  std::size_t* counter_;
};

class CountWeight final : public Weight {
 public:
  explicit CountWeight(const WeightSource& source) : Weight(source) {}
};

class Counter final : public CountBackend {
 public:
  explicit Counter(const Backend& target) : target_(target) {}
  [[nodiscard]] std::string_view name() const noexcept override { return "count"; }
  [[nodiscard]] const Counts& counts() const noexcept override { return counts_; }
  void reset_counts() noexcept override {
    counts_ = {};
    grouped_ = grouped_rows_ = 0;
  }
  [[nodiscard]] std::span<const WeightLoad> loads() const noexcept override { return loads_; }

  std::unique_ptr<Buffer> allocate(std::size_t bytes, MemoryCategory category) override {
    return std::make_unique<CountBuffer>(bytes, allocated_[static_cast<std::size_t>(category)]);
  }
  [[nodiscard]] std::size_t allocated(MemoryCategory category) const noexcept override {
    return allocated_[static_cast<std::size_t>(category)];
  }
  void write(const Tensor& to, const void* host) noexcept override {
    if (to.dtype == DType::kI32) static_cast<CountBuffer*>(to.buffer)->store(to, host);
  }
  void read(const Tensor& /*from*/, void* /*host*/) noexcept override {}
  void copy(const Tensor& /*from*/, const Tensor& /*to*/) noexcept override {}

  std::unique_ptr<Weight> load_weight(const WeightSource& source, unsigned use,
                                      Residency residency) override {
    allocated_[static_cast<std::size_t>(MemoryCategory::kWeights)] +=
        resident_bytes(source, use, residency);
    loads_.push_back({source, use, residency});
    return std::make_unique<CountWeight>(source);
  }
  [[nodiscard]] std::size_t resident_bytes(const WeightSource& source, unsigned use,
                                           Residency residency) const noexcept override {
    return target_.resident_bytes(source, use, residency);
  }
  void reserve(std::int64_t /*rows*/, std::int64_t /*columns*/) override {}

  void get_rows(const Weight& table, const Tensor& ids, float /*scale*/,
                const Tensor& /*out*/) noexcept override {
    ++counts_.operations;
    const auto row = table.source().bytes.size() / static_cast<std::size_t>(table.rows());
    counts_.weight_bytes += row * static_cast<std::size_t>(ids.shape[0]);
  }
  void matmul(const Tensor& x, std::span<const Projection> projections) noexcept override {
    ++counts_.operations;
    ++counts_.products;
    for (const Projection& p : projections) {
      count_product(*p.weight, x.shape[0] * p.weight->rows() * p.weight->columns(),
                    p.weight->source().bytes.size());
    }
  }
  void attend(const AttendArguments& a) noexcept override {
    if (!a.part.running || a.part.last) count_attention(a.out);  // parts are one operation
    const auto row_sizes = static_cast<std::uint64_t>(a.q.shape[2] + a.out.shape[2]);
    for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
      const auto cells = static_cast<std::uint64_t>(attended(a, t).count());
      counts_.attention_multiply_adds +=
          cells * static_cast<std::uint64_t>(a.q.shape[1]) * row_sizes;
      // Rows of one pass share what they read: only the widest range of a run of rows is counted.
      if (t + 1 == a.q.shape[0] ||
          index(a.rows.row_sequence, t) != index(a.rows.row_sequence, t + 1)) {
        counts_.kv_bytes_read += attended_bytes(a, t);
      }
    }
  }
  void encode_pages(const EncodePagesArguments& a) noexcept override {
    ++counts_.operations;
    const std::int64_t heads = a.pairs.shape[0] * a.raw.shape[1];
    const auto values = static_cast<std::uint64_t>(heads * a.raw.shape[2] * a.raw.shape[3]);
    counts_.stored_values += values;
    counts_.kv_bytes_read += tensor::row_bytes(a.raw.dtype, values);
    counts_.kv_bytes_written += static_cast<std::uint64_t>(heads * a.coded.shape[2]);
  }
  void store_kv(KvPart /*part*/, const Tensor& values, const KvRows& /*rows*/,
                const Tensor& pool) noexcept override {
    ++counts_.operations;
    counts_.stored_values += static_cast<std::uint64_t>(values.elements());
    counts_.kv_bytes_written +=
        tensor::row_bytes(pool.dtype, static_cast<std::size_t>(values.elements()));
  }

  void norm(const NormArguments& a) noexcept override { count_values(a.out); }
  void rope_table(const RopeAngles& /*angles*/, const Tensor& /*positions*/,
                  const Tensor& /*factors*/, const Tensor& /*table*/) noexcept override {
    ++counts_.operations;
  }
  void rope(RopePairing /*pairing*/, const Tensor& /*table*/, const Tensor& x,
            bool /*inverse*/) noexcept override {
    count_values(x);
  }
  void activate_xielu(const Xielu& /*xielu*/, const Tensor& /*x*/,
                      const Tensor& out) noexcept override {
    count_values(out);
  }
  void activate(Activation /*activation*/, const Tensor& /*x*/,
                const Tensor& out) noexcept override {
    count_values(out);
  }
  void activate_gated(const Gating& /*gating*/, const Tensor& /*gate*/, const Tensor& /*up*/,
                      const Tensor& out) noexcept override {
    count_values(out);
  }
  void add(const Tensor& /*a*/, const Tensor& /*b*/, float /*factor*/,
           const Tensor& out) noexcept override {
    count_values(out);
  }
  void scale(const Tensor& /*x*/, float /*factor*/, const Tensor& out) noexcept override {
    count_values(out);
  }
  void scale_rows(const Tensor& x, const Tensor& /*factors*/) noexcept override { count_values(x); }
  void clamp(const Tensor& x, float /*limit*/) noexcept override { count_values(x); }
  void softcap(const Tensor& x, float /*cap*/) noexcept override { count_values(x); }
  void gather(const Tensor& /*x*/, const Tensor& /*rows*/, const Tensor& out) noexcept override {
    count_values(out);
  }

  void multiply(const Tensor& /*a*/, const Tensor& /*b*/, const Tensor& out) noexcept override {
    count_values(out);
  }
  void mix(const Tensor& /*coefficients*/, const Tensor& x, bool /*accumulate*/,
           const Tensor& out) noexcept override {
    count_values(out);
    // Others read a value for each that they write.
    const auto more = std::max<std::int64_t>(0, x.elements() - out.elements());
    counts_.row_values += static_cast<std::uint64_t>(more / 2);
  }
  void match_norm(const Tensor& x, const Tensor& /*like*/) noexcept override { count_values(x); }
  void keep_largest(const Tensor& x, float /*multiplier*/) noexcept override { count_values(x); }
  void route(const RouteArguments& a) noexcept override { count_values(a.logits); }
  void grouped_matmul(const Tensor& /*x*/, const Tensor& ids,
                      std::span<const GroupedProjection> projections) noexcept override {
    ++counts_.operations;
    ++counts_.products;
    // Which matrices a router will choose is not known; as many different ones as can be.
    const std::int64_t products = ids.shape[0] * ids.shape[1];
    for (const GroupedProjection& p : projections) {
      const std::int64_t multiply_adds = products * p.weight->rows() * p.weight->columns();
      count_product(*p.weight, multiply_adds,
                    p.weight->source().bytes.size() /
                        static_cast<std::size_t>(p.weight->matrices()) *
                        static_cast<std::size_t>(std::min(products, p.weight->matrices())));
      if (ids.strides[0] == 0) continue;  // all of them, in every row: heads, not experts
      counts_.by_type[static_cast<std::size_t>(p.weight->source().dtype)].grouped_multiply_adds +=
          static_cast<std::uint64_t>(multiply_adds);
      grouped_ += static_cast<double>(multiply_adds);
      grouped_rows_ += static_cast<double>(multiply_adds) * static_cast<double>(products) /
                       static_cast<double>(p.weight->matrices());
    }
    if (grouped_ > 0) counts_.grouped_rows = grouped_rows_ / grouped_;
  }
  void transposed_matmul(const TransposedArguments& a) noexcept override {
    ++counts_.operations;
    ++counts_.products;
    const std::int64_t products = a.ids.shape[0] * a.ids.shape[1];
    const Weight& weight = *a.weight;
    // Every matrix of the stack is read once, but only its first rows.
    const double read = static_cast<double>(a.x.shape[2] * a.ids.shape[1]) /
                        static_cast<double>(weight.rows() * weight.matrices());
    count_product(
        weight, products * a.x.shape[2] * weight.columns(),
        static_cast<std::size_t>(read * static_cast<double>(weight.source().bytes.size())));
  }
  void attend_selected(const SelectedAttendArguments& a) noexcept override {
    count_attention(a.out);
    for (const KvSource& source : a.sources) {
      const std::uint64_t cell_bytes = head_bytes(source.keys) + head_bytes(source.values);
      for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
        const std::int64_t cells = source.cells
                                       ? source.cells.shape[1] * source.cells.shape[2]
                                       : index(source.row_end, t) - index(source.row_begin, t);
        counts_.attention_multiply_adds +=
            static_cast<std::uint64_t>(cells * a.q.shape[1] * (a.q.shape[2] + a.out.shape[2]));
        counts_.kv_bytes_read += static_cast<std::uint64_t>(cells) * cell_bytes;
      }
    }
  }
  void select_cells(const SelectCellsArguments& a) noexcept override {
    ++counts_.operations;
    for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
      const std::int64_t cells = index(a.row_end, t) - index(a.row_begin, t);
      count_scores(cells, a.q, a.keys);
    }
  }
  void select_blocks(const SelectBlocksArguments& a) noexcept override {
    ++counts_.operations;
    for (std::int64_t t = 0; t < a.q.shape[0]; ++t) count_scores(index(a.row_end, t), a.q, a.keys);
  }
  void compress(const CompressArguments& a) noexcept override {
    ++counts_.operations;
    const std::int64_t cells = a.out.shape[0] * a.ratio * (a.overlapping ? 2 : 1);
    counts_.kv_bytes_read += static_cast<std::uint64_t>(cells * a.out.shape[1] * 2) * sizeof(float);
  }
  void convolve(const ConvolveArguments& a) noexcept override {
    count_state(a.state, a.rows);
    counts_.row_values += static_cast<std::uint64_t>(a.out.elements() * (a.weight.shape[1] + 1));
  }
  void delta_scan(const DeltaScanArguments& a) noexcept override {
    count_state(a.state, a.rows);
    counts_.scan_multiply_adds += 3 * state_products(a.state, a.v);
  }
  void selective_scan(const SelectiveScanArguments& a) noexcept override {
    count_state(a.state, a.rows);
    counts_.scan_multiply_adds += 2 * state_products(a.state, a.x);
  }
  void state_space_scan(const StateSpaceScanArguments& a) noexcept override {
    count_state(a.state, a.rows);
    counts_.scan_multiply_adds += 2 * state_products(a.state, a.x);
  }
  void rwkv_scan(const RwkvScanArguments& a) noexcept override {
    count_state(a.state, a.rows);
    counts_.scan_multiply_adds += 3 * state_products(a.state, a.v);
  }
  void hyper_weights(const HyperWeightsArguments& /*arguments*/) noexcept override {
    ++counts_.operations;
  }

 private:
  void count_product(const Weight& weight, std::int64_t multiply_adds, std::size_t bytes) {
    counts_.weight_multiply_adds += static_cast<std::uint64_t>(multiply_adds);
    counts_.weight_bytes += bytes;
    TypeCounts& type = counts_.by_type[static_cast<std::size_t>(weight.source().dtype)];
    type.multiply_adds += static_cast<std::uint64_t>(multiply_adds);
    type.bytes += bytes;
  }
  void count_values(const Tensor& written) {
    ++counts_.operations;
    counts_.row_values += static_cast<std::uint64_t>(written.elements());
  }
  void count_attention(const Tensor& out) {
    ++counts_.operations;
    ++counts_.attentions;
    counts_.attention_values += static_cast<std::uint64_t>(out.elements());
  }
  /// Of a cell of one head of a pool; of none: 0.
  static std::uint64_t head_bytes(const Tensor& pool) {
    return pool ? tensor::row_bytes(pool.dtype, static_cast<std::size_t>(pool.shape[3])) : 0;
  }
  struct Cells {
    std::int64_t begin = 0, end = 0;
    [[nodiscard]] std::int64_t count() const noexcept { return end - begin; }
  };
  /// The cells that row t sees, in this part of attend().
  static Cells attended(const AttendArguments& a, std::int64_t t) {
    Cells cells{index(a.row_begin, t), index(a.row_end, t)};
    if (!a.part.running) return cells;
    cells.begin = std::max(cells.begin, a.part.begin);
    cells.end = std::max(cells.begin, std::min(cells.end, a.part.end));
    return cells;
  }
  /// Of keys and values that row t sees, by the kind of their pages.
  static std::uint64_t attended_bytes(const AttendArguments& a, std::int64_t t) {
    const std::int64_t cells = a.keys.shape[2];
    const auto [begin, end] = attended(a, t);
    const std::uint64_t raw_cell =
        static_cast<std::uint64_t>(a.keys.shape[1]) * (head_bytes(a.keys) + head_bytes(a.values));
    if (!a.coded_keys) return static_cast<std::uint64_t>(end - begin) * raw_cell;
    const std::int64_t coded_page =
        a.keys.shape[1] * (a.coded_keys.shape[2] + (a.coded_values ? a.coded_values.shape[2] : 0));
    const std::int64_t table = index(a.rows.row_sequence, t) * a.rows.page_table.strides[0];
    std::uint64_t bytes = 0;
    for (std::int64_t page = begin / cells; page * cells < end; ++page) {
      const auto seen = static_cast<std::uint64_t>(std::min(end, (page + 1) * cells) -
                                                   std::max(begin, page * cells));
      const bool coded = (index(a.rows.page_table, table + page) & kCodedPage) != 0;
      bytes += coded ? static_cast<std::uint64_t>(coded_page) : seen * raw_cell;
    }
    return bytes;
  }
  /// Elements of one slot's state, once per row.
  static std::uint64_t state_products(const Tensor& state, const Tensor& x) {
    return static_cast<std::uint64_t>(state.elements() / std::max<std::int64_t>(1, state.shape[0]) *
                                      x.shape[0]);
  }
  /// Every segment reads its state once and writes it once.
  void count_state(const Tensor& state, const RecurrentRows& rows) {
    ++counts_.operations;
    if (!state) return;
    const std::int64_t floats = state.elements() / std::max<std::int64_t>(1, state.shape[0]);
    counts_.state_bytes +=
        2 * static_cast<std::uint64_t>(floats * rows.segment_slot.shape[0]) * sizeof(float);
  }
  void count_scores(std::int64_t cells, const Tensor& q, const Tensor& keys) {
    const auto size = static_cast<std::uint64_t>(cells * q.shape[2]);
    counts_.attention_multiply_adds += size * static_cast<std::uint64_t>(q.shape[1]);
    counts_.kv_bytes_read += tensor::row_bytes(keys.dtype, size);
  }
  static std::int32_t index(const Tensor& t, std::int64_t i) {
    return static_cast<CountBuffer*>(t.buffer)->integer(t, i);
  }

  const Backend& target_;
  std::array<std::size_t, kMemoryCategories> allocated_{};
  Counts counts_;
  double grouped_ = 0, grouped_rows_ = 0;  // multiply-adds, and weighted by them
  std::vector<WeightLoad> loads_;
};

}  // namespace

std::unique_ptr<CountBackend> make_count_backend(const Backend& target) {
  return std::make_unique<Counter>(target);
}

}  // namespace hearth::compute
