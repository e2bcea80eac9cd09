#include "plan/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "plan/names.h"
#include "support/error.h"
#include "support/file.h"
#include "support/units.h"

namespace hearth::plan {
namespace {

constexpr std::size_t kMaxFile = std::size_t{64} << 20;

bool begins(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return text.starts_with(part); });
}

std::string changed_case(std::string_view text, char first, char last, int by) {
  std::string result(text);
  for (char& c : result) {
    if (c >= first && c <= last) c = static_cast<char>(c + by);
  }
  return result;
}
std::string lower(std::string_view text) { return changed_case(text, 'A', 'Z', 32); }
std::string upper(std::string_view text) { return changed_case(text, 'a', 'z', -32); }

/// A finite number of at least `least`; nothing for anything else, also for what no machine has.
std::optional<double> number(std::string_view text, double least = 1e-9) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(value) || value < least || value > 1e9) return std::nullopt;
  return value;
}

/// Billions of weights by a name: the first "7b", "1.5b", "270m" in it that does not belong to a
/// word; with `active`, the first "a3b".
std::optional<double> billions_in(std::string_view name, bool active) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (!digit(name[i])) continue;
    std::size_t end = i;
    while (end < name.size() && (digit(name[end]) || name[end] == '.')) ++end;
    const char before = i > 0 ? name[i - 1] : '-';
    const char unit = end < name.size() ? name[end] : '-';
    const bool ends = end + 1 >= name.size() || !(letter(name[end + 1]) || digit(name[end + 1]));
    const bool starts = active ? before == 'a' && (i < 2 || !letter(name[i - 2])) : !letter(before);
    if ((unit == 'b' || unit == 'm') && ends && starts) {
      const auto value = number(name.substr(i, end - i));
      if (value && *value < 1e5) return unit == 'b' ? *value : *value / 1000;
    }
    i = end - 1;
  }
  return std::nullopt;
}

/// Bits per weight that quantizations take in large models.
double bits_by_name(std::string_view quant) {
  static constexpr std::array<std::pair<std::string_view, double>, 16> kBits = {{{"BF16", 16},
                                                                                 {"F16", 16},
                                                                                 {"FP16", 16},
                                                                                 {"F32", 32},
                                                                                 {"FP8", 8},
                                                                                 {"Q8", 8.5},
                                                                                 {"Q6", 6.56},
                                                                                 {"Q5", 5.6},
                                                                                 {"Q4", 4.85},
                                                                                 {"IQ4", 4.5},
                                                                                 {"Q3", 3.95},
                                                                                 {"IQ3", 3.5},
                                                                                 {"Q2", 3.1},
                                                                                 {"IQ2", 2.5},
                                                                                 {"IQ1", 1.8},
                                                                                 {"TQ", 2.0}}};
  for (const auto& [beginning, bits] : kBits) {
    if (quant.starts_with(beginning)) return bits;
  }
  if (contains_any(quant, {"8BIT"})) return 8.5;
  if (contains_any(quant, {"6BIT"})) return 6.5;
  return 4.85;
}

/// The family of a model by its name, where the table does not tell. More special names first.
std::string_view family(std::string_view key) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 18> kFamilies = {
      {{"gemma-2", "gemma2"},
       {"gemma-3n", "gemma3n"},
       {"gemma-3", "gemma3"},
       {"gemma-4", "gemma4"},
       {"gpt-oss", "gpt_oss"},
       {"laguna", "laguna"},
       {"lfm2", "lfm2"},
       {"nemotron-3", "nemotron_h"},
       {"nemotron-cascade-2", "nemotron_h"},
       {"qwen3-coder-next", "qwen3_next"},
       {"qwen3-next", "qwen3_next"},
       {"qwen3.5", "qwen3_5"},
       {"qwen3.6", "qwen3_5"},
       {"qwen3", "qwen3"},
       {"glm-4.7-flash", "glm4_moe_lite"},
       {"deepseek-coder-v2", "deepseek_v2"},
       {"deepseek-v2", "deepseek_v2"},
       {"deepseek-v3", "deepseek_v3"}}};
  for (const auto& [beginning, arch] : kFamilies) {
    if (key.starts_with(beginning)) return arch;
  }
  return {};
}

