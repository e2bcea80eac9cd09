#include "serve/library.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "gguf/file.h"
#include "hub/pull.h"
#include "hub/reference.h"
#include "hub/sha256.h"
#include "serve/request_failure.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

namespace fs = std::filesystem;

/// The name under which the store keeps what a client calls "user/model:tag".
std::string stored_name(std::string_view name) {
  if (name.ends_with(":latest")) name.remove_suffix(7);
  std::string safe = hub::safe_name(name);
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

std::string parameters_text(const OllamaCreate& wanted) {
  Json parameters = Json::object();
  for (const auto& [name, value] : wanted.parameters) {
    if (name == "stop") {
      parameters["stop"].push_back(value);
    } else {
      parameters[name] = value;
    }
  }
  return parameters.empty() ? std::string() : parameters.dump();
}

void refuse_unsupported(const OllamaCreate& wanted) {
  const auto refuse = [](const char* what, const char* parameter) {
    throw RequestFailure(501, fmt::format("creating a model with {} is not possible here", what),
                         "not_implemented", parameter);
  };
  if (!wanted.quantize.empty()) refuse("another quantization (use `hearth quantize`)", "quantize");
  if (!wanted.adapters.empty()) refuse("adapters (use --lora of `hearth serve`)", "adapters");
  if (!wanted.messages.empty()) refuse("messages", "messages");
  if (wanted.files.size() > 1) refuse("several files", "files");
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

void Library::commit(const hub::Manifest& manifest) const {
  store_.prepare();
  store_.check_name(manifest);
  if (!store_.commit(manifest))
    throw RequestFailure(400, "a file of the model is not there: send its blob first",
                         "invalid_value", "files");
}

void Library::create(const OllamaCreate& wanted, const Status& status) {
  require_changes();
  refuse_unsupported(wanted);
  hub::Manifest manifest;
  if (!wanted.files.empty()) {
    const std::optional<std::string> sha256 = sha256_of_digest(wanted.files.begin()->second);
    if (!sha256 || !store_.has_blob(*sha256)) {
      throw RequestFailure(400, "the file is not there: send its blob first", "invalid_value",
                           "files");
    }
    status("parsing GGUF", {}, 0, 0);
    const fs::path blob = store_.blob_path(*sha256);
    static_cast<void>(gguf::File::open(blob));  // throws when it is none
    manifest.files.push_back(
        {.name = {}, .size = fs::file_size(blob), .sha256 = *sha256, .url = {}, .adopted = {}});
  } else if (!wanted.from.empty()) {
    manifest = manifest_of(wanted.from);
    manifest.requested.clear();
  } else {
    throw RequestFailure(400, "neither 'from' nor 'files' was specified", "invalid_value", "from");
  }
  manifest.name = stored_name(wanted.model);
  manifest.source = "file";
  manifest.reference = "created:" + manifest.name;
  manifest.added = hub::utc_now();
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    manifest.files[i].name =
        manifest.files.size() == 1
            ? manifest.name + ".gguf"
            : fmt::format("{}-{:05}-of-{:05}.gguf", manifest.name, i + 1, manifest.files.size());
  }
  const auto set = [&](const char* kind, const std::string& text) {
    if (!text.empty()) manifest.texts[kind] = text;
  };
  set("template", wanted.chat_template);
  set("system", wanted.system);
  set("params", parameters_text(wanted));
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
