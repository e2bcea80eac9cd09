#include "cli/plan_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/terminal.h"
#include "cli/words.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Characters, as far as a column's width goes: bytes that do not continue one.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string number(double value) {
  if (value >= 100) return fmt::format("{:.0f}", value);
  return value >= 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.2g}", value);
}

/// A number with at most four digits that say something, for JSON.
double rounded(double value) {
  if (!(std::abs(value) > 1e-12) || !std::isfinite(value)) return 0;
  const double unit = std::pow(10, 3 - std::floor(std::log10(std::abs(value))));
  return std::round(value * unit) / unit;
}

std::string processor_words(const machine::Machine& machine) {
  std::string name = machine.name.empty() ? machine.cpu.name : machine.name;
  if (name.empty()) name = "this machine";
  std::string text = printable(name);
  if (!machine.cpu.name.empty() && machine.cpu.name != name)
    text += ": " + printable(machine.cpu.name);
  if (machine.cpu.usable_cores > 0)
    text += fmt::format(", {} core{}", machine.cpu.usable_cores,
                        machine.cpu.usable_cores == 1 ? "" : "s");
  return text;
}

}  // namespace

std::string TextTable::text(const std::string& indent) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line = indent;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - width_of(row[i]), ' ');
      const bool left = i < left_.size() && left_[i];
      line += (i == 0 ? "" : "  ") + (left ? row[i] + space : space + row[i]);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += line + "\n";
  }
  return text;
}

