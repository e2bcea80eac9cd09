#include "support/write_target.h"

#include <sys/stat.h>

#include "support/error.h"

namespace hearth {

std::filesystem::path write_target(const std::filesystem::path& path) {
  if (path == "-") {
    throw Error("'-' is no name of a file to write, and standard output is not written here",
                "name a file; ./- is one of that name", ExitCode::kUsage);
  }
  struct stat status = {};
  // Where nothing can be asked, writing says in its own words what is wrong.
  if (::lstat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return path;
  const auto refuse = [&](const char* what) {
    throw Error(in_quotes(path.string(), kPathLimit) + what, "name a file to write",
                ExitCode::kUsage);
  };
  if (S_ISLNK(status.st_mode)) {
    if (::stat(path.c_str(), &status) != 0) refuse(" is a link to nothing");
    std::error_code error;
    std::filesystem::path target = std::filesystem::canonical(path, error);
    if (S_ISREG(status.st_mode) && !error) return target;
  }
  refuse(S_ISDIR(status.st_mode) ? " is a folder, not a file" : " is not a regular file");
  return path;
}

void require_new(const std::filesystem::path& path, bool replace) {
  std::error_code ignored;  // where nothing can be asked, writing says what is wrong
  if (!std::filesystem::exists(write_target(path), ignored) || replace) return;
  throw Error(in_quotes(path.string(), kPathLimit) + " exists already",
              "use --force to replace it");
}

}  // namespace hearth
