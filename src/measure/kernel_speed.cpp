#include "measure/kernel_speed.h"

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <utility>

#include "compute/cpu/cpu_backend.h"
#include "generate/sampler.h"
#include "machine/memory.h"
#include "measure/random_blocks.h"
#include "measure/samples.h"
#include "support/error.h"

namespace hearth::measure {
namespace {

using compute::Backend;
using compute::KvPart;
using compute::KvRows;
using compute::MemoryCategory;
using compute::Projection;
using compute::Weight;
using tensor::Buffer;
using tensor::DType;
using tensor::Tensor;

constexpr std::array<DType, 14> kFormats = {
    DType::kQ4_K, DType::kQ6_K, DType::kQ8_0,   DType::kF32,  DType::kF16,
    DType::kQ4_0, DType::kQ5_K, DType::kIQ4_XS, DType::kBF16, DType::kMXFP4,
    DType::kQ3_K, DType::kQ2_K, DType::kQ5_0,   DType::kIQ3_S};

constexpr std::int64_t kRows = 512;    // of a prompt
constexpr std::int64_t kWidth = 2048;  // matrices are square
constexpr std::int64_t kPage = 64;     // cells, as in state::MemoryPool
constexpr std::int64_t kCells = 4096;  // of a long context
constexpr std::int64_t kHeads = 16;    // of attention, 128 wide
constexpr std::int64_t kKvHeads = 8;   // of the memory that it reads
constexpr std::int64_t kHeadSize = 128;
constexpr std::int64_t kExperts = 32;
constexpr std::int64_t kUsed = 8;      // of them by a token that is decoded
constexpr std::int64_t kScanned = 32;  // rows of a recurrent mixer
constexpr std::int64_t kVocabulary = 1 << 16;
// Experts, activations, keys and values, a format's blocks before they are packed.
constexpr std::size_t kBesides = std::size_t{240} << 20;

/// The mean of the middle half: what many of them take together, without those that others
/// disturbed. Precondition: not empty.
double usual(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t out = values.size() / 4;
  double sum = 0;
  for (std::size_t i = out; i < values.size() - out; ++i) sum += values[i];
  return sum / static_cast<double>(values.size() - 2 * out);
}

/// Tensors of a backend, all of them kept.
class KernelBench {
 public:
  explicit KernelBench(const KernelPlan& plan)
      : plan_(plan),
        backend_(compute::make_cpu_backend(
            {.threads = plan.threads, .exact = false, .instruction_set = plan.instruction_set})) {
    backend_->reserve(kRows, kWidth);
  }
  KernelSpeeds run();

 private:
  /// One format: enough matrices to be larger than a share of the caches.
  struct Format {
    DType dtype;
    std::vector<std::unique_ptr<Weight>> weights;
    double bytes = 0;  // of one weight, as stored
    std::vector<double> joint, single, prefill;
  };
  struct Memory {
    Tensor keys, values, table;
  };

  void check_cancelled() const {
    if (plan_.cancel != nullptr && plan_.cancel->load(std::memory_order_relaxed)) {
      throw Error("interrupted", "", ExitCode::kInterrupted);
    }
  }
  [[nodiscard]] bool late() const { return now() - start_ > plan_.seconds; }
  Tensor make(DType dtype, std::initializer_list<std::int64_t> shape,
              MemoryCategory category = MemoryCategory::kBuffers) {
    std::size_t elements = 1;
    for (const std::int64_t size : shape) elements *= static_cast<std::size_t>(size);
    buffers_.push_back(backend_->allocate(tensor::row_bytes(dtype, elements), category));
    return Tensor::contiguous(buffers_.back().get(), 0, dtype, shape);
  }
  Tensor random(std::int64_t rows, std::int64_t columns) {
    std::vector<float> values(static_cast<std::size_t>(rows * columns));
    for (float& value : values) value = spread_(random_);
    const Tensor to = make(DType::kF32, {rows, columns});
    backend_->write(to, values.data());
    return to;
  }
  Tensor integers(const std::vector<std::int32_t>& values) {
    const Tensor to = make(DType::kI32, {static_cast<std::int64_t>(values.size())});
    backend_->write(to, values.data());
    return to;
  }
  std::unique_ptr<Weight> load(DType dtype, std::int64_t rows, std::int64_t columns,
                               std::int64_t matrices);

