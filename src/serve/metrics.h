// What the server counts, in Prometheus' text format.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http/server.h"
#include "serve/models.h"
#include "serve/runner.h"

namespace hearth::serve {

/// Counts of values up to bounds, as Prometheus has them.
class Histogram {
 public:
  /// `bounds`: ascending upper bounds; a last one without limit is implied.
  explicit Histogram(std::vector<double> bounds);
  void observe(double value) noexcept;
  /// Appends the lines of the metric `name`, without HELP and TYPE. `labels`: "a=\"b\"", or empty.
  void write(std::string& out, std::string_view name, std::string_view labels = {}) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::int64_t> counts_;  // one more than bounds
  double sum_ = 0;
};

/// Adds what counters without a model's name tell of.
void add_totals(const generate::SchedulerStatistics& of, generate::SchedulerStatistics& sum);

class Metrics {
 public:
  Metrics();

  /// An HTTP request was answered. `route`: its pattern.
  void answered(std::string_view method, std::string_view route, int status, double seconds);
  void replied(const ReplyRecord& record);

  /// The whole page: what was counted, the models as they are now, and what those did that are
  /// gone.
  [[nodiscard]] std::string text(std::span<const LoadedFacts> models,
                                 const generate::SchedulerStatistics& past,
                                 const HttpCounters& http) const;

 private:
  struct Route {
    std::map<int, std::int64_t> by_status;
    Histogram seconds;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Route> routes_;  // by "METHOD pattern"
  Histogram first_token_, between_tokens_, prompt_tokens_, generated_tokens_;
  std::map<std::string, std::int64_t> ends_;
};

}  // namespace hearth::serve
