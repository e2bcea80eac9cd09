#include "model/quantize/quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "gguf/writer.h"
#include "machine/cpu.h"
#include "model/output_place.h"
#include "model/quantize/tensor_encoder.h"
#include "quant/quant.h"
#include "support/error.h"
#include "support/shown_path.h"
#include "support/write_target.h"

namespace hearth::model::quantize {
namespace {

namespace fs = std::filesystem;

bool same_file(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

/// `NAME-00002-of-00003.gguf` without the number of the part.
std::string without_part_number(const fs::path& path) {
  std::string name = path.filename().string();
  constexpr std::size_t kTail = std::string_view("00001-of-00001.gguf").size();
  if (name.size() > kTail) name.erase(name.size() - kTail, 5);
  return name;
}

/// Whether `out` is the model, or one of its parts.
bool is_input(const fs::path& out, const gguf::File& input) {
  if (same_file(out, input.path())) return true;
  return input.parts() > 1 && same_file(folder_of(out), folder_of(input.path())) &&
         without_part_number(out) == without_part_number(input.path());
}

void refuse_requantizing(const PlannedTensor& tensor) {
  throw Error(fmt::format("the model is quantized already ('{}' is {}), and quantizing again adds "
                          "errors to errors",
                          printable(tensor.source->name), tensor::name(tensor.source->dtype)),
              "use the F16 or BF16 file that it was made from, or add --allow-requantize",
              ExitCode::kUsage);
}

/// Why a tensor of type `type` cannot do without importance.
void refuse_without_importance(const gguf::TensorInfo& tensor, const QuantizeOptions& options,
                               tensor::DType type) {
  if (options.importance.empty()) {
    throw Error(fmt::format("{} needs an importance matrix: '{}' would be {}",
                            info(options.type).name, printable(tensor.name), tensor::name(type)),
                "make one with hearth imatrix and give it with --imatrix", ExitCode::kUsage);
  }
  throw Error(
      fmt::format("the importance matrix '{}' says nothing about '{}', which would be {}",
                  shown_path(options.importance), printable(tensor.name), tensor::name(type)),
      "measure with more text, or choose its type with --tensor-type");
}

/// Whether importance would help, and is usually measured: not that of the table of tokens and the
/// output.
bool expects_importance(const PlannedTensor& tensor) {
  return !tensor.copied() && tensor::info(tensor.type).quantized &&
         tensor.source->name.find("blk.") != std::string::npos;
}

void write_keys(const gguf::File& input, const QuantizeOptions& options,
                const ImportanceMatrix& importance, gguf::Writer& writer) {
  constexpr std::uint32_t kQuantizationVersion = 2;
  writer.copy(input.metadata());
  writer.set("general.quantization_version", kQuantizationVersion);
  if (const auto key = file_type_key(options.type, !options.importance.empty()))
    writer.set("general.file_type", *key);
  if (options.importance.empty()) return;
  writer.set("quantize.imatrix.file", printable(options.importance.filename().string()));
  if (!importance.datasets.empty())
    writer.set("quantize.imatrix.dataset", printable(importance.datasets.front()));
  writer.set("quantize.imatrix.entries_count",
             static_cast<std::uint32_t>(importance.tensors.size()));
  writer.set("quantize.imatrix.chunks_count", importance.chunk_count);
}

}  // namespace

Quantization::Quantization(const fs::path& path, const QuantizeOptions& options)
    : options_(options), input_(gguf::File::open(path)) {
  if (!options.importance.empty()) importance_ = read_importance(options.importance);
  plan();
}

void Quantization::plan() {
  if (input_.tensors().empty())
    throw Error(fmt::format("'{}' has no tensors", shown_path(input_.path())), "name a model");
  const Recipe recipe{options_.type, options_.pure, !options_.importance.empty(),
                      options_.overrides};
  const std::vector<TypeChoice> choices =
      choose_types(model_shape(input_.metadata()), input_.tensors(), recipe);
  std::size_t known = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const PlannedTensor tensor = planned(input_.tensors()[i], choices[i]);
    weights_ += static_cast<std::uint64_t>(tensor.source->elements());
    bytes_before_ += tensor.source->bytes;
    bytes_after_ += tensor.bytes;
    if (tensor.importance != nullptr) ++known;
    if (expects_importance(tensor) && tensor.importance == nullptr) ++without_importance_;
    tensors_.push_back(tensor);
  }
  if (options_.importance.empty()) {
    without_importance_ = 0;
  } else if (known == 0 && without_importance_ != 0) {
    throw Error(
        fmt::format("the importance matrix '{}' is of another model: it knows none of these "
                    "tensors",
                    shown_path(options_.importance)),
        "measure this model with hearth imatrix");
  }
}

PlannedTensor Quantization::planned(const gguf::TensorInfo& tensor,
                                    const TypeChoice& choice) const {
  PlannedTensor result{&tensor, choice.type, tensor.bytes, choice.replaced, nullptr};
  if (result.copied()) return result;
  if (tensor::info(tensor.dtype).quantized && !options_.allow_requantize)
    refuse_requantizing(result);
  if (!quant::can_encode(choice.type)) {
    throw Error(fmt::format("'{}' would be {}, which Hearth cannot make yet",
                            printable(tensor.name), tensor::name(choice.type)),
                "choose another type", ExitCode::kUsage);
  }
  const auto columns = static_cast<std::size_t>(tensor.shape[0]);
  result.bytes = static_cast<std::uint64_t>(tensor.elements() / tensor.shape[0]) *
                 tensor::row_bytes(choice.type, columns);
  result.importance = importance_.find(tensor.name);
  if (result.importance != nullptr &&
      !result.importance->fits(tensor.shape[0], tensor.shape[2] * tensor.shape[3])) {
    throw Error(fmt::format("the importance matrix '{}' is of another model: '{}' has another size",
                            shown_path(options_.importance), printable(tensor.name)),
                "measure this model with hearth imatrix");
  }
  if (choice.needs_importance && result.importance == nullptr)
    refuse_without_importance(tensor, options_, choice.type);
  return result;
}

void Quantization::check_output(const fs::path& out, bool overwrite) const {
  const fs::path target = write_target(out);
  if (is_input(out, input_))
    throw Error(fmt::format("'{}' is the model that is read", shown_path(out)), "name another file",
                ExitCode::kUsage);
  if (same_file(out, options_.importance))
    throw Error(fmt::format("'{}' is the importance matrix", shown_path(out)), "name another file",
                ExitCode::kUsage);
  require_new(out, overwrite);
  require_space(target, bytes_after_);
}

void Quantization::write(const fs::path& out, const WriteOptions& options,
                         const std::function<void(const QuantizeProgress&)>& progress) const {
  check_output(out, options.overwrite);
  std::uint64_t done = 0;
  TensorEncoder encoder(input_, options.threads > 0 ? options.threads : machine::usable_cores(),
                        [&](const PlannedTensor& tensor, std::uint64_t weights) {
                          done += weights;
                          if (progress) progress({tensor.source->name, done, weights_});
                        });
  gguf::Writer writer;
  write_keys(input_, options_, importance_, writer);
  for (const PlannedTensor& tensor : tensors_) {
    const gguf::TensorInfo& source = *tensor.source;
    writer.add_tensor(source.name, tensor.type, {source.shape, source.shape + source.dimensions},
                      [&](std::uint64_t offset, std::span<std::byte> bytes) {
                        encoder.read(tensor, offset, bytes);
                      });
  }
  writer.write(out);
}

}  // namespace hearth::model::quantize
