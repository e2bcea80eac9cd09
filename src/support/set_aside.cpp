#include "support/set_aside.h"

#include <fcntl.h>
#include <stdio.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include "support/error.h"

namespace hearth {

std::filesystem::path set_aside(const std::filesystem::path& path) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, ".bad-%Y%m%d-%H%M%S", &parts);
  for (int attempt = 1; attempt < 1000; ++attempt) {
    std::filesystem::path target = path;
    target += stamp;
    if (attempt > 1) target += "-" + std::to_string(attempt);
    // What was set aside before is never overwritten, whoever else does the same just now.
    if (renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0)
      return target;
    if (errno != EEXIST) break;
  }
  throw Error("cannot set '" + printable(path.string(), 300) + "' aside: " + std::strerror(errno),
              "remove or rename it");
}

}  // namespace hearth
