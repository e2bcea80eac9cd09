// Any bytes as a machine: an Error of one line, or a machine that is written and read back the
// same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "measure/machine_file.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  try {
    const auto machine =
        measure::parse_machine(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    const std::string written = measure::machine_text(machine);
    const auto again = measure::parse_machine(written, "again");
    if (measure::machine_text(again) != written) std::abort();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
