// Any bytes as a safetensors file: either an Error, or tensors that can all be read. The first byte
// tells whether the rest is a whole file or only its JSON header, so that the fuzzer need not guess
// the header's size.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/safetensors.h"
#include "support/error.h"

namespace {

void read_all(const hearth::gguf::SafeTensors& file) {
  for (const auto& tensor : file.tensors()) {
    if (file.find(tensor.name) != &tensor) std::abort();
    if (file.data(tensor).size() != tensor.bytes) std::abort();
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    file.read(tensor, 0, values);
    (void)hearth::gguf::shape_text(tensor.shape);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string file(rest);
  if (data[0] % 2 == 0) {
    const std::uint64_t header = rest.size();
    std::string length(sizeof(header), '\0');
    std::memcpy(length.data(), &header, sizeof(header));
    // Data of as many bytes as the first byte says.
    file = length + std::string(rest) + std::string(data[0] / 2, '\x5A');
  }
  try {
    read_all(hearth::gguf::SafeTensors::from_bytes(std::as_bytes(std::span(file)), "fuzz"));
  } catch (const hearth::Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