std::string three_digits(double value) {
  return value >= 999.5 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

std::string count_words(double count) {
  if (count < 999.5) return fmt::format("{:.0f}", count);
  if (count < 999.5e3) return three_digits(count / 1e3) + " thousand";
  if (count < 999.5e6) return three_digits(count / 1e6) + " million";
  if (count < 999.5e9) return three_digits(count / 1e9) + " billion";
  return three_digits(count / 1e12) + " trillion";
}

std::string context_words(std::int64_t tokens) {
  if (tokens <= 0) return "-";
  if (tokens >= 1024 && (tokens % 1024 == 0 || tokens >= 16384))
    return fmt::format("{}k", tokens / 1024);
  return fmt::format("{}", tokens);
}

std::string speed_words(const plan::Speed& speed) {
  if (speed.low <= 0 && speed.high <= 0) return number(speed.tps);
  return fmt::format("{} ({}-{})", number(speed.tps), number(speed.low), number(speed.high));
}

std::string score_words(const plan::Quality& quality) {
  if (quality.guessed)
    return quality.value > 0 ? fmt::format("~{:.0f} by size", quality.value) : "?";
  return fmt::format("{:g} {}", quality.score, printable(quality.benchmark));
}

std::string machine_words(const machine::Machine& machine) {
  std::string text = processor_words(machine);
  const auto free = static_cast<double>(machine.memory.available_bytes);
  const auto total = static_cast<double>(machine.memory.total_bytes);
  text += fmt::format("; {} of {} free{}", size_text(free), size_text(total),
                      machine.memory.unified ? ", unified" : "");
  if (machine.read_bytes_per_second > 0) {
    text += fmt::format(", read at {:.0f} GB/s ({})", machine.read_bytes_per_second / kGiga,
                        machine.source.empty() ? "measured" : printable(machine.source));
  }
  for (const machine::Gpu& gpu : machine.gpus) {
    text += fmt::format("; {}", printable(gpu.name));
    if (gpu.memory_total_bytes > 0 && !gpu.integrated)
      text += fmt::format(" {}", size_text(static_cast<double>(gpu.memory_total_bytes)));
    if (gpu.memory_bytes_per_second > 0)
      text += fmt::format(" {:.0f} GB/s", gpu.memory_bytes_per_second / kGiga);
  }
  return text;
}

std::string ranking_table(const plan::Ranking& ranking, const plan::Use& use, std::size_t most) {
  TextTable table({"", "model", "format", "memory", use.one_pass ? "tokens/s" : "tokens/s",
                   use.one_pass ? "" : "prompt/s", "context", "quality", "score", "limited by"},
                  {true, true, true, false, false, false, false, false, true, true});
  const plan::Candidate* recommended = ranking.recommended();
  for (const plan::Candidate& candidate : ranking.candidates) {
    if (table.rows() == most || !candidate.fits) break;
    const auto& speeds = candidate.estimate.speeds;
    std::string limit = !candidate.fast_enough     ? "too slow"
                        : !candidate.context_known ? "context unknown"
                        : speeds.empty()           ? ""
                                                   : speeds.front().decode.limited_by;
    if (use.one_pass && candidate.fast_enough && !speeds.empty())
      limit = speeds.front().prefill.limited_by;
    table.row(
        {&candidate == recommended ? "->" : "", printable(candidate.model->name),
         printable(candidate.quant.name), size_text(candidate.estimate.memory.total()),
         number(candidate.decode_tps), use.one_pass ? "" : number(candidate.prefill_tps),
         context_words(candidate.estimate.largest_context),
         fmt::format("{}{:.0f}", candidate.quality.guessed ? "~" : "", candidate.quality_here),
         score_words(candidate.quality), limit});
  }
  return table.text("");
}

std::string estimate_report(const plan::Estimate& estimate, const plan::Workload& workload) {
  const plan::MemoryNeed& memory = estimate.memory;
  std::string text = fmt::format(
      "Memory    {} = weights {} + context {} + state {} + buffers {}{}\n",
      size_text(memory.total()), size_text(memory.weights), size_text(memory.kv),
      size_text(memory.state), size_text(memory.buffers),
      memory.device > 0
          ? fmt::format("; {} of it on the graphics processor", size_text(memory.device))
          : "");
  if (memory.disk > 0) {
    text += fmt::format("Disk      {} of the context; a token at its end reads {} from there\n",
                        size_text(memory.disk), size_text(estimate.disk_bytes_per_token));
  }
  text += fmt::format("Context   {:.0f} kB per token; at most {} tokens fit{}\n",
                      estimate.kv_bytes_per_token / 1e3, context_words(estimate.largest_context),
                      workload.trained_context > 0
                          ? fmt::format(", trained for {}", context_words(workload.trained_context))
                          : "");
  text += fmt::format("Start     loads in {:.1f} s; first token {:.1f} s after the prompt\n",
                      estimate.load_seconds, estimate.first_token_seconds);
  TextTable table({"at depth", "tokens/s", "prompt tokens/s", "limited by"},
                  {false, false, false, true});
  for (const plan::SpeedAt& speed : estimate.speeds) {
    table.row({context_words(std::max<std::int64_t>(speed.depth, 0)) == "-"
                   ? "0"
                   : context_words(speed.depth),
               speed_words(speed.decode), speed_words(speed.prefill), speed.decode.limited_by});
  }
  text += "\n" + table.text();
  if (!estimate.inputs.empty()) {
    text += "\nRests on: ";
    for (std::size_t i = 0; i < estimate.inputs.size(); ++i)
      text += (i == 0 ? "" : "; ") + estimate.inputs[i];
    text += ".\n";
  }
  return text;
}

std::string report(const std::vector<plan::Candidate>& formats, const machine::Machine& machine,
                   const plan::Use& use) {
  if (formats.empty()) return "Nothing is known of its size.\n";
  const plan::Candidate& best = formats.front();
  const plan::CatalogModel& model = *best.model;
  std::string text = fmt::format(
      "{} ({}), {} parameters{}, {}\n", printable(model.name), printable(model.repo),
      count_words(model.parameters),
      best.workload.mixture
          ? fmt::format(", {} active", count_words(best.workload.active_parameters))
          : "",
      model.license.empty() ? "licence unknown" : "licence " + printable(model.license));
  text += fmt::format("{} for {}: {}\n\n", printable(best.quant.name), use.name,
                      best.trouble.empty() ? plan::why(best, machine) : best.trouble);
  text += estimate_report(best.estimate, best.workload);
  TextTable table(
      {"format", "bits", "file", "memory", "tokens/s", "prompt/s", "context", "quality", ""},
      {true, false, false, false, false, false, false, false, true});
  std::vector<const plan::Candidate*> sorted;
  for (const plan::Candidate& candidate : formats) sorted.push_back(&candidate);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->quant.bytes > b->quant.bytes; });
  for (const plan::Candidate* c : sorted) {
    table.row({printable(c->quant.name), fmt::format("{:.2f}", c->quant.bits),
               (c->quant.exact ? "" : "~") + size_text(c->quant.bytes),
               size_text(c->estimate.memory.total()), number(c->decode_tps), number(c->prefill_tps),
               context_words(c->estimate.largest_context),
               fmt::format("{}{:.0f}", c->quality.guessed ? "~" : "", c->quality_here),
               !c->fits          ? "does not fit"
               : !c->fast_enough ? "too slow"
               : c == &best      ? "<- best here"
                                 : ""});
  }
  return text + "\n" + table.text();
}

namespace {

/// At the deepest of the depths that were asked for.
double deepest_decode(const plan::Estimate& estimate) {
  const plan::SpeedAt* deepest = nullptr;
  for (const plan::SpeedAt& speed : estimate.speeds) {
    if (deepest == nullptr || speed.depth > deepest->depth) deepest = &speed;
  }
  return deepest != nullptr ? deepest->decode.tps : 0;
}

}  // namespace

