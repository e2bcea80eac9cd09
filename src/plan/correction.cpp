#include "plan/correction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <functional>
#include <vector>

namespace hearth::plan {
namespace {

using measure::Measurement;
using measure::ModelIdentity;

/// Rows beyond are old news: another version, another cooling, another neighbour.
constexpr std::size_t kRecentRows = 15;
constexpr double kBenchWeight = 3;
/// Rows that weigh as much as the estimate itself.
constexpr double kTrustOfModel = 1, kTrustOfType = 6;
/// What is further off is a mistake, of either side, and no property of the machine.
constexpr double kMostFactor = 4;
/// Below, a prompt is too short for its speed to say anything.
constexpr std::int64_t kLeastPrompt = 128;

bool near(std::uint64_t a, std::uint64_t b) {
  if (a == 0 || b == 0) return true;
  const auto x = static_cast<double>(a), y = static_cast<double>(b);
  return std::abs(x - y) <= 0.03 * std::max(x, y);
}

/// "Q4_K" of "Q4_K_M"; types without a size are their own.
std::string_view base_type(std::string_view type) {
  for (const std::string_view size : {"_S", "_M", "_L", "_XL"}) {
    // "IQ2_S" is a type, and not a size of one.
    if (type.ends_with(size) && type.find("_K") != std::string_view::npos)
      return type.substr(0, type.size() - size.size());
  }
  return type;
}

bool same_type(const ModelIdentity& a, const ModelIdentity& b) {
  return a.type.empty() || b.type.empty() || base_type(a.type) == base_type(b.type);
}

bool same_model(const ModelIdentity& a, const ModelIdentity& b) {
  const bool architecture =
      a.architecture.empty() || b.architecture.empty() || a.architecture == b.architecture;
  const bool sized =
      (a.parameters > 0 && b.parameters > 0) || (a.file_bytes > 0 && b.file_bytes > 0);
  return architecture && sized && same_type(a, b) && near(a.parameters, b.parameters) &&
         near(a.file_bytes, b.file_bytes);
}

bool same_conditions(const CorrectionSubject& subject, const Measurement& row) {
  return (subject.threads == 0 || row.threads == subject.threads) &&
         row.kv_type == subject.kv_type && row.exact == subject.exact &&
         row.mapped == subject.mapped;
}

/// Tokens that were in the context, on average, while text was generated.
std::int64_t decode_depth(const Measurement& row) {
  return row.depth + row.prompt_tokens + row.generated_tokens / 2;
}

std::optional<double> tps_at(const Estimate& estimate, std::int64_t depth,
                             const std::function<double(const SpeedAt&)>& speed) {
  std::vector<std::pair<double, double>> points;  // depth, seconds per token
  for (const SpeedAt& at : estimate.speeds) {
    if (speed(at) > 0) points.emplace_back(static_cast<double>(at.depth), 1 / speed(at));
  }
  if (points.empty()) return std::nullopt;
  std::sort(points.begin(), points.end());
  const auto x = static_cast<double>(depth);
  if (points.size() == 1 || x <= points.front().first) return 1 / points.front().second;
  std::size_t right = 1;
  while (right + 1 < points.size() && points[right].first < x) ++right;
  const auto [x0, y0] = points[right - 1];
  const auto [x1, y1] = points[right];
  if (x1 <= x0) return 1 / y1;
  // Beyond the last depth it goes on as before, but never faster than there.
  const double y = y0 + (y1 - y0) * (x - x0) / (x1 - x0);
  return 1 / std::max(y, std::min(y0, y1));
}

struct Ratio {
  double value = 1, weight = 1;
};

/// The value that half of the weight lies below.
double weighted_median(std::vector<Ratio> ratios) {
  std::sort(ratios.begin(), ratios.end(),
            [](const Ratio& a, const Ratio& b) { return a.value < b.value; });
  double total = 0;
  for (const Ratio& ratio : ratios) total += ratio.weight;
  double below = 0;
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    below += ratios[i].weight;
    if (below > total / 2) return ratios[i].value;
    if (below == total / 2 && i + 1 < ratios.size())
      return std::sqrt(ratios[i].value * ratios[i + 1].value);
  }
  return ratios.back().value;
}

CorrectionFactor factor_of(const std::vector<Ratio>& ratios, double trust, bool same_model) {
  if (ratios.empty()) return {};
  double weight = 0;
  for (const Ratio& ratio : ratios) weight += ratio.weight;
  const double median = std::clamp(weighted_median(ratios), 1 / kMostFactor, kMostFactor);
  return {std::exp(std::log(median) * weight / (weight + trust)), static_cast<int>(ratios.size()),
          same_model};
}

/// Measured and expected tokens per second of one row, or nothing.
using Pair = std::optional<std::pair<double, double>>;

Pair decode_of_model(const Estimate& estimate, const Measurement& row) {
  const std::optional<double> expected = decode_tps_at(estimate, decode_depth(row));
  if (!row.decode_tps || !expected) return std::nullopt;
  return {{*row.decode_tps, *expected}};
}

Pair prefill_of_model(const Estimate& estimate, const Measurement& row) {
  const std::optional<double> expected = prefill_tps_at(estimate, row.depth);
  if (!row.prefill_tps || !expected || row.prompt_tokens < kLeastPrompt) return std::nullopt;
  return {{*row.prefill_tps, *expected}};
}

Pair pair_of(const std::optional<double>& measured, const std::optional<double>& expected) {
  if (!measured || !expected) return std::nullopt;
  return {{*measured, *expected}};
}

void add(std::vector<Ratio>& ratios, const Pair& pair, const Measurement& row) {
  if (!pair || ratios.size() == kRecentRows) return;
  const double ratio = pair->first / pair->second;
  if (!std::isfinite(ratio) || ratio <= 0) return;
  ratios.push_back({ratio, row.source == "bench" ? kBenchWeight : 1});
}

/// Whole numbers where that says enough.
std::string speed_text(double tps) {
  return tps >= 10 ? fmt::format("{:.0f}", tps) : fmt::format("{:.1f}", tps);
}

std::string factor_text(const char* what, const CorrectionFactor& factor) {
  return fmt::format("{} times {:.2f} by {} measurement{} of {} here", what, factor.value,
                     factor.rows, factor.rows == 1 ? "" : "s",
                     factor.same_model ? "this model" : "other models of this type");
}

}  // namespace

