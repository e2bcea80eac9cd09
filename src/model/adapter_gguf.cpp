// GGUF adapters: X.lora_a and X.lora_b for a tensor X (reference: lora-imatrix.md section 1).
#include <fmt/format.h>

#include <utility>

#include "model/adapter_source.h"
#include "support/error.h"

namespace hearth::model {
namespace {

constexpr std::string_view kDown = ".lora_a", kUp = ".lora_b";

class GgufAdapter final : public AdapterSource {
 public:
  GgufAdapter(const std::filesystem::path& path, const gguf::File& model,
              const spec::ModelSpec& spec)
      : AdapterSource(path, model, spec), file_(gguf::File::open(path)) {
    check_kind();
    const double alpha = read_alpha();
    for (const gguf::TensorInfo& tensor : file_.tensors()) {
      const std::string_view name = tensor.name;
      if (name.ends_with(kDown)) {
        const std::string_view base = name.substr(0, name.size() - kDown.size());
        add(base, factor(tensor), factor(partner(base, kUp, name)), alpha, false);
      } else if (name.ends_with(kUp)) {
        (void)partner(name.substr(0, name.size() - kUp.size()), kDown, name);
      } else if (!name.ends_with("_norm.weight")) {
        fail(fmt::format("has a tensor '{}', which is no part of a LoRA", printable(name)),
             "merge it into the model instead");
      }
    }
    file_.check();
  }

  void check() const override { file_.check(); }

 private:
  void check_kind() const {
    const gguf::Metadata& keys = file_.metadata();
    if (keys.get_string("general.type").value_or("") != "adapter") {
      fail("is not an adapter: its general.type is not 'adapter'",
           "name a LoRA adapter in GGUF form or a PEFT folder");
    }
    const std::string_view type = keys.get_string("adapter.type").value_or("");
    if (type != "lora")
      fail(fmt::format("is of the kind '{}', and only 'lora' is supported", printable(type)));
    const std::string_view architecture = keys.get_string("general.architecture").value_or("");
    if (architecture != spec().architecture) {
      fail(fmt::format("is for models of architecture '{}', and this model is '{}'",
                       printable(architecture), spec().architecture),
           "use an adapter that was made for this model");
    }
    if (keys.contains("adapter.alora.invocation_tokens"))
      fail("is an activated LoRA (aLoRA), which is not supported");
  }

  [[nodiscard]] double read_alpha() const {
    const std::optional<double> alpha = file_.metadata().get_float("adapter.lora.alpha");
    if (!alpha) fail("has no adapter.lora.alpha", "convert it again");
    return *alpha;
  }

  [[nodiscard]] const gguf::TensorInfo& partner(std::string_view base, std::string_view suffix,
                                                std::string_view of) const {
    const std::string name = std::string(base) + std::string(suffix);
    const gguf::TensorInfo* found = file_.find_tensor(name);
    if (found == nullptr)
      fail(fmt::format("has '{}' without '{}'", printable(of), printable(name)), "fetch it again");
    return *found;
  }

  [[nodiscard]] Factor factor(const gguf::TensorInfo& tensor) const {
    if (tensor.shape[3] != 1)
      fail(fmt::format("has a tensor '{}' of four dimensions", printable(tensor.name)));
    return {tensor.dtype, tensor.shape[1], tensor.shape[0], tensor.shape[2], file_.data(tensor)};
  }

  gguf::File file_;
};

}  // namespace

std::unique_ptr<AdapterSource> open_gguf_adapter(const std::filesystem::path& path,
                                                 const gguf::File& model,
                                                 const spec::ModelSpec& spec) {
  return std::make_unique<GgufAdapter>(path, model, spec);
}

}  // namespace hearth::model
