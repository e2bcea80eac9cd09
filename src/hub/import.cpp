#include "hub/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "gguf/file.h"
#include "hub/json.h"
#include "hub/reference.h"
#include "hub/sha256.h"
#include "hub/sources.h"
#include "model/quantize/file_type.h"
#include "support/error.h"
#include "support/file.h"
#include "support/shown_path.h"
#include "tensor/dtype.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxImportedFiles = 100000;  // looked at per place
constexpr int kMaxFolderDepth = 8;

fs::path from_variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? fs::path(value) : fs::path();
}

/// Every regular file below `folder` (links to files followed, links to folders not), sorted.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> result;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied,
                                         error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry.depth() >= kMaxFolderDepth) entry.disable_recursion_pending();
    if (entry->is_regular_file(ignored)) result.push_back(entry->path());
    if (result.size() >= kMaxImportedFiles) break;
  }
  std::sort(result.begin(), result.end());
  return result;
}

bool is_projector(const fs::path& path) {
  return path.filename().string().find("mmproj") != std::string::npos;
}

/// The parts of a split model of which `path` is one, or `path`.
std::vector<fs::path> parts_of(const fs::path& path) {
  const auto place = split_place(path.filename().string());
  if (!place) return {path};
  std::vector<fs::path> parts;
  for (int number = 1; number <= place->count; ++number) {
    parts.push_back(path.parent_path() /
                    fmt::format("{}-{:05}-of-{:05}.gguf", place->base, number, place->count));
  }
  return parts;
}

/// The hash that a blob's own name tells, in Ollama's store and the Hugging Face cache.
std::string hash_in_name(const fs::path& path) {
  std::string name = path.filename().string();
  if (name.starts_with("sha256-")) name.erase(0, 7);
  return is_sha256(name) ? name : std::string();
}

/// What the file says of itself, else the type that has most of its bytes.
std::string quant_of_header(const gguf::File& file) {
  const auto key = file.metadata().get_uint("general.file_type");
  for (const model::quantize::FileTypeInfo& info : model::quantize::all_file_types()) {
    if (key && static_cast<std::uint64_t>(info.type) == *key) return std::string(info.name);
  }
  std::map<tensor::DType, std::uint64_t> bytes;
  for (const gguf::TensorInfo& tensor : file.tensors())
    bytes[tensor.dtype] += file.data(tensor).size();
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? std::string() : std::string(tensor::name(most->first));
}