std::optional<double> decode_tps_at(const Estimate& estimate, std::int64_t depth) {
  return tps_at(estimate, depth, [](const SpeedAt& at) { return at.decode.tps; });
}

std::optional<double> prefill_tps_at(const Estimate& estimate, std::int64_t depth) {
  return tps_at(estimate, depth, [](const SpeedAt& at) { return at.prefill.tps; });
}

std::string day_text(std::int64_t when, std::int64_t now) {
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t then_seconds = when, now_seconds = now;
  std::tm then_parts{}, now_parts{};
  if (gmtime_r(&then_seconds, &then_parts) == nullptr ||
      gmtime_r(&now_seconds, &now_parts) == nullptr)
    return "an unknown day";
  std::string text =
      fmt::format("{} {}", then_parts.tm_mday, kMonths[std::clamp(then_parts.tm_mon, 0, 11)]);
  if (then_parts.tm_year != now_parts.tm_year)
    text += fmt::format(" {}", std::int64_t{1900} + then_parts.tm_year);
  return text;
}

Correction correction(const Estimate& estimate, const CorrectionSubject& subject,
                      std::span<const Measurement> rows, std::int64_t now) {
  std::vector<Ratio> decode, prefill, decode_of_type, prefill_of_type;
  Correction result;
  for (const Measurement& row : rows) {
    if (!same_conditions(subject, row)) continue;
    if (same_model(subject.model, row.model)) {
      const Pair pair = decode_of_model(estimate, row);
      if (pair && result.note.empty()) {
        result.note =
            fmt::format("expected {}, measured {} tok/s here on {}", speed_text(pair->second),
                        speed_text(pair->first), day_text(row.taken_at, now));
      }
      add(decode, pair, row);
      add(prefill, prefill_of_model(estimate, row), row);
    } else if (same_type(subject.model, row.model) && row.version == subject.version) {
      add(decode_of_type, pair_of(row.decode_tps, row.expected_decode_tps), row);
      add(prefill_of_type, pair_of(row.prefill_tps, row.expected_prefill_tps), row);
    }
  }
  result.decode = decode.empty() ? factor_of(decode_of_type, kTrustOfType, false)
                                 : factor_of(decode, kTrustOfModel, true);
  result.prefill = prefill.empty() ? factor_of(prefill_of_type, kTrustOfType, false)
                                   : factor_of(prefill, kTrustOfModel, true);
  return result;
}

Estimate corrected(Estimate estimate, const Correction& correction) {
  const auto scale = [](Speed& speed, double factor) {
    speed.tps *= factor;
    speed.low *= factor;
    speed.high *= factor;
  };
  for (SpeedAt& at : estimate.speeds) {
    scale(at.decode, correction.decode.value);
    scale(at.prefill, correction.prefill.value);
  }
  estimate.first_token_seconds /= correction.prefill.value;
  if (correction.decode.rows > 0)
    estimate.inputs.push_back(factor_text("decode", correction.decode));
  if (correction.prefill.rows > 0)
    estimate.inputs.push_back(factor_text("prefill", correction.prefill));
  return estimate;
}

}  // namespace hearth::plan