/// How the layers of a family look back: the share of them that see everything, the window of the
/// others, and what a layer of the former takes to one of the latter. Facts of published models.
struct Window {
  double share = 1;
  std::int64_t cells = 0;
  double kv_ratio = 1, query_ratio = 1;
};

Window window_of(std::string_view arch, std::string_view key) {
  const bool smallest = contains_any(key, {"-1b", "270m"});
  if (arch == "gemma3" || arch == "gemma3_text") return {1.0 / 6, smallest ? 512 : 1024, 1, 1};
  if (arch == "gemma3n") return {1.0 / 5, 512, 1, 1};
  if (arch == "gemma4") {
    const bool small = contains_any(key, {"-e2b", "-e4b"});
    return {1.0 / 6, small ? 512 : 1024, 0.5, 3};
  }
  if (arch == "gemma2") return {0.5, 4096, 1, 1};
  if (arch == "gpt_oss") return {0.5, 128, 1, 1};
  if (arch == "laguna") return {0.25, 512, 1, 1};
  if (arch == "cohere2") return {0.25, 4096, 1, 1};
  return {};
}

/// Values of one token's queries in a layer that sees everything. Heads are not in the table.
double query_width(std::string_view arch, double width) {
  if (arch == "qwen3") return width < 2560 ? std::max(width, 2048.0) : std::max(width, 4096.0);
  if (begins(arch, {"qwen3_", "gpt_oss", "nemotron_h"})) return std::max(width, 4096.0);
  if (arch == "gemma4") return 3 * width;
  return width;
}

bool compressed_attention(std::string_view arch) {
  return arch == "deepseek_v2" || arch == "deepseek_v3" || arch == "glm4_moe_lite";
}

class RowReader {
 public:
  RowReader(const CsvTable& table, std::size_t row) : table_(table), row_(row) {
    key_ = lower(text("base_key"));
    if (key_.empty()) key_ = lower(text("base_model"));
    if (key_.empty()) key_ = lower(text("model_hf_id"));
    arch_ = text("arch");
    if (arch_.empty() || arch_ == "unknown") arch_ = family(key_);
  }

  TableRow read() {
    const std::string kind = hardware_kind();
    workload();
    times();
    machine(kind);
    residency(kind);
    row_data_.speculative = text("speculative") == "1";
    return row_data_;
  }

 private:
  [[nodiscard]] std::string_view text(std::string_view column) const {
    return table_.field(row_, column);
  }
  [[nodiscard]] std::optional<double> value(std::string_view column) const {
    return number(text(column));
  }

  [[nodiscard]] std::string hardware_kind() const {
    const std::string_view given = text("hw_class"), hardware = text("hardware");
    for (const std::string_view kind : {"dgpu", "apple", "unified", "cpu", "igpu"}) {
      if (given == kind) return std::string(kind);
    }
    if (contains_any(hardware, {"Apple"})) return "apple";
    if (contains_any(hardware, {"GB10", "Strix Halo"})) return "unified";
    if (contains_any(hardware, {"RTX", "GTX", "RX ", "Tesla", "A100", "H100", "Instinct"}))
      return "dgpu";
    return "cpu";
  }

  /// Billions of weights, all and those that a token uses.
  void sizes() {
    const auto bits = value("bits_per_weight");
    bits_ = bits && *bits <= 64 ? *bits : bits_by_name(upper(text("quant")));
    const auto gigabytes = value("weight_gb_est");
    total_ = value("params_total_b")
                 .value_or(billions_in(key_, false).value_or(gigabytes.value_or(4) * 8 / bits_));
    active_ = value("params_active_b").value_or(billions_in(key_, true).value_or(total_));
    active_ = std::min(active_, total_);
    Workload& w = row_data_.workload;
    const std::string_view mixture = text("is_moe");
    w.mixture = mixture.empty() ? active_ < 0.8 * total_ : mixture == "1";
    w.weight_bytes = gigabytes.value_or(total_ * bits_ / 8);
    w.active_bytes = value("active_gb_per_token_est").value_or(active_ * bits_ / 8);
  }

