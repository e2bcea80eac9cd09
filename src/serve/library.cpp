#include "serve/library.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "gguf/file.h"
#include "hub/pull.h"
#include "hub/reference.h"
#include "hub/sha256.h"
#include "serve/http/message.h"
#include "serve/request_failure.h"
#include "support/error.h"
#include "text/chat_template.h"

namespace hearth::serve {
namespace {

namespace fs = std::filesystem;

/// "model" is short for "model:latest".
std::string_view without_latest(std::string_view name) {
  constexpr std::string_view kTag = ":latest";
  return name.ends_with(kTag) ? name.substr(0, name.size() - kTag.size()) : name;
}

/// The name under which the store keeps what a client calls "user/model:tag".
std::string stored_name(std::string_view name) {
  std::string safe = hub::safe_name(without_latest(name));
  if (hub::is_safe_name(safe)) return safe;
  throw RequestFailure(400, fmt::format("'{}' cannot be a model's name", printable(name)),
                       "invalid_value", "model");
}

/// What `hearth pull` would be told.
std::string reference_of(const std::string& name) {
  for (const char* prefix : {"hf.co/", "huggingface.co/"}) {
    if (name.starts_with(prefix)) return "hf:" + name.substr(std::string_view(prefix).size());
  }
  // Clients send names: never paths of this machine, and addresses only of known registries.
  return "ollama:" + name;
}

void refuse_unsupported(const OllamaCreate& wanted) {
  if (!wanted.quantize.empty()) {
    throw RequestFailure(501,
                         "creating a model with another quantization is not possible here: use "
                         "`hearth quantize`",
                         "not_implemented", "quantize");
  }
  if (wanted.files.size() > 1) {
    throw RequestFailure(501, "creating a model of several files is not possible here",
                         "not_implemented", "files");
  }
}

/// The template is parsed now, when somebody is there to be told.
void check_template(const std::string& source) {
  if (source.empty()) return;
  if (is_go_template(source)) {
    throw RequestFailure(400,
                         "template is one of Go's, which are not run here: send a Jinja template, "
                         "or leave it out and the model's own is used",
                         "unsupported_value", "template");
  }
  try {
    static_cast<void>(text::ChatTemplate(source, "the template"));
  } catch (const text::jinja::TemplateError& error) {
    throw RequestFailure(400, printable(error.what(), 400), "template_error", "template");
  }
}

}  // namespace

void Library::require_changes() const {
  if (options_.read_only)
    throw RequestFailure(403, "this server does not change its models (--read-only)", "read_only");
}

void Library::pull(const std::string& name, const Status& status) {
  require_changes();
  std::atomic<bool> cancel{false};
  const auto tell = [&](std::string_view what, std::string_view digest, std::uint64_t total,
                        std::uint64_t done) {
    if (!status(what, digest, total, done)) cancel.store(true);
  };
  const hub::Network network = options_.network(&cancel);
  hub::PullOptions pulling;
  pulling.resolve = options_.resolve();
  std::vector<hub::RemoteFile> files;
  pulling.approve = [&](const hub::RemoteModel& model) {
    files = model.files;
    return true;
  };
  pulling.on_progress = [&](const hub::Progress& progress, std::size_t index, std::size_t) {
    if (progress.stage == hub::Progress::Stage::kVerifying)
      return tell("verifying sha256 digest", {}, 0, 0);
    const std::string sha256 = index < files.size() ? files[index].sha256 : std::string();
    tell(fmt::format("pulling {}", sha256.empty() ? "model" : sha256.substr(0, 12)),
         sha256.empty() ? "" : "sha256:" + sha256, progress.total, progress.done);
  };
  tell("pulling manifest", {}, 0, 0);
  static_cast<void>(hub::pull(store_, network, reference_of(name), pulling));
  tell("writing manifest", {}, 0, 0);
  tell("success", {}, 0, 0);
}

hub::Manifest Library::manifest_of(const std::string& name) {
  const AvailableModel model = models_.available(name);
  const std::optional<hub::StoredModel> stored = store_.find(model.name);
  if (!stored || stored->by_hand) {
    throw RequestFailure(400,
                         fmt::format("'{}' is a file that the store does not manage; adopt it "
                                     "with `hearth import`",
                                     printable(name)),
                         "invalid_value", "from");
  }
  return stored->manifest;
}

/// A model that is created may replace one of the same name, not one that only the store calls so,
/// and must not be hidden by a file that has the name.
void Library::check_free(const hub::Manifest& manifest) const {
  const std::optional<hub::StoredModel> stored = store_.find(manifest.name);
  if (stored && !stored->by_hand) {
    const std::string& reference = stored->manifest.reference;
    if (!reference.starts_with("created:") || reference == manifest.reference ||
        reference == "created:" + manifest.name)
      return;
    throw RequestFailure(
        400,
        fmt::format("the store would call it '{}', as it does another model; choose another name",
                    manifest.name),
        "invalid_value", "model");
  }
  const std::optional<AvailableModel> other = models_.directory().find(manifest.name);
  if (!other || lower_case(other->name) != lower_case(manifest.name)) return;
  throw RequestFailure(
      400, fmt::format("'{}' is the name of a file that is served; choose another", manifest.name),
      "invalid_value", "model");
}

void Library::commit(const hub::Manifest& manifest) const {
  store_.prepare();
  try {
    store_.check_name(manifest);
  } catch (const Error& error) {
    throw RequestFailure(400,
                         fmt::format("{}; delete that first or choose another name", error.what()),
                         "invalid_value", "model");
  }
  if (!store_.commit(manifest))
    throw RequestFailure(400, "a file of the model is not there: send its blob first",
                         "invalid_value", "files");
}

/// A blob that must be a GGUF file. Throws RequestFailure.
hub::StoredFile Library::blob_file(const std::string& digest, const char* parameter) const {
  const std::optional<std::string> sha256 = sha256_of_digest(digest);
  if (!sha256 || !store_.has_blob(*sha256)) {
    throw RequestFailure(400, "the file is not there: send its blob first", "invalid_value",
                         parameter);
  }
  const fs::path blob = store_.blob_path(*sha256);
  try {
    static_cast<void>(gguf::File::open(blob));
  } catch (const Error& error) {
    throw RequestFailure(400, error.what(), "invalid_value", parameter);
  }
  return {.name = {}, .size = fs::file_size(blob), .sha256 = *sha256, .url = {}, .adopted = {}};
}

void Library::create(const OllamaCreate& wanted, const Status& status) {
  require_changes();
  refuse_unsupported(wanted);
  check_template(wanted.chat_template);
  hub::Manifest manifest;
  if (!wanted.files.empty()) {
    status("parsing GGUF", {}, 0, 0);
    manifest.files.push_back(blob_file(wanted.files.begin()->second, "files"));
  } else if (!wanted.from.empty()) {
    manifest = manifest_of(wanted.from);
    manifest.requested.clear();
  } else {
    throw RequestFailure(400, "neither 'from' nor 'files' was specified", "invalid_value", "from");
  }
  manifest.name = stored_name(wanted.model);
  manifest.source = "file";
  manifest.reference = "created:" + std::string(without_latest(wanted.model));
  check_free(manifest);
  manifest.added = hub::utc_now();
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    manifest.files[i].name =
        manifest.files.size() == 1
            ? manifest.name + ".gguf"
            : fmt::format("{}-{:05}-of-{:05}.gguf", manifest.name, i + 1, manifest.files.size());
  }
  if (!wanted.adapters.empty()) manifest.adapters.clear();
  for (const auto& [file, digest] : wanted.adapters) {
    manifest.adapters.push_back(blob_file(digest, "adapters"));
    manifest.adapters.back().name =
        fmt::format("{}.adapter-{}.gguf", manifest.name, manifest.adapters.size());
  }
  const auto set = [&](const char* kind, const std::string& text) {
    if (!text.empty()) manifest.texts[kind] = text;
  };
  set("template", wanted.chat_template);
  set("system", wanted.system);
  if (!wanted.parameters.empty()) set("params", wanted.parameters.dump());
  if (!wanted.messages.empty()) set("messages", wanted.messages.dump());
  std::string license;
  for (const std::string& each : wanted.license) license += each + "\n";
  set("license", license);
  status("writing manifest", {}, 0, 0);
  commit(manifest);
  status("success", {}, 0, 0);
}

