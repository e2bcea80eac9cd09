// A golden model with mutated keys and tensors: either an Error, or a valid spec that can be
// counted and run. The first two bytes choose the model, the third whether it is run; the rest are
// mutations (tests/model/mutated_model.h). The models are those of $HEARTH_GOLDENS/arch.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "model/mutated_model.h"
#include "support/error.h"

namespace {

const std::vector<hearth::gguf::File>& models() {
  static const std::vector<hearth::gguf::File> files = [] {
    const char* folder = std::getenv("HEARTH_GOLDENS");
    std::vector<hearth::gguf::File> found = hearth::testing::model_files(
        std::string(folder != nullptr ? folder : HEARTH_DEFAULT_SHARED_DIR "/goldens") + "/arch");
    if (found.empty()) {
      std::fputs("no models to mutate: set HEARTH_GOLDENS\n", stderr);
      std::exit(1);
    }
    return found;
  }();
  return files;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  hearth::testing::Choices choices({data, size});
  const std::size_t model = choices.below(models().size());
  const bool run = choices.byte() % 8 == 0;
  std::string image;
  try {
    image = hearth::testing::mutated_image(models()[model], models(), choices);
  } catch (const hearth::Error&) {
    return -1;  // no GGUF file at all: not worth keeping
  }
  (void)hearth::testing::check_model(std::as_bytes(std::span(image)), run);
  return 0;
}
