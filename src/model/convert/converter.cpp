#include "model/convert/converter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "gguf/safetensors.h"
#include "gguf/writer.h"
#include "model/convert/config.h"
#include "model/convert/conversion.h"
#include "model/convert/families.h"
#include "model/convert/tokenizer.h"
#include "model/output_place.h"
#include "support/error.h"
#include "support/shown_path.h"
#include "support/write_target.h"

namespace hearth::model::convert {
namespace {

namespace fs = std::filesystem;

/// The configuration of the language model: that of a model with other parts, too (images), lies
/// under text_config.
Config read_model_config(const fs::path& directory) {
  if (!fs::is_directory(directory)) {
    throw Error(fmt::format("'{}' is not a folder", shown_path(directory)),
                "name the folder of a Hugging Face checkpoint");
  }
  const fs::path path = directory / "config.json";
  if (!fs::exists(path)) {
    throw Error(fmt::format("the folder '{}' has no config.json", shown_path(directory)),
                "name the folder of a Hugging Face checkpoint, with all its files");
  }
  const Config config = read_config(path);
  return config.has("text_config") ? config.overlaid(config.object("text_config")) : config;
}

const ConvertibleFamily& find_family(const Config& config) {
  const std::string type = config.string("model_type");
  for (const ConvertibleFamily& family : convertible_families()) {
    if (family.model_type == type) return family;
  }
  throw Error(fmt::format("models of type '{}' cannot be converted", printable(type)),
              fmt::format("known types are {}", fmt::join(convertible_model_types(), ", ")));
}

void refuse_quantized(const Config& config) {
  const Config quantization = config.object("quantization_config");
  if (quantization.json().empty()) return;
  const std::string method = quantization.string("quant_method", std::string("unknown"));
  if (method == "fp8" && quantization.has("weight_block_size")) return;
  throw Error(fmt::format("the checkpoint is quantized ({})", printable(method)),
              "convert the checkpoint that it was made from; quantize the GGUF file afterwards");
}

/// The name of the model: that of its folder, also in the cache of huggingface_hub
/// (models--OWNER--NAME/snapshots/HASH).
std::string model_name(const fs::path& directory) {
  fs::path path = fs::weakly_canonical(directory);
  if (path.parent_path().filename() == "snapshots") {
    const std::string folder = path.parent_path().parent_path().filename().string();
    if (const std::size_t last = folder.rfind("--"); last != folder.npos)
      return printable(folder.substr(last + 2));
  }
  return printable(path.filename().string());
}

void write_general_keys(const fs::path& directory, tensor::DType type, gguf::Writer& writer) {
  constexpr std::uint32_t kFileTypeF32 = 0, kFileTypeF16 = 1, kFileTypeBF16 = 32;
  writer.set("general.type", "model");
  writer.set("general.name", model_name(directory));
  writer.set("general.file_type", type == tensor::DType::kF32    ? kFileTypeF32
                                  : type == tensor::DType::kBF16 ? kFileTypeBF16
                                                                 : kFileTypeF16);
  writer.set("general.quantization_version", std::uint32_t{2});
}

/// The publisher's sampling settings, where they are within what samplers accept.
void write_sampling(const fs::path& directory, gguf::Writer& writer) {
  const Config config = read_config(directory / "generation_config.json");
  if (!config.boolean("do_sample", true)) return;
  const auto copy = [&](const char* from, const char* to, double least, double most) {
    if (!config.has(from)) return;
    const double value = config.number(from);
    if (value >= least && value <= most)
      writer.set(std::string("general.sampling.") + to, static_cast<float>(value));
  };
  copy("temperature", "temp", 0, 100);
  copy("top_p", "top_p", 0, 1);
  copy("min_p", "min_p", 0, 1);
  copy("repetition_penalty", "penalty_repeat", 1e-3, 1e3);
  if (config.has("top_k")) {
    const double top_k = config.number("top_k");
    if (top_k >= 0 && top_k <= 1e6 && top_k == std::floor(top_k))
      writer.set("general.sampling.top_k", static_cast<std::int32_t>(top_k));
  }
}

/// How sentence-transformers pools, from modules.json and the folder it names.
void write_pooling(const fs::path& directory, Conversion& conversion) {
  const fs::path path = directory / "modules.json";
  if (!fs::exists(path)) return;
  const Json modules = read_json(path, std::size_t{1} << 20);
  if (!modules.is_array()) throw Error("modules.json is not a list");
  for (const Json& item : modules) {
    const Config module(item, "modules.json");
    const std::string type = module.string("type", std::string());
    if (type.ends_with(".Dense")) conversion.warn("the dense layers after pooling are left out");
    if (!type.ends_with(".Pooling")) continue;
    const fs::path folder = module.string("path", std::string());
    if (folder != folder.filename() || folder == "..") module.fail("path", "is not a plain name");
    const Config pooling = read_config(directory / folder / "config.json");
    const auto is = [&](const char* name, const char* text) {
      return pooling.boolean(std::string("pooling_mode_") + name, false) ||
             pooling.string("pooling_mode", std::string()) == text;
    };
    std::optional<std::int64_t> kind;
    if (is("mean_tokens", "mean")) kind = 1;
    if (is("cls_token", "cls")) kind = 2;
    if (is("lasttoken", "lasttoken")) kind = 3;
    if (!kind) pooling.fail("pooling_mode", "is neither mean, cls nor lasttoken");
    conversion.set_size("pooling_type", *kind);
  }
}

/// What language models with other parts carry besides.
void ignore_other_parts(const gguf::SafeTensors& tensors, Conversion& conversion) {
  constexpr std::string_view kPrefixes[] = {"vision_tower.",
                                            "model.vision_tower.",
                                            "multi_modal_projector.",
                                            "model.multi_modal_projector.",
                                            "visual.",
                                            "model.visual.",
                                            "vision_model.",
                                            "audio_tower.",
                                            "model.audio_tower."};
  bool found = false;
  for (const std::string_view prefix : kPrefixes) {
    conversion.ignore_prefix(prefix);
    const auto begins = [&](const gguf::SafeTensor& tensor) {
      return tensor.name.starts_with(prefix);
    };
    found = found || std::any_of(tensors.tensors().begin(), tensors.tensors().end(), begins);
  }
  if (found) conversion.warn("the parts for images or sound are left out: the result reads text");
}

void check_arguments(const fs::path& directory, const fs::path& out,
                     const ConvertOptions& options) {
  if (options.type != tensor::DType::kF16 && options.type != tensor::DType::kBF16 &&
      options.type != tensor::DType::kF32) {
    throw Error(fmt::format("cannot convert to {}", tensor::name(options.type)),
                "convert to F16, BF16 or F32 and quantize afterwards", ExitCode::kUsage);
  }
  require_new(out, options.overwrite);
  if (fs::exists(out) && out.extension() != ".gguf" && fs::equivalent(folder_of(out), directory))
    throw Error(fmt::format("'{}' is a file of the checkpoint", shown_path(out)),
                "name another file");
}

}  // namespace

namespace {

ConvertResult convert_checked(const fs::path& directory, const fs::path& out,
                              const ConvertOptions& options,
                              const std::function<void(const ConvertProgress&)>& progress) {
  const Config config = read_model_config(directory);
  const ConvertibleFamily& family = find_family(config);
  check_arguments(directory, out, options);
  refuse_quantized(config);
  const gguf::SafeTensors tensors = gguf::SafeTensors::open(directory);

  gguf::Writer writer;
  Conversion conversion(tensors, config, writer, options.type);
  ignore_other_parts(tensors, conversion);
  family.convert(conversion);
  conversion.require_all_used();
  write_pooling(directory, conversion);
  write_general_keys(directory, options.type, writer);
  write_sampling(directory, writer);
  convert_tokenizer({directory, config, conversion.architecture(), conversion.vocabulary(),
                     options.pre_tokenizer},
                    writer);

  ConvertResult result{conversion.architecture(), conversion.tensors(), conversion.bytes(),
                       conversion.warnings()};
  require_space(out, result.bytes);
  std::uint64_t done = 0;
  conversion.on_progress([&](std::string_view tensor, std::uint64_t bytes) {
    tensors.check();
    done += bytes;
    if (progress) progress({tensor, done, result.bytes});
  });
  writer.write(out);
  return result;
}

}  // namespace

ConvertResult convert(const fs::path& directory, const fs::path& out, const ConvertOptions& options,
                      const std::function<void(const ConvertProgress&)>& progress) {
  try {
    return convert_checked(directory, out, options, progress);
  } catch (const fs::filesystem_error& error) {  // a folder that may not be read, say
    throw Error(
        fmt::format("cannot convert '{}': {}", shown_path(directory), error.code().message()));
  }
}

std::vector<std::string_view> convertible_model_types() {
  std::vector<std::string_view> types;
  for (const ConvertibleFamily& family : convertible_families()) types.push_back(family.model_type);
  return types;
}

}  // namespace hearth::model::convert
