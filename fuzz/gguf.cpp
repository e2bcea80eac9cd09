// Any bytes as a GGUF file: either an Error, or a model whose metadata and tensors can all be read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "quant/quant.h"
#include "support/error.h"

namespace {

using hearth::gguf::File;

void read_metadata(const hearth::gguf::Metadata& metadata) {
  for (const auto& entry : metadata.entries()) {
    if (metadata.find(entry.key) != &entry.value) std::abort();
    (void)metadata.get_uint(entry.key);
    (void)metadata.get_int(entry.key);
    (void)metadata.get_float(entry.key);
    (void)metadata.get_bool(entry.key);
    (void)metadata.get_ints(entry.key);
    (void)metadata.get_floats(entry.key);
    (void)metadata.get_string(entry.key);
    if (const auto strings = metadata.get_strings(entry.key)) {
      for (const auto text : *strings) (void)hearth::printable(text);
    }
  }
}

void read_tensors(const File& file) {
  unsigned sum = 0;
  for (const auto& tensor : file.tensors()) {
    if (file.find_tensor(tensor.name) != &tensor) std::abort();
    const auto data = file.data(tensor);
    for (const std::byte byte : data) sum += static_cast<unsigned>(byte);
    if (!hearth::quant::can_decode(tensor.dtype)) continue;
    const auto& type = hearth::tensor::info(tensor.dtype);
    const std::size_t blocks = std::min<std::size_t>(data.size() / type.block_bytes, 4);
    std::vector<float> values(blocks * type.block_elements);
    hearth::quant::decode(tensor.dtype, data.first(blocks * type.block_bytes), values);
  }
  const volatile unsigned touched = sum;  // keeps the reads
  (void)touched;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const File file = File::from_bytes(std::as_bytes(std::span(data, size)), "fuzz");
    read_metadata(file.metadata());
    read_tensors(file);
    file.check();
  } catch (const hearth::Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