std::string kv_report(const std::vector<plan::KvOffer>& offers, std::int64_t context) {
  constexpr double kSlow = 0.75;
  if (offers.empty() || offers.front().estimate.speeds.empty()) return {};
  const plan::Estimate& plain = offers.front().estimate;
  const double start = plain.speeds.front().decode.tps;
  if (plain.fits && deepest_decode(plain) >= kSlow * start) return {};
  std::string text =
      fmt::format("\nKeys and values, {}: in other formats (--kv) a context of {} takes\n\n",
                  plain.fits ? fmt::format("which slow decoding from {} to {} tokens/s in F16",
                                           three_digits(start), three_digits(deepest_decode(plain)))
                             : std::string("which do not fit in F16"),
                  context_words(context));
  TextTable table({"format", "memory", "at most", "tokens/s", "KL easy", "KL hard", ""},
                  {true, false, false, false, false, false, true});
  for (const plan::KvOffer& offer : offers) {
    table.row({offer.format, size_text(offer.estimate.memory.kv),
               context_words(offer.estimate.largest_context),
               number(deepest_decode(offer.estimate)),
               fmt::format("{:.4f}", offer.quality.divergence),
               fmt::format("{:.4f}", offer.quality.divergence_hard),
               offer.estimate.fits ? "" : "does not fit"});
  }
  return text + table.text() + fmt::format("KL: {}.\n", plan::kv_quality_source());
}

Json kv_json(const std::vector<plan::KvOffer>& offers) {
  Json list = Json::array();
  for (const plan::KvOffer& offer : offers) {
    list.push_back({{"format", offer.format},
                    {"kv_bytes", std::round(offer.estimate.memory.kv)},
                    {"fits", offer.estimate.fits},
                    {"context_max", offer.estimate.largest_context},
                    {"decode_tps", rounded(deepest_decode(offer.estimate))},
                    {"kl_divergence", offer.quality.divergence},
                    {"kl_divergence_hard", offer.quality.divergence_hard},
                    {"measured_by", std::string(plan::kv_quality_source())}});
  }
  return list;
}

Json estimate_json(const plan::Estimate& estimate) {
  Json decode = Json::object(), prefill = Json::object(), range = Json::object();
  for (const plan::SpeedAt& speed : estimate.speeds) {
    const std::string depth = std::to_string(speed.depth);
    decode[depth] = rounded(speed.decode.tps);
    prefill[depth] = rounded(speed.prefill.tps);
    range[depth] = {rounded(speed.decode.low), rounded(speed.decode.high)};
  }
  const plan::MemoryNeed& memory = estimate.memory;
  return {
      {"residency", plan::name(estimate.residency)},
      {"memory",
       {{"total", std::round(memory.total())},
        {"weights", std::round(memory.weights)},
        {"kv", std::round(memory.kv)},
        {"state", std::round(memory.state)},
        {"buffers", std::round(memory.buffers)},
        {"device", std::round(memory.device)},
        {"kv_on_disk", std::round(memory.disk)}}},
      {"fits", estimate.fits},
      {"context_max", estimate.largest_context},
      {"kv_bytes_per_token", std::round(estimate.kv_bytes_per_token)},
      {"disk_bytes_read_at_full_context", std::round(estimate.disk_bytes_per_token)},
      {"decode_tps", decode},
      {"decode_range", range},
      {"prefill_tps", estimate.speeds.empty() ? Json(nullptr)
                                              : Json(rounded(estimate.speeds.front().prefill.tps))},
      {"prefill_by_depth", prefill},
      {"first_token_seconds", rounded(estimate.first_token_seconds)},
      {"load_seconds", rounded(estimate.load_seconds)},
      {"limited_by",
       estimate.speeds.empty() ? std::string() : estimate.speeds.front().decode.limited_by},
      {"inputs", estimate.inputs}};
}

Json candidate_json(const plan::Candidate& candidate, const machine::Machine& machine) {
  Json json = {{"model", candidate.model->name},
               {"repo", candidate.model->repo},
               {"quant", candidate.quant.name},
               {"file_bytes", std::round(candidate.quant.bytes)},
               {"file_bytes_exact", candidate.quant.exact}};
  json.update(estimate_json(candidate.estimate));
  const plan::Quality& quality = candidate.quality;
  json["fast_enough"] = candidate.fast_enough;
  json["context"] = candidate.context;
  json["quality"] = {{"value", rounded(candidate.quality_here)},
                     {"unquantized", rounded(quality.value)},
                     {"guessed", quality.guessed},
                     {"benchmark", quality.guessed ? Json(nullptr) : Json(quality.benchmark)},
                     {"score", quality.guessed ? Json(nullptr) : Json(quality.score)},
                     {"source", quality.guessed ? Json(nullptr) : Json(quality.source)}};
  json["license"] =
      candidate.model->license.empty() ? Json(nullptr) : Json(candidate.model->license);
  json["why"] = plan::why(candidate, machine);
  return json;
}

}  // namespace hearth::cli
