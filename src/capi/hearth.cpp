// hearth/hearth.h: errors, models, tokens, embeddings. Generating is in generate.cpp.

#include <hearth/hearth.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <new>
#include <span>
#include <vector>

#include "capi/handles.h"
#include "model/families/registry.h"
#include "plan/setup_file.h"
#include "spec/kv_format.h"

namespace hearth::capi {

void store_error(hearth_error** error, const std::string& message,
                 const std::string& hint) noexcept {
  if (error == nullptr) return;
  try {
    *error = new hearth_error{message, hint};
  } catch (...) {
    *error = nullptr;
  }
}

hearth_status describe_exception(hearth_error** error) noexcept {
  try {
    throw;
  } catch (const Error& e) {
    store_error(error, e.what(), e.hint());
    return static_cast<hearth_status>(e.exit_code());
  } catch (const std::bad_alloc&) {
    store_error(error, "out of memory", "choose a smaller model or context");
    return HEARTH_DOES_NOT_FIT;
  } catch (const std::exception& e) {
    store_error(error, e.what(), "");
    return HEARTH_FAILED;
  } catch (...) {
    store_error(error, "unknown failure", "");
    return HEARTH_FAILED;
  }
}

void require(const void* pointer, const char* name) {
  if (pointer != nullptr) return;
  throw Error(std::string(name) + " is null", "see hearth/hearth.h", ExitCode::kUsage);
}

namespace {

std::unique_ptr<hearth_model> load(serve::ServedModelOptions options,
                                   const std::filesystem::path& path, hearth_progress progress,
                                   void* user) {
  auto handle = std::make_unique<hearth_model>();
  const auto report = [&](double fraction) {
    if (progress == nullptr || progress(fraction, user) == 0) return;
    throw Error("loading was cancelled", "", ExitCode::kInterrupted);
  };
  handle->model = std::make_unique<serve::ServedModel>(
      path, options, std::make_shared<generate::ComputeTurn>(), report);
  handle->name = handle->model->title();
  handle->chat = generate::ChatPrompt::of(handle->model->metadata());
  return handle;
}

serve::ServedModelOptions options_of(const hearth_setup& setup) {
  if (setup.context < 0 || setup.parallel < 1 || setup.threads < 0) {
    throw Error("context and threads must not be negative, and parallel must be at least 1", "",
                ExitCode::kUsage);
  }
  serve::ServedModelOptions options;
  options.setup.context = setup.context;
  options.setup.threads = setup.threads;
  options.setup.exact = setup.exact != 0;
  options.setup.mapped = setup.mapped != 0;
  if (setup.kv_format != nullptr) {
    options.setup.kv_type = spec::parse_kv_format(setup.kv_format);
  } else if (options.setup.exact) {
    options.setup.kv_type = spec::parse_kv_format("f32");
  }
  options.limits.parallel = setup.parallel;
  return options;
}

generate::TokenList tokens_of(const hearth_model& model, const char* text, bool with_marks) {
  return model.model->tokenizer().encode(
      text, text::EncodeOptions{.add_special = with_marks, .parse_special = false});
}

/// Copies to a caller's buffer if it is large enough.
template <class Element>
hearth_status copy_out(std::span<const Element> from, Element* to, std::size_t capacity,
                       std::size_t* count) {
  *count = from.size();
  if (from.size() > capacity) return HEARTH_TOO_SMALL;
  if (!from.empty()) std::copy(from.begin(), from.end(), to);
  return HEARTH_OK;
}

}  // namespace
}  // namespace hearth::capi

using hearth::capi::guarded;
using hearth::capi::require;

const char* hearth_error_message(const hearth_error* error) {
  return error == nullptr ? "" : error->message.c_str();
}

const char* hearth_error_hint(const hearth_error* error) {
  return error == nullptr ? "" : error->hint.c_str();
}

void hearth_error_free(hearth_error* error) { delete error; }

const char* hearth_version(void) { return HEARTH_VERSION; }

hearth_setup hearth_setup_default(void) {
  hearth_setup setup{};
  setup.size = sizeof setup;
  setup.parallel = 1;
  return setup;
}

