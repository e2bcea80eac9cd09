#include "cli/plan_subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "cli/fetching.h"
#include "cli/model_choice.h"
#include "cli/models.h"
#include "gguf/file.h"
#include "hub/remote_header.h"
#include "measure/shapes.h"
#include "plan/counted_workload.h"
#include "support/ascii.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

CountedModel counted_shape(const measure::Shape& shape, const std::string& name) {
  const plan::HeaderFile header(shape);
  CountedModel model{name, plan::counted_workload(header.file())};
  model.workload.model = name;
  return model;
}

CountedModel counted_known_shape(const std::string& text) {
  std::string name = text, type;
  if (const std::size_t colon = text.rfind(':'); colon != std::string::npos) {
    name = text.substr(0, colon);
    type = ascii_upper(text.substr(colon + 1));
  }
  std::optional<tensor::DType> dtype;
  if (!type.empty()) {
    dtype = tensor::dtype_from_name(type);
    if (!dtype) {
      throw Error(fmt::format("unknown type '{}'", printable(type)), "Q4_K, Q8_0, F16 … are types",
                  ExitCode::kUsage);
    }
  }
  return counted_shape(measure::named_shape(name, dtype), "shape:" + text);
}

}  // namespace

std::optional<CountedModel> counted_model(const std::string& word, const plan::Catalog& catalog) {
  if (word.starts_with("shape:")) return counted_known_shape(word.substr(6));
  if (word.starts_with("hf:")) {
    const hub::RemoteHeader header =
        hub::read_remote_header(user_network(), word, planned_choice());
    const std::string& name = header.model().reference;
    return counted_shape(measure::header_shape(header.file(), name, {}), name);
  }
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(word, error);
  if (!is_file && catalog.find(word) != nullptr) return {};
  if (!is_file) {
    // NAME:QUANT of the catalog is no name of the store.
    const std::size_t colon = word.rfind(':');
    if (colon != std::string::npos) return {};
    const auto stored = stored_models();
    const bool known = std::any_of(stored.begin(), stored.end(), [&](const auto& path) {
      return path.filename() == word || path.stem() == word;
    });
    // Names of files are none of the catalog: what is wrong with them is told as of files.
    const bool path = word.ends_with(".gguf") || word.starts_with('/') || word.starts_with("./") ||
                      word.starts_with("../");
    if (!known && !path) return {};
  }
  const std::filesystem::path path = resolve_model(word);
  return counted_shape(measure::file_shape(path, {}), path.stem().string());
}

}  // namespace hearth::cli
