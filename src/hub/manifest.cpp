#include "hub/manifest.h"

#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <set>

#include "hub/json.h"
#include "hub/reference.h"
#include "hub/sha256.h"
#include "support/error.h"

namespace hearth::hub {
namespace {

constexpr const char* kManifestFormat = "hearth-model-1";
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 50;
constexpr std::size_t kMaxModelFiles = 4096;
constexpr std::size_t kMaxWordBytes = 4096;
constexpr std::size_t kMaxTexts = 32;

class Reader {
 public:
  explicit Reader(std::string_view source) : source_(source) {}

  Manifest read(std::string_view text) const {
    const Json json = parse_object(text, source_);
    if (const std::string format = string_or(json, "format"); format != kManifestFormat)
      fail(fmt::format("its format is '{}' and not '{}'", printable(format), kManifestFormat));
    Manifest manifest;
    manifest.name = word(json, "name", true);
    if (!is_safe_name(manifest.name)) fail("its name could not be a file's");
    manifest.reference = word(json, "reference", true);
    manifest.requested = word(json, "requested", false);
    manifest.source = word(json, "source", true);
    manifest.quant = word(json, "quant", false);
    manifest.added = word(json, "added", false);
    const auto files = json.find("files");
    if (files == json.end() || !files->is_array() || files->empty() ||
        files->size() > kMaxModelFiles)
      fail("it lists no files");
    std::set<std::string> names;
    for (const Json& entry : *files) {
      manifest.files.push_back(file(entry));
      if (!names.insert(manifest.files.back().name).second) fail("it lists a file twice");
    }
    const auto adapters = json.find("adapters");
    if (adapters != json.end()) {
      if (!adapters->is_array() || adapters->size() > kMaxModelFiles)
        fail("its adapters are no list");
      for (const Json& entry : *adapters) {
        manifest.adapters.push_back(file(entry));
        if (!manifest.adapters.back().adopted.empty()) fail("an adapter in it is no blob");
      }
    }
    const auto texts = json.find("texts");
    if (texts != json.end()) read_texts(*texts, manifest);
    return manifest;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{} cannot be used: {}", printable(source_, 300), what));
  }

  std::string word(const Json& object, const char* key, bool required) const {
    const auto found = object.find(key);
    if (found == object.end() && !required) return {};
    if (found == object.end() || !found->is_string() ||
        (required && found->get_ref<const std::string&>().empty()))
      fail(fmt::format("'{}' is missing or no text", key));
    std::string value = found->get<std::string>();
    if (value.size() > kMaxWordBytes) fail(fmt::format("'{}' is too long", key));
    return value;
  }

  StoredFile file(const Json& json) const {
    if (!json.is_object()) fail("a file in it is no object");
    StoredFile result;
    result.name = word(json, "name", true);
    result.sha256 = word(json, "sha256", false);
    result.url = word(json, "url", false);
    result.adopted = word(json, "adopted", false);
    result.size = number_or(json, "size", 0);
    if (!is_safe_name(result.name) || !result.name.ends_with(".gguf"))
      fail(fmt::format("'{}' could not be the name of a model's file", printable(result.name)));
    if (result.size == 0 || result.size > kMaxFileBytes)
      fail(fmt::format("the size of '{}' is missing or impossible", printable(result.name)));
    if (!result.sha256.empty() && !is_sha256(result.sha256))
      fail(fmt::format("the sha256 of '{}' is none", printable(result.name)));
    if (result.adopted.empty() ? result.sha256.empty()
                               : !std::filesystem::path(result.adopted).is_absolute())
      fail(fmt::format("it does not say where '{}' is", printable(result.name)));
    return result;
  }

  void read_texts(const Json& json, Manifest& manifest) const {
    if (!json.is_object() || json.size() > kMaxTexts) fail("'texts' is no object of texts");
    for (const auto& [kind, text] : json.items()) {
      if (!text.is_string()) fail("'texts' is no object of texts");
      manifest.texts[kind] = text.get<std::string>();
    }
  }

  std::string_view source_;
};

}  // namespace

std::uint64_t Manifest::size() const {
  std::uint64_t total = 0;
  for (const StoredFile& file : files) total += file.size;
  return total;
}

Manifest parse_manifest(std::string_view text, std::string_view source) {
  return Reader(source).read(text);
}

std::string to_text(const Manifest& manifest) {
  const auto list = [](const std::vector<StoredFile>& files) {
    Json all = Json::array();
    for (const StoredFile& file : files) {
      Json entry{{"name", file.name}, {"size", file.size}};
      if (!file.sha256.empty()) entry["sha256"] = file.sha256;
      if (!file.url.empty()) entry["url"] = file.url;
      if (!file.adopted.empty()) entry["adopted"] = file.adopted;
      all.push_back(std::move(entry));
    }
    return all;
  };
  Json json{{"format", kManifestFormat},       {"name", manifest.name},
            {"reference", manifest.reference}, {"source", manifest.source},
            {"quant", manifest.quant},         {"size", manifest.size()},
            {"added", manifest.added},         {"files", list(manifest.files)}};
  if (!manifest.requested.empty()) json["requested"] = manifest.requested;
  if (!manifest.adapters.empty()) json["adapters"] = list(manifest.adapters);
  if (!manifest.texts.empty()) json["texts"] = manifest.texts;
  return dump(json);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  ::gmtime_r(&now, &parts);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace hearth::hub
