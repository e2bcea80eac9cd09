#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "generate/scheduler.h"

namespace hearth::serve {
namespace {

const std::vector<double> kRequestSeconds = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
const std::vector<double> kFirstTokenSeconds = {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
const std::vector<double> kBetweenTokens = {0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1};
const std::vector<double> kTokens = {16, 64, 256, 1024, 4096, 16384, 65536, 262144};

std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

void describe(std::string& out, std::string_view name, std::string_view type,
              std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void single(std::string& out, std::string_view name, std::string_view type, std::string_view help,
            double value) {
  describe(out, name, type, help);
  out += fmt::format("{} {}\n", name, value);
}

std::string_view name_of(EndReason reason) {
  switch (reason) {
    case EndReason::kStop:
      return "stop";
    case EndReason::kStopText:
      return "stop_text";
    case EndReason::kLength:
      return "length";
    case EndReason::kContext:
      return "context";
    case EndReason::kToolCalls:
      return "tool_calls";
    case EndReason::kCancelled:
      return "cancelled";
  }
  return "";
}

/// One metric of every model that generates.
struct ModelMetric {
  const char* name;
  const char* type;
  const char* help;
  double (*value)(const generate::SchedulerStatistics&);
};

using Statistics = generate::SchedulerStatistics;
constexpr ModelMetric kModelMetrics[] = {
    {"hearth_requests_generating", "gauge", "Requests that generate now",
     [](const Statistics& s) { return static_cast<double>(s.generating); }},
    {"hearth_requests_prefilling", "gauge", "Requests whose prompt is being read",
     [](const Statistics& s) { return static_cast<double>(s.prefilling); }},
    {"hearth_requests_waiting", "gauge", "Requests in the queue",
     [](const Statistics& s) { return static_cast<double>(s.waiting); }},
    {"hearth_prompt_tokens_total", "counter", "Tokens of prompts that were evaluated",
     [](const Statistics& s) { return static_cast<double>(s.prompt_tokens); }},
    {"hearth_reused_tokens_total", "counter", "Tokens of prompts that were known already",
     [](const Statistics& s) { return static_cast<double>(s.reused_tokens); }},
    {"hearth_generated_tokens_total", "counter", "Tokens generated",
     [](const Statistics& s) { return static_cast<double>(s.generated_tokens); }},
    {"hearth_passes_total", "counter", "Passes over the model",
     [](const Statistics& s) { return static_cast<double>(s.passes); }},
    {"hearth_rows_total", "counter", "Rows of all passes; by passes: the mean batch",
     [](const Statistics& s) { return static_cast<double>(s.rows); }},
    {"hearth_requests_finished_total", "counter", "Generations that ended by themselves",
     [](const Statistics& s) { return static_cast<double>(s.finished); }},
    {"hearth_requests_cancelled_total", "counter", "Generations that were cancelled",
     [](const Statistics& s) { return static_cast<double>(s.cancelled); }},
    {"hearth_requests_failed_total", "counter", "Generations that failed",
     [](const Statistics& s) { return static_cast<double>(s.failed); }},
    {"hearth_requests_refused_total", "counter", "Requests that found the queue full",
     [](const Statistics& s) { return static_cast<double>(s.refused); }},
    {"hearth_preemptions_total", "counter", "Generations that were set aside for others",
     [](const Statistics& s) { return static_cast<double>(s.preempted); }},
    {"hearth_kv_cells_used", "gauge", "Cells of the context memory in use",
     [](const Statistics& s) { return static_cast<double>(s.kv_cells_used); }},
    {"hearth_kv_cells", "gauge", "Cells of the context memory",
     [](const Statistics& s) { return static_cast<double>(s.kv_cells); }},
    {"hearth_prefix_hits_total", "counter", "Prompts of which a beginning was remembered",
     [](const Statistics& s) { return static_cast<double>(s.prefixes.hits); }},
    {"hearth_prefix_misses_total", "counter", "Prompts of which nothing was remembered",
     [](const Statistics& s) { return static_cast<double>(s.prefixes.misses); }},
    {"hearth_prefix_from_disk_total", "counter", "Beginnings that came from disk",
     [](const Statistics& s) { return static_cast<double>(s.prefixes.from_disk); }},
    {"hearth_prefix_evicted_total", "counter", "Beginnings that were given up",
     [](const Statistics& s) { return static_cast<double>(s.prefixes.evicted); }},
    {"hearth_prefix_cells", "gauge", "Cells of the context memory that remember beginnings",
     [](const Statistics& s) { return static_cast<double>(s.prefixes.cells); }},
    {"hearth_prompt_seconds_total", "counter", "Time of passes that mostly read prompts",
     [](const Statistics& s) { return s.prompt_seconds; }},
    {"hearth_generate_seconds_total", "counter", "Time of passes that mostly generated",
     [](const Statistics& s) { return s.generate_seconds; }},
};

void write_models(std::string& out, std::span<const LoadedFacts> models, const Statistics& past) {
  std::vector<std::pair<std::string, Statistics>> all;
  Statistics sum = past;
  for (const LoadedFacts& each : models) {
    if (!each.model || each.model->kind() != ModelKind::kGenerates) continue;
    all.emplace_back(escaped(each.name), each.model->scheduler().statistics());
    const Statistics& one = all.back().second;
    add_totals(one, sum);
    sum.generating += one.generating + one.prefilling;
    sum.waiting += one.waiting;
  }
  for (const ModelMetric& metric : kModelMetrics) {
    describe(out, metric.name, metric.type, metric.help);
    for (const auto& [name, statistics] : all)
      out += fmt::format("{}{{model=\"{}\"}} {}\n", metric.name, name, metric.value(statistics));
  }
  // What dashboards made for llama-server look for.
  single(out, "llamacpp:prompt_tokens_total", "counter", "Tokens of prompts that were evaluated",
         static_cast<double>(sum.prompt_tokens));
  single(out, "llamacpp:prompt_seconds_total", "counter", "Time that took", sum.prompt_seconds);
  single(out, "llamacpp:tokens_predicted_total", "counter", "Tokens generated",
         static_cast<double>(sum.generated_tokens));
  single(out, "llamacpp:tokens_predicted_seconds_total", "counter", "Time that took",
         sum.generate_seconds);
  single(out, "llamacpp:n_decode_total", "counter", "Passes over the model",
         static_cast<double>(sum.passes));
  single(out, "llamacpp:requests_processing", "gauge", "Requests that are worked on",
         sum.generating);
  single(out, "llamacpp:requests_deferred", "gauge", "Requests in the queue", sum.waiting);
}

void write_memory(std::string& out, std::span<const LoadedFacts> models) {
  describe(out, "hearth_memory_bytes", "gauge", "Memory of a loaded model by part");
  for (const LoadedFacts& each : models) {
    if (!each.model) continue;
    const model::MemoryReport memory = each.model->model().memory();
    const std::pair<const char*, std::size_t> parts[] = {
        {"weights", memory.weights}, {"kv", memory.kv},       {"state", memory.state},
        {"buffers", memory.buffers}, {"other", memory.other}, {"mapped", memory.mapped}};
    for (const auto& [part, bytes] : parts) {
      out += fmt::format("hearth_memory_bytes{{model=\"{}\",part=\"{}\"}} {}\n", escaped(each.name),
                         part, bytes);
    }
  }
}

}  // namespace

void add_totals(const generate::SchedulerStatistics& of, generate::SchedulerStatistics& sum) {
  sum.prompt_tokens += of.prompt_tokens;
  sum.generated_tokens += of.generated_tokens;
  sum.prompt_seconds += of.prompt_seconds;
  sum.generate_seconds += of.generate_seconds;
  sum.passes += of.passes;
}

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::observe(double value) noexcept {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<std::size_t>(bound - bounds_.begin())];
  sum_ += value;
}

void Histogram::write(std::string& out, std::string_view name, std::string_view labels) const {
  const std::string_view comma = labels.empty() ? "" : ",";
  std::int64_t count = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i];
    const std::string bound = i < bounds_.size() ? fmt::format("{}", bounds_[i]) : "+Inf";
    out += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma, bound, count);
  }
  const std::string braces = labels.empty() ? "" : fmt::format("{{{}}}", labels);
  out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces, sum_, name, braces, count);
}