  void make_formats();
  void make_attention();
  void make_experts();
  void make_scan();
  void wake();
  void decode_products();
  void prefill_products(Format& format);
  void small_operations();
  void row_operations();
  double attend(const Memory& memory, std::int64_t query_heads, std::int64_t depth,
                std::int64_t rows);
  void attention();
  double run_experts(const Tensor& ids);
  void decode_experts();
  void scan();
  void sampling();
  [[nodiscard]] KernelSpeeds result() const;

  const KernelPlan& plan_;
  const double start_ = now();
  std::unique_ptr<Backend> backend_;
  std::minstd_rand random_{1};
  std::uniform_real_distribution<float> spread_{-1.0F, 1.0F};
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<std::byte> source_;
  std::vector<Format> formats_;
  Tensor x_, wide_, other_, out_;  // [kRows, kWidth], [kRows, 2 kWidth] twice, the same for results
  Tensor inner_, results_;         // of experts: F32 [kRows, 4 kWidth], [kRows, 8 kWidth]
  Memory memory_;
  Tensor zeros_;  // I32 [kRows]
  compute::DeltaScanArguments delta_;
  std::unique_ptr<Weight> up_, down_;  // stacks of experts
  Tensor chosen_;                      // I32 [1, kUsed]
  std::vector<float> logits_;
  double packed_bytes_ = 0, packing_seconds_ = 0;

