#include "measure/model_identity.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "support/error.h"

namespace hearth::measure {
namespace {

constexpr std::size_t kMaxName = 100;

/// Converters have written folders into general.name.
std::string last_part(std::string_view name) {
  while (name.ends_with('/') || name.ends_with('\\')) name.remove_suffix(1);
  const std::size_t slash = name.find_last_of("/\\");
  return std::string(slash == std::string_view::npos ? name : name.substr(slash + 1));
}

}  // namespace

std::string main_type(const gguf::File& file) {
  std::map<tensor::DType, std::uint64_t> bytes;
  for (const gguf::TensorInfo& tensor : file.tensors()) bytes[tensor.dtype] += tensor.bytes;
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? std::string() : std::string(tensor::name(most->first));
}

ModelIdentity identify_model(const gguf::File& file) {
  ModelIdentity identity;
  const gguf::Metadata& metadata = file.metadata();
  identity.name = printable(last_part(metadata.get_string("general.name").value_or("")), kMaxName);
  identity.architecture =
      printable(metadata.get_string("general.architecture").value_or(""), kMaxName);
  for (const gguf::TensorInfo& tensor : file.tensors())
    identity.parameters += static_cast<std::uint64_t>(tensor.elements());
  identity.type = main_type(file);
  identity.file_bytes = file.file_bytes();
  return identity;
}

}  // namespace hearth::measure