void Library::copy(const std::string& source, const std::string& destination) {
  require_changes();
  OllamaCreate wanted;
  wanted.model = destination;
  wanted.from = source;
  create(wanted, [](auto, auto, auto, auto) { return true; });
}

void Library::remove(const std::string& name) {
  require_changes();
  const AvailableModel model = models_.available(name);
  const std::optional<hub::StoredModel> stored = store_.find(model.name);
  if (!stored) {
    throw RequestFailure(400,
                         fmt::format("'{}' is a file that the store does not manage: remove the "
                                     "file itself",
                                     printable(name)),
                         "invalid_value", "model");
  }
  // To use a model the beginning of its name will do, but not to remove it.
  const std::string wanted = stored_name(bare_name(name));
  const auto is_meant = [&](const std::string& known) {
    return hub::safe_name(bare_name(known)) == wanted;
  };
  const std::string& reference = stored->manifest.reference;
  if (!is_meant(model.name) && !is_meant(stored->manifest.requested) &&
      !is_meant(reference.substr(reference.find(':') + 1))) {
    throw RequestFailure(404, fmt::format("model '{}' not found", printable(name)),
                         "model_not_found", "model");
  }
  models_.unload(name);
  static_cast<void>(store_.remove(model.name));
}

struct Library::Upload::Impl {
  hub::Store store;
  std::string sha256;
  fs::path path;
  int descriptor = -1;
  hub::Sha256 hash;
};

Library::Upload::Upload(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Library::Upload::~Upload() {
  if (impl_->descriptor >= 0) ::close(impl_->descriptor);
  std::error_code ignored;
  fs::remove(impl_->path, ignored);  // when it was not landed
}

void Library::Upload::write(std::string_view bytes) {
  impl_->hash.update(std::as_bytes(std::span(bytes.data(), bytes.size())));
  while (!bytes.empty()) {
    const ssize_t written = ::write(impl_->descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      throw RequestFailure(507, fmt::format("the blob cannot be stored: {}",
                                            std::generic_category().message(errno)));
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void Library::Upload::finish() {
  if (impl_->hash.finish() != impl_->sha256)
    throw RequestFailure(400, "digest mismatch: the bytes have another SHA-256", "invalid_value");
  if (::fsync(impl_->descriptor) != 0)
    throw RequestFailure(507, "the blob cannot be stored: the disk refuses");
  impl_->store.land(impl_->path, impl_->sha256);
}

Library::Upload Library::upload(const std::string& sha256) {
  require_changes();
  store_.prepare();
  auto impl = std::make_unique<Upload::Impl>(Upload::Impl{store_, sha256, {}, -1, {}});
  // A name of its own: two clients may send the same blob at once.
  std::string pattern = (store_.downloads() / ("upload-XXXXXX")).string();
  impl->descriptor = ::mkostemp(pattern.data(), O_CLOEXEC);
  if (impl->descriptor < 0)
    throw RequestFailure(507, "the blob cannot be stored: the store is not writable");
  impl->path = pattern;
  return Upload(std::move(impl));
}

}  // namespace hearth::serve