Metrics::Metrics()
    : first_token_(kFirstTokenSeconds),
      between_tokens_(kBetweenTokens),
      prompt_tokens_(kTokens),
      generated_tokens_(kTokens) {}

void Metrics::answered(std::string_view method, std::string_view route, int status,
                       double seconds) {
  const std::lock_guard lock(mutex_);
  const std::string key = fmt::format("method=\"{}\",route=\"{}\"", method, escaped(route));
  const auto found = routes_.try_emplace(key, Route{{}, Histogram(kRequestSeconds)}).first;
  ++found->second.by_status[status];
  found->second.seconds.observe(seconds);
}

void Metrics::replied(const ReplyRecord& record) {
  const std::lock_guard lock(mutex_);
  ++ends_[record.failed ? "failed" : std::string(name_of(record.end))];
  if (record.first_token_seconds > 0) first_token_.observe(record.first_token_seconds);
  prompt_tokens_.observe(static_cast<double>(record.usage.prompt_tokens));
  generated_tokens_.observe(static_cast<double>(record.usage.completion_tokens));
  if (record.usage.completion_tokens > 1 && record.usage.generate_seconds > 0) {
    between_tokens_.observe(record.usage.generate_seconds /
                            static_cast<double>(record.usage.completion_tokens - 1));
  }
}

