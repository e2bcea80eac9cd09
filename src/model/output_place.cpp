#include "model/output_place.h"

#include <fmt/format.h>

#include <string>
#include <system_error>

#include "support/error.h"
#include "support/shown_path.h"
#include "support/units.h"

namespace hearth::model {

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

void require_space(const std::filesystem::path& out, std::uint64_t bytes) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder_of(out), error);
  if (error || space.available >= bytes) return;
  throw Error(fmt::format("the result needs {}, but '{}' has {} free", precise_size_text(bytes),
                          shown_path(folder_of(out)), precise_size_text(space.available)),
              "make room or write elsewhere", ExitCode::kDoesNotFit);
}

}  // namespace hearth::model
