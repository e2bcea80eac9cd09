#include "support/file_error.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "support/shown_path.h"

namespace hearth {

void throw_file_error(std::string_view verb, const std::filesystem::path& path,
                      std::string_view when_full) {
  const int reason = errno;
  const bool full = reason == ENOSPC || reason == EDQUOT || reason == EFBIG;
  throw Error(
      "cannot " + std::string(verb) + " '" + shown_path(path) + "': " + std::strerror(reason),
      full ? std::string(when_full) : std::string(),
      full ? ExitCode::kDoesNotFit : ExitCode::kFailure);
}

}  // namespace hearth
