// What `hearth plan` prints: tables for people and JSON for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "plan/kv_cost.h"
#include "plan/rank.h"
#include "plan/recommend.h"
#include "plan/together.h"

namespace hearth::cli {

/// A table of texts: the first column of `left` columns is flush left, the others flush right.
/// Columns are as wide as their widest cell.
class TextTable {
 public:
  TextTable(std::vector<std::string> head, std::vector<bool> left)
      : rows_{std::move(head)}, left_(std::move(left)) {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] std::string text(const std::string& indent = "  ") const;
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size() - 1; }

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<bool> left_;
};

/// "0.123", "12.3", "1234": three digits, or all of a whole number.
[[nodiscard]] std::string three_digits(double value);
/// "264 thousand", "3.2 million", "8.19 billion", "1.03 trillion".
[[nodiscard]] std::string count_words(double count);
/// "128k", "40960", "?".
[[nodiscard]] std::string context_words(std::int64_t tokens);
/// "16 (13-19)".
[[nodiscard]] std::string speed_words(const plan::Speed& speed);
/// "79.1 MMLU-Pro", "~45 guessed".
[[nodiscard]] std::string score_words(const plan::Quality& quality);
/// "Ryzen …, 8 cores; 11.8 of 17.2 GB free, read at 90 GB/s by data sheets; RTX 3060, 12.9 GB".
[[nodiscard]] std::string machine_words(const machine::Machine& machine);

/// The ranking as a table; at most `most` rows.
[[nodiscard]] std::string ranking_table(const plan::Ranking& ranking, const plan::Use& use,
                                        std::size_t most);

/// Memory by part, speeds by depth, formats.
[[nodiscard]] std::string report(const std::vector<plan::Candidate>& formats,
                                 const machine::Machine& machine, const plan::Use& use);

/// The same for a model that was counted from its file.
/// Formats of keys and values instead of F16, at a context of `context`: what each takes, how fast
/// it is and what it costs in quality. Empty when F16 fits and is about as fast there as at the
/// start.
[[nodiscard]] std::string kv_report(const std::vector<plan::KvOffer>& offers, std::int64_t context);
[[nodiscard]] nlohmann::ordered_json kv_json(const std::vector<plan::KvOffer>& offers);

[[nodiscard]] std::string estimate_report(const plan::Estimate& estimate,
                                          const plan::Workload& workload);

[[nodiscard]] nlohmann::ordered_json candidate_json(const plan::Candidate& candidate,
                                                    const machine::Machine& machine);
[[nodiscard]] nlohmann::ordered_json estimate_json(const plan::Estimate& estimate);

}  // namespace hearth::cli