hearth_status hearth_model_load(const hearth_setup* setup, hearth_progress progress, void* user,
                                hearth_model** model, hearth_error** error) {
  return guarded(error, [&] {
    require(model, "model");
    *model = nullptr;
    require(setup, "setup");
    require(setup->model, "setup->model");
    hearth_setup known = hearth_setup_default();
    std::memcpy(&known, setup, std::min(setup->size, sizeof known));
    *model =
        hearth::capi::load(hearth::capi::options_of(known), known.model, progress, user).release();
    return HEARTH_OK;
  });
}

hearth_status hearth_model_load_saved(const char* setup_file, hearth_progress progress, void* user,
                                      hearth_model** model, hearth_error** error) {
  return guarded(error, [&] {
    require(model, "model");
    *model = nullptr;
    require(setup_file, "setup_file");
    std::string warning;
    const auto saved = hearth::plan::load_setup(
        setup_file, [&warning](const std::string& sentence) { warning = sentence; });
    if (!saved.has_value()) {
      throw hearth::Error(warning.empty()
                              ? std::string("there is no setup at ") + hearth::printable(setup_file)
                              : warning,
                          "save one with hearth up");
    }
    hearth::serve::ServedModelOptions options;
    options.setup = saved->setup;
    options.limits.parallel = std::max(1, saved->setup.sequences);
    *model = hearth::capi::load(options, saved->setup.model, progress, user).release();
    return HEARTH_OK;
  });
}

void hearth_model_free(hearth_model* model) { delete model; }

const char* hearth_model_name(const hearth_model* model) {
  return model == nullptr ? "" : model->name.c_str();
}

int64_t hearth_model_context(const hearth_model* model) {
  return model == nullptr ? 0 : model->model->context();
}

int64_t hearth_model_dimensions(const hearth_model* model) {
  if (model == nullptr || model->model->kind() != hearth::serve::ModelKind::kEmbeds) return 0;
  return model->model->dimensions();
}

int hearth_model_can_chat(const hearth_model* model) {
  return model != nullptr && model->chat.has_value() &&
                 model->model->kind() == hearth::serve::ModelKind::kGenerates
             ? 1
             : 0;
}

hearth_status hearth_tokenize(const hearth_model* model, const char* text, int with_marks,
                              int32_t* tokens, size_t capacity, size_t* count,
                              hearth_error** error) {
  return guarded(error, [&] {
    require(model, "model");
    require(text, "text");
    require(count, "count");
    if (capacity > 0) require(tokens, "tokens");
    const hearth::generate::TokenList found =
        hearth::capi::tokens_of(*model, text, with_marks != 0);
    return hearth::capi::copy_out<int32_t>(found, tokens, capacity, count);
  });
}

hearth_status hearth_detokenize(const hearth_model* model, const int32_t* tokens, size_t count,
                                char* text, size_t capacity, size_t* length, hearth_error** error) {
  return guarded(error, [&] {
    require(model, "model");
    require(length, "length");
    if (count > 0) require(tokens, "tokens");
    const std::string decoded =
        model->model->tokenizer().decode({tokens, count}, hearth::text::DecodeOptions{});
    *length = decoded.size();
    if (decoded.size() + 1 > capacity) return HEARTH_TOO_SMALL;
    require(text, "text");
    std::memcpy(text, decoded.c_str(), decoded.size() + 1);
    return HEARTH_OK;
  });
}

hearth_status hearth_embed(hearth_model* model, const char* const* texts, size_t count,
                           float* vectors, size_t capacity, hearth_error** error) {
  return guarded(error, [&] {
    require(model, "model");
    if (count == 0) return HEARTH_OK;
    require(texts, "texts");
    const auto dimensions = static_cast<std::size_t>(hearth_model_dimensions(model));
    if (dimensions == 0) {
      throw hearth::Error("this model makes no embeddings", "load an embedding model",
                          hearth::ExitCode::kUsage);
    }
    if (capacity / dimensions < count) return HEARTH_TOO_SMALL;
    require(vectors, "vectors");
    std::vector<hearth::generate::TokenList> lists;
    for (std::size_t i = 0; i < count; ++i) {
      require(texts[i], "a text");
      lists.push_back(model->model->text_encoder().text(texts[i]));
    }
    model->model->embed(lists, [&](std::size_t text, std::span<const float> vector) {
      std::copy(vector.begin(), vector.end(), vectors + text * dimensions);
    });
    return HEARTH_OK;
  });
}