/// A manifest of adopted files; their headers are read, so that only models are adopted.
Manifest describe(const std::vector<fs::path>& files, const std::string& name,
                  const std::string& source) {
  // Of a split model this opens all parts; a blob without an ending is one file.
  const gguf::File header = gguf::File::open(files.front());
  Manifest manifest;
  manifest.name = safe_name(name);
  if (manifest.name.empty()) manifest.name = "model";
  manifest.source = source;
  manifest.quant = quant_of_file_name(name);
  if (manifest.quant.empty()) manifest.quant = quant_of_header(header);
  manifest.added = utc_now();
  for (std::size_t i = 0; i < files.size(); ++i) {
    // Links are followed now: Hugging Face's cache moves its links, not its blobs.
    const fs::path target = fs::canonical(files[i]);
    StoredFile file;
    file.size = fs::file_size(target);
    file.sha256 = hash_in_name(target);
    file.adopted = target.string();
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

void name_files(Manifest& manifest) {
  const std::size_t count = manifest.files.size();
  for (std::size_t i = 0; i < count; ++i) {
    manifest.files[i].name =
        count == 1 ? manifest.name + ".gguf"
                   : fmt::format("{}-{:05}-of-{:05}.gguf", manifest.name, i + 1, count);
  }
}

class Finder {
 public:
  Finder(const ImportPlace& place, std::vector<std::string>& skipped)
      : place_(place), skipped_(skipped) {}

  std::vector<Manifest> find() {
    if (place_.kind == ImportKind::kOllama) {
      for (const fs::path& path : files_below(place_.folder / "manifests")) add_ollama(path);
    } else if (place_.kind == ImportKind::kHuggingFace) {
      add_huggingface();
    } else {
      for (const fs::path& path : files_below(place_.folder)) add_plain(path);
    }
    return std::move(found_);
  }

 private:
  void skip(const fs::path& path, const std::string& why) {
    skipped_.push_back(fmt::format("{}: {}", shown_path(path), why));
  }

  void add(const std::vector<fs::path>& files, const std::string& name, const std::string& source,
           const std::string& reference, std::map<std::string, std::string> texts = {}) {
    try {
      Manifest manifest = describe(files, name, source);
      manifest.reference = reference;
      manifest.texts = std::move(texts);
      found_.push_back(std::move(manifest));
    } catch (const Error& error) {
      skip(files.front(), error.what());
    } catch (const fs::filesystem_error& error) {
      skip(files.front(), error.code().message());
    }
  }

  /// PATH/manifests/HOST/NAMESPACE/NAME/TAG.
  void add_ollama(const fs::path& path) {
    std::vector<std::string> parts;
    for (const fs::path& part : path.lexically_relative(place_.folder / "manifests"))
      parts.push_back(part.string());
    if (parts.size() != 4) return;
    const std::string& name = parts[2];
    const std::string& tag = parts[3];
    try {
      const Json manifest = parse_object(read_file(path, kMaxOllamaManifest), path.string());
      const auto layers = manifest.find("layers");
      if (layers == manifest.end() || !layers->is_array()) throw Error("it lists no layers");
      fs::path model;
      std::map<std::string, std::string> texts;
      for (const Json& layer : *layers) read_ollama_layer(layer, model, texts);
      if (model.empty()) return skip(path, "it has no GGUF file");
      const std::string space = parts[1] == "library" ? "" : parts[1] + "/";
      const bool usual_host = parts[0] == "registry.ollama.ai";
      const std::string reference = usual_host
                                        ? fmt::format("ollama:{}{}:{}", space, name, tag)
                                        : fmt::format("{}/{}{}:{}", parts[0], space, name, tag);
      add({model}, tag == "latest" ? name : name + "-" + tag, "ollama", reference,
          std::move(texts));
    } catch (const Error& error) {
      skip(path, error.what());
    }
  }

  void read_ollama_layer(const Json& layer, fs::path& model,
                         std::map<std::string, std::string>& texts) const {
    constexpr std::string_view kPrefix = "application/vnd.ollama.image.";
    constexpr std::size_t kMaxText = std::size_t{1} << 18;
    if (!layer.is_object()) return;
    std::string kind = string_or(layer, "mediaType"), digest = string_or(layer, "digest");
    if (!kind.starts_with(kPrefix) || !digest.starts_with("sha256:") ||
        !is_sha256(std::string_view(digest).substr(7)))
      return;
    kind.erase(0, kPrefix.size());
    const fs::path blob = place_.folder / "blobs" / ("sha256-" + digest.substr(7));
    if (kind == "model") model = blob;
    std::error_code error;
    const bool text = kind == "template" || kind == "system" || kind == "params";
    if (text && fs::file_size(blob, error) <= kMaxText && !error)
      texts[kind] = read_file(blob, kMaxText);
  }

  void add_huggingface() {
    std::set<fs::path> seen;  // blobs: several commits may have the same file
    std::error_code error;
    for (fs::directory_iterator entry(place_.folder, error), end; !error && entry != end;
         entry.increment(error)) {
      // models--ORG--REPO
      const std::string folder = entry->path().filename().string();
      if (!folder.starts_with("models--")) continue;
      const std::size_t middle = folder.find("--", 8);
      if (middle == std::string::npos) continue;
      const std::string repository = folder.substr(8, middle - 8) + "/" + folder.substr(middle + 2);
      for (const fs::path& path : files_below(entry->path() / "snapshots")) {
        std::error_code ignored;
        if (path.extension() != ".gguf" || is_projector(path) ||
            !seen.insert(fs::weakly_canonical(path, ignored)).second)
          continue;
        // snapshots/COMMIT/FILE, which is a link: it must not be followed here.
        const fs::path below = path.lexically_relative(entry->path() / "snapshots");
        std::string file;
        for (auto part = std::next(below.begin()); part != below.end(); ++part)
          file += (file.empty() ? "" : "/") + part->string();
        add_file(path, "huggingface", fmt::format("hf:{}:{}", repository, file));
      }
    }
  }

  void add_plain(const fs::path& path) {
    if (path.extension() != ".gguf" || is_projector(path)) return;
    const bool lmstudio = place_.kind == ImportKind::kLmStudio;
    add_file(path, lmstudio ? "lmstudio" : "folder", path.string());
  }

  void add_file(const fs::path& path, const std::string& source, const std::string& reference) {
    const auto split = split_place(path.filename().string());
    if (split && split->number != 1) {
      std::error_code ignored;
      if (!fs::exists(parts_of(path).front(), ignored))
        skip(path, "the first part of this split model is missing");
      return;
    }
    add(parts_of(path), split ? split->base : path.stem().string(), source, reference);
  }

  const ImportPlace& place_;
  std::vector<std::string>& skipped_;
  std::vector<Manifest> found_;
};

bool same_content(const Manifest& a, const Manifest& b) {
  if (a.files.size() != b.files.size()) return false;
  for (std::size_t i = 0; i < a.files.size(); ++i) {
    const StoredFile &x = a.files[i], &y = b.files[i];
    const bool same_hash = !x.sha256.empty() && x.sha256 == y.sha256;
    const bool same_path = !x.adopted.empty() && x.adopted == y.adopted && x.size == y.size;
    if (!same_hash && !same_path) return false;
  }
  return true;
}

/// Adopts under the first of NAME, NAME-2, NAME-3 … that is free. False: the store has it already.
bool adopt(const Store& store, Manifest& manifest, std::string& known) {
  for (const StoredModel& model : store.list().models) {
    if (model.by_hand || !model.problem.empty() || !same_content(model.manifest, manifest))
      continue;
    known = model.manifest.name;
    return false;
  }
  const std::string base = manifest.name;
  constexpr int kMostNames = 1000;
  for (int number = 1;; ++number) {
    manifest.name = number == 1 ? base : fmt::format("{}-{}", base, number);
    name_files(manifest);
    try {
      if (store.commit(manifest)) return true;
      throw Error("an adopted model has no files");
    } catch (const Error&) {
      std::error_code ignored;
      const bool taken = store.find(manifest.name).has_value();
      if (!taken || number >= kMostNames) throw;
    }
  }
}

}  // namespace

std::vector<ImportPlace> usual_places(std::optional<ImportKind> kind) {
  const fs::path home = from_variable("HOME");
  std::vector<ImportPlace> places;
  const auto add = [&](ImportKind which, const fs::path& folder) {
    std::error_code ignored;
    if (folder.is_absolute() && fs::is_directory(folder, ignored) && (!kind || *kind == which))
      places.push_back({which, folder});
  };
  const fs::path ollama = from_variable("OLLAMA_MODELS");
  if (ollama.empty()) {
    add(ImportKind::kOllama, home / ".ollama/models");
    add(ImportKind::kOllama, "/usr/share/ollama/.ollama/models");  // the system's service
  } else {
    add(ImportKind::kOllama, ollama);
  }
  add(ImportKind::kLmStudio, home / ".lmstudio/models");
  add(ImportKind::kLmStudio, home / ".cache/lm-studio/models");
  const fs::path cache = from_variable("HF_HUB_CACHE"), hf_home = from_variable("HF_HOME");
  if (!cache.empty()) {
    add(ImportKind::kHuggingFace, cache);
  } else {
    add(ImportKind::kHuggingFace,
        hf_home.empty() ? home / ".cache/huggingface/hub" : hf_home / "hub");
  }
  return places;
}

ImportKind recognize(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder / "manifests", error) && fs::is_directory(folder / "blobs", error))
    return ImportKind::kOllama;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with("models--")) return ImportKind::kHuggingFace;
  }
  return ImportKind::kFolder;
}

