// Where the reference data is: HEARTH_SHARED, else ../shared beside the checkout. HEARTH_GOLDENS
// overrides goldens/ alone.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace hearth::testing {

inline std::filesystem::path shared_dir() {
  const char* given = std::getenv("HEARTH_SHARED");
  return given != nullptr ? given : HEARTH_DEFAULT_SHARED_DIR;
}

inline std::filesystem::path goldens_dir() {
  const char* given = std::getenv("HEARTH_GOLDENS");
  return given != nullptr ? std::filesystem::path(given) : shared_dir() / "goldens";
}

inline std::filesystem::path golden_model(const std::string& name) {
  return goldens_dir() / "arch" / (name + ".gguf");
}
inline std::filesystem::path stories_model() {
  return shared_dir() / "models" / "stories260K.gguf";
}

/// What GoogleTest takes as the name of a golden case.
inline std::string case_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

}  // namespace hearth::testing

/// Skips the test, saying so, when the reference data is not there.
#define HEARTH_REQUIRE_FILE(path)                                                        \
  do {                                                                                   \
    if (!std::filesystem::exists(path)) {                                                \
      GTEST_SKIP() << "reference data not found: " << (path) << " (set HEARTH_GOLDENS)"; \
    }                                                                                    \
  } while (false)