std::string Metrics::text(std::span<const LoadedFacts> models,
                          const generate::SchedulerStatistics& past,
                          const HttpCounters& http) const {
  std::string out;
  single(out, "hearth_http_connections", "gauge", "Open connections",
         static_cast<double>(http.connections));
  single(out, "hearth_http_handling", "gauge", "Requests that are being answered",
         static_cast<double>(http.handling));
  single(out, "hearth_http_accepted_total", "counter", "Connections accepted",
         static_cast<double>(http.accepted));
  single(out, "hearth_http_refused_total", "counter",
         "Requests refused before anybody worked on them", static_cast<double>(http.refused));
  write_models(out, models, past);
  write_memory(out, models);
  const std::lock_guard lock(mutex_);
  describe(out, "hearth_http_requests_total", "counter", "Requests answered");
  for (const auto& [labels, route] : routes_) {
    for (const auto& [status, count] : route.by_status) {
      out +=
          fmt::format("hearth_http_requests_total{{{},status=\"{}\"}} {}\n", labels, status, count);
    }
  }
  describe(out, "hearth_http_request_seconds", "histogram", "From a request to its whole answer");
  for (const auto& [labels, route] : routes_)
    route.seconds.write(out, "hearth_http_request_seconds", labels);
  describe(out, "hearth_replies_total", "counter", "Generated replies by how they ended");
  for (const auto& [end, count] : ends_)
    out += fmt::format("hearth_replies_total{{end=\"{}\"}} {}\n", end, count);
  describe(out, "hearth_first_token_seconds", "histogram", "From a request to its first token");
  first_token_.write(out, "hearth_first_token_seconds");
  describe(out, "hearth_token_seconds", "histogram", "Mean time of a token, by reply");
  between_tokens_.write(out, "hearth_token_seconds");
  describe(out, "hearth_reply_prompt_tokens", "histogram", "Tokens of prompts");
  prompt_tokens_.write(out, "hearth_reply_prompt_tokens");
  describe(out, "hearth_reply_generated_tokens", "histogram", "Tokens of replies");
  generated_tokens_.write(out, "hearth_reply_generated_tokens");
  return out;
}

}  // namespace hearth::serve
