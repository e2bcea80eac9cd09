#include "gguf/check_header.h"

#include "gguf/header.h"

namespace hearth::gguf {

void check_header(std::span<const std::byte> bytes, const std::string& name) {
  (void)HeaderReader(bytes, name, /*with_data=*/false).read();
}

}  // namespace hearth::gguf