  /// Bits are those of a large model. The matrix before the logits has more, and rows that blocks
  /// of 256 weights do not divide take a larger format.
  void add_uneven_bytes(std::optional<double> width, double head) {
    const std::string quant = upper(text("quant"));
    const bool blocks = begins(quant, {"Q2_K", "Q3_K", "Q4_K", "Q5_K"});
    if (!blocks && !begins(quant, {"IQ", "Q4_0"})) return;
    const bool uneven = width && std::fmod(*width, 256) != 0;
    double extra = head * std::max(0.0, (uneven ? 8.5 : 6.5625) - bits_) / 8;
    if (uneven && !begins(quant, {"Q4_0"}))
      extra += std::max(active_ - head, 0.0) * std::max(0.0, 5.5 - bits_) / 8;
    row_data_.workload.weight_bytes += extra;
    row_data_.workload.active_bytes += extra;
  }

  void workload() {
    sizes();
    Workload& w = row_data_.workload;
    const auto given_width = value("d_model");
    const double alike = std::min(w.mixture ? 3 * active_ : total_, 70.0);  // a dense model as wide
    const double width = given_width.value_or(4096 * std::pow(alike / 8, 0.4));
    const double head =
        given_width ? std::min(value("vocab").value_or(0) * width / 1e9, 0.6 * total_) : 0;
    add_uneven_bytes(given_width, head);
    const double usual = std::round(32 * std::pow(alike / 8, alike < 8 ? 0.15 : 0.35));
    layers_ = std::clamp(value("n_layers").value_or(usual), 1.0, 10000.0);
    w.layers = static_cast<int>(layers_);
    layers_of_kinds(width);
    w.source = "computed";
    w.model = key_;
    w.quant = text("quant");
    w.parameters = total_ * 1e9;
    w.active_parameters = active_ * 1e9;
    w.weight_bytes *= 1e9;
    w.active_bytes = std::min(w.active_bytes * 1e9, w.weight_bytes);
    w.multiply_adds = 1e9 * std::max(active_ - head, 0.3 * active_);
  }

  void layers_of_kinds(double width) {
    Workload& w = row_data_.workload;
    const bool mostly_recurrent = begins(arch_, {"qwen3_5", "qwen3_next"});
    const double usual = mostly_recurrent ? 0.25 * layers_ : layers_;
    double remembering = std::min(layers_, value("kv_layers").value_or(usual));
    double recurrent = layers_ - remembering;
    if (arch_.starts_with("lfm2")) {
      recurrent = 0;  // short convolutions
    } else if (arch_ == "nemotron_h") {
      recurrent = 0.5 * layers_;  // the others are feed-forward alone, but for a few of attention
      if (remembering > 0.9 * layers_) remembering = 0.09 * layers_;
    }
    // Mamba scans a prompt at half the speed of delta networks.
    w.recurrent_layers = arch_ == "nemotron_h" ? 2 * recurrent : recurrent;
    // Gemma normalizes twice as often.
    w.steps = layers_ + recurrent + (arch_.starts_with("gemma") ? 0.5 * layers_ : 0);

    const double element = kv_element_bytes(text("kv_type"));
    const double heads = value("n_kv_heads").value_or(8) * value("head_dim").value_or(128);
    const auto given = value("kv_bytes_per_token");
    const bool compressed = compressed_attention(arch_);
    const double kv = compressed ? layers_ * 576 * 2
                      : given    ? *given / element * 2
                                 : remembering * heads * 4;
    const Window window = window_of(arch_, key_);
    w.window = window.cells;
    w.kv_bytes_per_token = kv * window.share * window.kv_ratio;
    w.window_bytes_per_token = kv * (1 - window.share);
    const double attention = remembering * (compressed ? 16 * 1088 : 2 * query_width(arch_, width));
    w.attention_multiply_adds = attention * window.share;
    w.window_multiply_adds = attention * (1 - window.share) / window.query_ratio;
  }

