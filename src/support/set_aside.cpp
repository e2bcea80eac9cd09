#include "support/set_aside.h"

#include <ctime>
#include <string>
#include <system_error>

#include "support/error.h"

namespace hearth {

std::filesystem::path set_aside(const std::filesystem::path& path) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, ".bad-%Y%m%d-%H%M%S", &parts);
  std::error_code problem;
  for (int attempt = 1; attempt < 1000; ++attempt) {
    std::filesystem::path target = path;
    target += stamp;
    if (attempt > 1) target += "-" + std::to_string(attempt);
    if (std::filesystem::exists(std::filesystem::symlink_status(target, problem))) continue;
    std::filesystem::rename(path, target, problem);
    if (!problem) return target;
    break;
  }
  throw Error("cannot set '" + printable(path.string(), 300) + "' aside: " + problem.message(),
              "remove or rename it");
}

}  // namespace hearth
