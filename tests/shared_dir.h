// Where the reference data is: HEARTH_SHARED, else ../shared beside the checkout. HEARTH_GOLDENS
// overrides goldens/ alone.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace hearth::testing {

inline std::filesystem::path shared_dir() {
  const char* given = std::getenv("HEARTH_SHARED");
  return given != nullptr ? given : HEARTH_DEFAULT_SHARED_DIR;
}

inline std::filesystem::path goldens_dir() {
  const char* given = std::getenv("HEARTH_GOLDENS");
  return given != nullptr ? std::filesystem::path(given) : shared_dir() / "goldens";
}

}  // namespace hearth::testing

/// Skips the test, saying so, when the reference data is not there.
#define HEARTH_REQUIRE_FILE(path)                                                        \
  do {                                                                                   \
    if (!std::filesystem::exists(path)) {                                                \
      GTEST_SKIP() << "reference data not found: " << (path) << " (set HEARTH_GOLDENS)"; \
    }                                                                                    \
  } while (false)
