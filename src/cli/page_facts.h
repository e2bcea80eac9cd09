// What the web page is told of this machine, its models and what the plan says of them.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>

#include "plan/estimate.h"
#include "serve/facts_cache.h"
#include "serve/http/server.h"
#include "serve/models.h"
#include "serve/page_api.h"

namespace hearth::cli {

class LocalPageFacts final : public serve::PageFacts {
 public:
  /// All must outlive this. `setup`: how models are run.
  LocalPageFacts(serve::ModelManager& models, serve::FactsCache& facts,
                 const serve::HttpServer& server, spec::Setup setup);

  [[nodiscard]] std::vector<serve::PageModel> models() override;
  [[nodiscard]] serve::PageStatus status() override;

 private:
  /// Speeds in tokens per second; 0: not known.
  struct Speeds {
    double prefill = 0, decode = 0;
  };
  struct Planned {
    std::int64_t modified = 0;
    std::optional<plan::Estimate> estimate;
    Speeds measured;
  };
  [[nodiscard]] const Planned& planned(const serve::AvailableModel& model);

  serve::ModelManager& models_;
  serve::FactsCache& facts_;
  const serve::HttpServer& server_;
  spec::Setup setup_;
  std::chrono::steady_clock::time_point start_;
  double read_bytes_per_second_ = 0;
  std::string processor_;
  std::mutex mutex_;
  std::map<std::filesystem::path, Planned> planned_;
};

}  // namespace hearth::cli