  void times() {
    Conditions& c = row_data_.conditions;
    const auto depth = number(text("context_depth"), 0);
    const auto prompt = value("prompt_tokens");
    const double output = value("output_tokens").value_or(128);
    const double at = depth ? *depth : prompt ? *prompt + output / 2 : 256;
    const double before = begins(text("depth_source"), {"llama-bench -d", "-d "}) ? at : 0;
    c.depths = {std::llround(at), std::llround(before)};
    // llama.cpp's own benchmarks of prompts at a depth were made with batches of 2048.
    if (text("depth_source").starts_with("llama-bench -d")) row_data_.options.batch = 2048;
    c.prompt = std::max<std::int64_t>(1, std::llround(prompt.value_or(512)));
    c.context = std::max<std::int64_t>(c.depths[0], 4096);
    c.engine = lower(text("engine"));
    if (!text("kv_type").empty()) c.kv_type = text("kv_type");
  }

  void machine(const std::string& kind) {
    machine::Machine& m = row_data_.machine;
    m.name = text("hardware");
    m.source = "data sheet";
    const double usual = kind == "dgpu"      ? 600
                         : kind == "apple"   ? 400
                         : kind == "unified" ? 256
                                             : 64;
    const double bandwidth = 1e9 * value("mem_bw_gbs").value_or(usual);
    const double flops = 1e12 * value("fp16_tflops").value_or(0);
    // Ollama does not use integrated graphics.
    if (kind == "cpu" ||
        (kind == "igpu" && contains_any(row_data_.conditions.engine, {"ollama"}))) {
      m.read_bytes_per_second = bandwidth;
      m.f32_multiply_adds = flops / 2;
      return;
    }
    machine::Gpu gpu;
    gpu.name = m.name;
    gpu.memory_bytes_per_second = bandwidth;
    gpu.fp16_flops = flops;
    gpu.memory_total_bytes = static_cast<std::uint64_t>(value("mem_gb").value_or(0) * kGibi);
    gpu.integrated = kind != "dgpu";
    m.gpus.push_back(gpu);
    m.memory.unified = kind == "apple" || kind == "unified";
    if (kind == "apple") m.family = "apple";
    if (kind == "dgpu") m.read_bytes_per_second = 1e9 * value("host_ram_bw_gbs").value_or(60);
  }

  void residency(const std::string& kind) {
    Conditions& c = row_data_.conditions;
    c.residency = row_data_.machine.gpus.empty() ? Residency::kMemory : Residency::kDevice;
    if (kind != "dgpu") return;
    const auto memory = value("mem_gb");
    const auto expert_layers = value("n_cpu_moe");
    if (expert_layers && row_data_.workload.mixture) {
      c.residency = Residency::kExperts;
      row_data_.options.placement = Placement{1, std::max(0.0, 1 - *expert_layers / layers_)};
      return;
    }
    const bool too_large = memory && row_data_.workload.weight_bytes + 3e8 > *memory * kGibi;
    if (text("offload") == "1" || too_large) {
      c.residency = Residency::kSplit;
      if (!memory) row_data_.options.placement = Placement{0.5, 0.5};
    }
  }

  const CsvTable& table_;
  std::size_t row_;
  std::string key_;
  std::string_view arch_;
  double total_ = 0, active_ = 0, bits_ = 0, layers_ = 0;
  TableRow row_data_;
};

}  // namespace

TableRow read_table_row(const CsvTable& table, std::size_t row) {
  return RowReader(table, row).read();
}

Prediction predict(const TableRow& row) {
  const Estimate estimate =
      estimate_by_class(row.workload, row.machine, row.conditions, row.options);
  Prediction prediction{estimate.speeds.at(0).decode.tps, estimate.speeds.at(1).prefill.tps};
  if (row.speculative) prediction.decode_tps *= speculation_factor(row.workload.mixture);
  return prediction;
}

void predict_file(const std::filesystem::path& in, const std::filesystem::path& out) {
  const CsvTable table(read_file(in, kMaxFile), in.string());
  if (!table.has("row_id")) {
    throw Error(fmt::format("{} has no column row_id", printable(in.string())),
                "docs/planner-model.md lists the columns");
  }
  std::string text = "row_id,pred_decode_tps,pred_prefill_tps\n";
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const Prediction prediction = predict(read_table_row(table, row));
    text += fmt::format("{},{:.6g},{:.6g}\n", csv_field(table.field(row, "row_id")),
                        prediction.decode_tps, prediction.prefill_tps);
  }
  write_file_atomically(out, text);
}

}  // namespace hearth::plan