std::vector<Manifest> find_models(const ImportPlace& place, std::vector<std::string>& skipped) {
  return Finder(place, skipped).find();
}

ImportResult import_models(const Store& store, const std::vector<ImportPlace>& places) {
  ImportResult result;
  for (const std::string& warning : store.prepare()) result.skipped.push_back(warning);
  for (const ImportPlace& place : places) {
    for (Manifest& manifest : find_models(place, result.skipped)) {
      std::string known;
      if (adopt(store, manifest, known)) {
        result.adopted.push_back(std::move(manifest));
      } else {
        result.known.push_back(std::move(known));
      }
    }
  }
  return result;
}

Manifest adopt_file(const Store& store, const fs::path& file, const std::string& name) {
  const std::string text = file.string();
  const auto split = split_place(file.filename().string());
  const fs::path absolute = fs::absolute(file);
  (void)gguf::File::open(file);  // says what is wrong with it in its own words
  Manifest manifest =
      describe(parts_of(absolute), split ? split->base : file.stem().string(), "file");
  manifest.reference = absolute.string();
  if (!name.empty()) {
    if (!is_safe_name(name))
      throw Error(fmt::format("'{}' cannot be a model's name", printable(name)),
                  "choose one of letters, digits, dots, dashes and underscores", ExitCode::kUsage);
    manifest.name = name;
  }
  name_files(manifest);
  if (!store.commit(manifest)) throw Error("an adopted model has no files");
  return manifest;
}

}  // namespace hearth::hub