  // Seconds, by round.
  std::vector<double> operation_, attention_, long_single_, long_grouped_, rows_, stored_;
  std::vector<double> expert_decode_;
  std::vector<double> prompt_attention_, long_attention_, scan_, sampling_;
  static constexpr std::array<std::int64_t, 3> kExpertRows = {4, 16, 64};
  std::array<std::vector<double>, kExpertRows.size()> expert_seconds_;
  std::array<Tensor, kExpertRows.size()> expert_ids_;
};

/// `matrices` matrices of random blocks, packed. Sources are not read again after packing, so they
/// share their memory.
std::unique_ptr<Weight> KernelBench::load(DType dtype, std::int64_t rows, std::int64_t columns,
                                          std::int64_t matrices) {
  const std::size_t bytes =
      tensor::row_bytes(dtype, static_cast<std::size_t>(rows * columns * matrices));
  source_.resize(std::max(source_.size(), bytes));
  compute::WeightSource source{"random", dtype, rows, columns, std::span(source_).first(bytes),
                               matrices};
  const double start = now();
  auto weight = backend_->load_weight(source, compute::kUseMatmul, compute::Residency::kPacked);
  packing_seconds_ += now() - start;
  packed_bytes_ += static_cast<double>(bytes);
  return weight;
}

void KernelBench::make_formats() {
  for (const DType dtype : plan_.formats) {
    if (!formats_.empty() && late()) return;
    check_cancelled();
    Format format;
    format.dtype = dtype;
    const std::size_t bytes = tensor::row_bytes(dtype, std::size_t{kWidth} * kWidth);
    format.bytes = static_cast<double>(bytes);
    source_.resize(std::max(source_.size(), bytes));
    fill_random_blocks(dtype, 1, std::span(source_).first(bytes));
    const std::size_t count = std::max<std::size_t>(2, (plan_.format_bytes + bytes - 1) / bytes);
    for (std::size_t i = 0; i < count; ++i)
      format.weights.push_back(load(dtype, kWidth, kWidth, 1));
    formats_.push_back(std::move(format));
  }
}

void KernelBench::make_attention() {
  constexpr std::int64_t kPages = kCells / kPage + kRows / kPage;
  memory_.keys = make(DType::kF16, {kPages, kKvHeads, kPage, kHeadSize}, MemoryCategory::kKv);
  memory_.values = make(DType::kF16, {kPages, kKvHeads, kPage, kHeadSize}, MemoryCategory::kKv);
  std::vector<std::int32_t> pages(kPages);
  for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<std::int32_t>(i);
  memory_.table = make(DType::kI32, {1, kPages});
  backend_->write(memory_.table, pages.data());
  zeros_ = integers(std::vector<std::int32_t>(kRows));
  for (std::int64_t first = 0; first < kPages * kPage; first += kRows) {
    std::vector<std::int32_t> cells(kRows);
    for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<std::int32_t>(first + i);
    const KvRows rows{memory_.table, zeros_, integers(cells)};
    const Tensor values = x_.columns(0, kKvHeads * kHeadSize).split_last(kKvHeads);
    backend_->store_kv(KvPart::kKeys, values, rows, memory_.keys);
    backend_->store_kv(KvPart::kValues, values, rows, memory_.values);
  }
}

/// Two stacks, as of one layer: in and out of a width that is half the model's. Routers choose
/// unevenly; here every product takes any expert.
void KernelBench::make_experts() {
  const DType dtype = formats_[0].dtype;
  const std::size_t bytes = tensor::row_bytes(dtype, std::size_t{kWidth} / 2 * kWidth * kExperts);
  source_.resize(std::max(source_.size(), bytes));
  fill_random_blocks(dtype, 1, std::span(source_).first(bytes));
  up_ = load(dtype, kWidth / 2, kWidth, kExperts);
  down_ = load(dtype, kWidth, kWidth / 2, kExperts);
  std::uniform_int_distribution<std::int32_t> any(0, kExperts - 1);
  for (std::size_t i = 0; i < kExpertRows.size(); ++i) {
    const std::int64_t products = kExpertRows[i] * kExperts;
    const std::int64_t used = std::max<std::int64_t>(1, products / kRows);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(products));
    for (std::int32_t& id : ids) id = any(random_);
    expert_ids_[i] = make(DType::kI32, {products / used, used});
    backend_->write(expert_ids_[i], ids.data());
  }
  chosen_ = make(DType::kI32, {1, kUsed});
}

/// Threads that slept take a while to come back.
void KernelBench::wake() {
  const Tensor out = out_.columns(0, kWidth).rows(0, 8);
  const Projection any{formats_.back().weights[0].get(), out, {}, 1.0F};
  backend_->matmul(x_.rows(0, 8), {&any, 1});
}

/// The gated delta rule, of all recurrent mixers the one with most arithmetic.
void KernelBench::make_scan() {
  constexpr std::int64_t kHeadsOfScan = kWidth / kHeadSize;
  const auto part = [&](const Tensor& of) {
    return of.rows(0, kScanned).columns(0, kWidth).split_last(kHeadsOfScan);
  };
  delta_.q = part(wide_);
  delta_.k = part(other_);
  delta_.v = part(x_);
  delta_.out = part(out_);
  std::vector<float> decay(kScanned * kHeadsOfScan, -0.1F);
  delta_.decay = make(DType::kF32, {kScanned, kHeadsOfScan});
  backend_->write(delta_.decay, decay.data());
  delta_.beta = delta_.decay;
  delta_.scale = 0.09F;
  delta_.state = make(DType::kF32, {1, kHeadsOfScan, kHeadSize, kHeadSize});
  std::vector<std::int32_t> slots(kScanned, -1);
  slots.back() = 0;
  delta_.rows = {integers({0, static_cast<std::int32_t>(kScanned)}), integers({-1}),
                 integers(slots)};
}

void KernelBench::scan() {
  scan_.push_back(seconds_of([&] { backend_->delta_scan(delta_); }));
}

/// One row: all matrices of a format in one operation; then, when those of other formats have taken
/// their place in the caches, one by one. The difference is what an operation costs besides its
/// bytes.
void KernelBench::decode_products() {
  const Tensor x = x_.rows(0, 1);
  const Tensor out = out_.rows(0, 1).columns(0, kWidth);
  std::vector<Projection> all;
  for (const bool joint : {true, false}) {
    for (Format& format : formats_) {
      all.clear();
      for (const auto& weight : format.weights) all.push_back({weight.get(), out, {}, 1.0F});
      if (joint) {
        format.joint.push_back(seconds_of([&] { backend_->matmul(x, all); }));
        continue;
      }
      format.single.push_back(seconds_of([&] {
        for (const Projection& projection : all) backend_->matmul(x, {&projection, 1});
      }));
    }
  }
}

void KernelBench::prefill_products(Format& format) {
  const std::array<Projection, 2> both = {
      {{format.weights[0].get(), out_.columns(0, kWidth), {}, 1.0F},
       {format.weights[1].get(), out_.columns(kWidth, kWidth), {}, 1.0F}}};
  format.prefill.push_back(seconds_of([&] { backend_->matmul(x_, both); }));
}

/// The mean of some operations on one row.
void KernelBench::small_operations() {
  constexpr int kTimes = 16;
  const Tensor x = x_.rows(0, 1);
  const Tensor y = out_.rows(0, 1).columns(0, kWidth);
  compute::NormArguments norm;
  norm.epsilon = 1e-6F;
  norm.x = x;
  norm.out = y;
  const double seconds = seconds_of([&] {
    for (int i = 0; i < kTimes; ++i) {
      backend_->norm(norm);
      backend_->add(x, y, 1.0F, y);
      backend_->activate_gated({}, wide_.rows(0, 1), other_.rows(0, 1), out_.rows(0, 1));
    }
  });
  operation_.push_back(seconds / (3 * kTimes));
}

/// What a layer does with a prompt's rows besides products: norms and sums of the stream, and an
/// activation of what is about twice to four times as wide.
void KernelBench::row_operations() {
  compute::NormArguments norm;
  norm.epsilon = 1e-6F;
  norm.x = x_;
  norm.out = out_.columns(0, kWidth);
  rows_.push_back(seconds_of([&] {
    backend_->norm(norm);
    backend_->add(x_, norm.out, 1.0F, norm.out);
    backend_->activate_gated({}, wide_, other_, out_);
  }));
  std::vector<std::int32_t> cells(kRows);
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<std::int32_t>(i);
  const KvRows where{memory_.table, zeros_, integers(cells)};
  const Tensor values = x_.columns(0, kKvHeads * kHeadSize).split_last(kKvHeads);
  stored_.push_back(seconds_of([&] {
    backend_->store_kv(KvPart::kKeys, values, where, memory_.keys);
    backend_->store_kv(KvPart::kValues, values, where, memory_.values);
  }));
  buffers_.pop_back();
}

/// Seconds of attention of `rows` rows behind `depth` cells.
double KernelBench::attend(const Memory& memory, std::int64_t query_heads, std::int64_t depth,
                           std::int64_t rows) {
  compute::AttendArguments a;
  a.q = wide_.rows(0, rows).columns(0, query_heads * kHeadSize).split_last(query_heads);
  a.out = out_.rows(0, rows).columns(0, query_heads * kHeadSize).split_last(query_heads);
  a.keys = memory.keys;
  a.values = memory.values;
  std::vector<std::int32_t> cells, ends;
  for (std::int64_t i = 0; i < rows; ++i) {
    cells.push_back(static_cast<std::int32_t>(depth + i));
    ends.push_back(static_cast<std::int32_t>(depth + i + 1));
  }
  a.rows = {memory.table, zeros_.rows(0, rows), integers(cells)};
  a.row_begin = zeros_.rows(0, rows);
  a.row_end = integers(ends);
  a.scale = 0.09F;
  const double seconds = seconds_of([&] { backend_->attend(a); });
  buffers_.resize(buffers_.size() - 2);
  return seconds;
}

void KernelBench::attention() {
  attention_.push_back(attend(memory_, kHeads, 16, 1));
  long_single_.push_back(attend(memory_, kKvHeads, kCells - 1, 1));
  // What the first one left in a cache is flushed by the products of other formats.
  decode_products();
  long_grouped_.push_back(attend(memory_, 4 * kKvHeads, kCells - 1, 1));
  prompt_attention_.push_back(attend(memory_, kHeads, 0, kRows));
  long_attention_.push_back(attend(memory_, kHeads, kCells, kRows / 8));
}

/// Seconds of the products of a layer's rows with the experts in `ids`.
double KernelBench::run_experts(const Tensor& ids) {
  const std::int64_t rows = ids.shape[0];
  const std::int64_t used = ids.shape[1];
  const Tensor x = x_.rows(0, rows).split_last(1);
  const Tensor inner = inner_.rows(0, rows).columns(0, used * kWidth / 2).split_last(used);
  const Tensor out = results_.rows(0, rows).columns(0, used * kWidth).split_last(used);
  const compute::GroupedProjection up{up_.get(), inner, {}, {}};
  const compute::GroupedProjection down{down_.get(), out, {}, {}};
  return seconds_of([&] {
    backend_->grouped_matmul(x, ids, {&up, 1});
    backend_->grouped_matmul(inner, ids, {&down, 1});
  });
}

/// One token, which takes other experts each time.
void KernelBench::decode_experts() {
  std::array<std::int32_t, kExperts> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
  std::shuffle(all.begin(), all.end(), random_);
  backend_->write(chosen_, all.data());
  expert_decode_.push_back(run_experts(chosen_));
}

void KernelBench::sampling() {
  generate::SamplerSettings settings;
  settings.seed = 1;
  generate::Sampler sampler(settings, {kVocabulary, 1, {}, {}});
  sampling_.push_back(seconds_of([&] { (void)sampler.sample(logits_); }));
}

KernelSpeeds KernelBench::run() {
  x_ = random(kRows, kWidth);
  wide_ = random(kRows, 2 * kWidth);
  other_ = random(kRows, 2 * kWidth);
  out_ = random(kRows, 2 * kWidth);
  inner_ = random(kRows, kUsed * kWidth / 2);
  results_ = make(DType::kF32, {kRows, kUsed * kWidth});
  logits_.resize(kVocabulary);
  for (float& logit : logits_) logit = 4 * spread_(random_);
  make_formats();
  make_attention();
  make_experts();
  make_scan();
  for (int round = 0; round < plan_.rounds && (round == 0 || !late()); ++round) {
    if (plan_.on_progress) plan_.on_progress("kernels, round " + std::to_string(round + 1));
    check_cancelled();
    wake();
    decode_products();
    decode_experts();
    small_operations();
    attention();
    for (Format& format : formats_) {
      if (format.prefill.empty() || !late()) prefill_products(format);
    }
    row_operations();
    for (std::size_t i = 0; i < kExpertRows.size(); ++i) {
      expert_seconds_[i].push_back(run_experts(expert_ids_[i]));
    }
    scan();
    sampling();
  }
  return result();
}

KernelSpeeds KernelBench::result() const {
  KernelSpeeds speeds;
  std::vector<double> overheads;
  for (const Format& format : formats_) {
    const double matrices = static_cast<double>(format.weights.size());
    const double joint = usual(format.joint);
    overheads.push_back((usual(format.single) - joint) / (matrices - 1));
    machine::KernelSpeed speed;
    speed.format = tensor::name(format.dtype);
    speed.decode_bytes_per_second = matrices * format.bytes / joint;
    speed.prefill_multiply_adds =
        static_cast<double>(2 * kWidth * kWidth * kRows) / usual(format.prefill);
    speeds.kernels.push_back(std::move(speed));
  }
  machine::EngineSpeed& engine = speeds.engine;
  engine.product_seconds = std::max(0.0, usual(overheads));
  engine.operation_seconds = usual(operation_);
  engine.attention_seconds = usual(attention_);
  constexpr double kKvValues = 2 * kCells * kKvHeads * kHeadSize;
  // When something else takes the processor meanwhile, the short attention may take longer than the
  // long one; a tenth of the long one is then left for its cells.
  const double long_single = usual(long_single_);
  const double one = std::max(long_single - engine.attention_seconds, long_single / 10);
  const double four = usual(long_grouped_) - engine.attention_seconds;
  // One multiply-add per value with as many heads of queries, four with four times as many.
  const double multiplying = std::max(0.0, four - one) / 3;
  if (multiplying > 0) engine.kv_multiply_adds = kKvValues / multiplying;
  engine.kv_bytes_per_second = 2 * kKvValues / std::max(one / 4, one - multiplying);
  engine.row_values_per_second = static_cast<double>(4 * kWidth * kRows) / usual(rows_);
  engine.stored_values_per_second =
      static_cast<double>(2 * kKvHeads * kHeadSize * kRows) / usual(stored_);
  const auto products = [](double rows, double depth) {
    return 2 * kHeads * kHeadSize * (rows * depth + rows * (rows + 1) / 2);
  };
  engine.attention_multiply_adds = products(kRows / 8, kCells) / usual(long_attention_);
  const double rest =
      usual(prompt_attention_) - products(kRows, 0) / engine.attention_multiply_adds;
  if (rest > 0) {
    engine.attention_values_per_second = static_cast<double>(kRows * kHeads * kHeadSize) / rest;
  }
  for (std::size_t i = 0; i < kExpertRows.size(); ++i) {
    const double done = static_cast<double>(kExpertRows[i] * kExperts * kWidth * kWidth);
    engine.experts.push_back(
        {static_cast<double>(kExpertRows[i]),
         done / usual(expert_seconds_[i]) / speeds.kernels[0].prefill_multiply_adds});
  }
  const double read =
      static_cast<double>(2 * kUsed) * static_cast<double>(up_->source().bytes.size()) / kExperts;
  engine.expert_decode_fraction =
      read / usual(expert_decode_) / speeds.kernels[0].decode_bytes_per_second;
  // Three per value of the state and row, as compute/count has it.
  engine.scan_multiply_adds = static_cast<double>(3 * kScanned * kWidth * kHeadSize) / usual(scan_);
  engine.logits_per_second = kVocabulary / usual(sampling_);
  engine.pack_bytes_per_second = packed_bytes_ / packing_seconds_;
  return speeds;
}

}  // namespace

std::span<const DType> measured_formats() noexcept { return kFormats; }

std::size_t formats_that_fit(const KernelPlan& plan, std::size_t available) {
  // The least weights of a format are two matrices of floats.
  constexpr std::size_t kLeast = 2 * sizeof(float) * kWidth * kWidth;
  const std::size_t each = std::max(plan.format_bytes, kLeast);
  if (available == 0) return plan.formats.size();  // unknown
  const std::size_t share = available / 2;
  if (share < kBesides + each) {
    throw Error("too little memory is free to measure the kernels",
                "close other programs, or raise the limit");
  }
  return std::min(plan.formats.size(), (share - kBesides) / each);
}

KernelSpeeds kernel_speeds(const KernelPlan& plan) {
  if (plan.formats.empty()) throw Error("no formats to measure the kernels with");
  KernelPlan fitting = plan;
  fitting.formats.resize(formats_that_fit(plan, machine::memory_facts().available));
  return KernelBench(fitting).run();
}

}  // namespace hearth::measure
