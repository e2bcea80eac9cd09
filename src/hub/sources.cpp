#include "hub/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "hub/huggingface.h"
#include "hub/json.h"
#include "hub/sha256.h"
#include "hub/transfer.h"
#include "support/error.h"

namespace hearth::hub {
namespace {

constexpr std::size_t kMaxLayerText = std::size_t{1} << 18;
constexpr const char* kManifestType = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view kLayerPrefix = "application/vnd.ollama.image.";

struct Layer {
  std::string kind;  // what follows kLayerPrefix
  std::string sha256;
  std::uint64_t size = 0;
};

std::optional<Layer> read_layer(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  Layer layer;
  layer.kind = string_or(json, "mediaType");
  layer.sha256 = string_or(json, "digest");
  layer.size = number_or(json, "size", 0);
  if (layer.kind.starts_with(kLayerPrefix)) layer.kind.erase(0, kLayerPrefix.size());
  if (!layer.sha256.starts_with("sha256:")) return std::nullopt;
  layer.sha256.erase(0, 7);
  if (!is_sha256(layer.sha256) || layer.size == 0) return std::nullopt;
  return layer;
}

/// A small layer, checked against its digest.
std::string layer_text(const Network& network, const std::string& base, const Layer& layer) {
  if (layer.size > kMaxLayerText) return {};
  const std::string text =
      fetch_text(network, base + "/blobs/sha256:" + layer.sha256, kMaxLayerText);
  if (sha256_of(text) != layer.sha256) {
    throw Error(fmt::format("the {} that the registry sent is not the one it announced",
                            printable(layer.kind)),
                "pull again");
  }
  return text;
}

RemoteModel resolve_ollama(const Network& network, const OllamaReference& reference) {
  const std::string base =
      fmt::format("{}/v2/{}/{}", network.ollama, reference.space, reference.name);
  const std::string url = fmt::format("{}/manifests/{}", base, reference.tag);
  const Json manifest = parse_object(
      fetch_text(network, url, kMaxOllamaManifest, {}, kManifestType), "the registry's manifest");
  RemoteModel model;
  model.reference = to_text(Reference(reference));
  model.source = "ollama";
  model.name =
      safe_name(reference.tag == "latest" ? reference.name : reference.name + "-" + reference.tag);
  const auto layers = manifest.find("layers");
  if (layers == manifest.end() || !layers->is_array() || layers->size() > 256)
    throw Error("the registry's manifest lists no layers", "check the name");
  for (const Json& entry : *layers) {
    const std::optional<Layer> layer = read_layer(entry);
    if (!layer) continue;
    if (layer->kind == "model") {
      model.files.push_back({model.name + ".gguf", base + "/blobs/sha256:" + layer->sha256,
                             layer->size, layer->sha256});
    } else if (layer->kind == "template" || layer->kind == "params" || layer->kind == "system" ||
               layer->kind == "messages" || layer->kind == "license") {
      if (std::string text = layer_text(network, base, *layer); !text.empty())
        model.texts[layer->kind] = std::move(text);
    }
  }
  if (model.files.size() != 1) {
    throw Error(fmt::format("{} has {} GGUF files in the registry, and one is needed",
                            model.reference, model.files.size()),
                "choose another tag");
  }
  const auto config = manifest.find("config");
  if (const auto layer = config == manifest.end() ? std::nullopt : read_layer(*config)) {
    const std::string text = layer_text(network, base, *layer);
    if (!text.empty())
      model.quant = string_or(parse_object(text, "the model's config"), "file_type");
  }
  if (model.quant.size() > 32) model.quant.clear();
  return model;
}

std::string last_part(const std::string& url) {
  std::string path = url.substr(0, url.find('?'));
  path = path.substr(path.rfind('/') + 1);
  return path;
}

RemoteModel resolve_url(const UrlReference& reference) {
  RemoteModel model;
  model.reference = to_text(Reference(reference));
  model.source = "url";
  const std::string name = last_part(reference.url);
  const auto split = split_place(name);
  if (!split) {
    model.name = safe_name(name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name);
    model.files.push_back({model.name + ".gguf", reference.url, 0, {}});
  } else {
    model.name = safe_name(split->base);
    const std::size_t at = reference.url.find(name);
    for (int part = 1; part <= split->count; ++part) {
      const std::string part_name =
          fmt::format("{}-{:05}-of-{:05}.gguf", split->base, part, split->count);
      std::string url = reference.url;
      url.replace(at, name.size(), part_name);
      model.files.push_back({part_name, std::move(url), 0, {}});
    }
  }
  if (model.name.empty())
    throw Error(fmt::format("'{}' names no file", printable(reference.url, 300)),
                "give the address of a .gguf file", ExitCode::kUsage);
  model.quant = quant_of_file_name(model.name);
  return model;
}

RemoteModel resolve_catalog(const Network& network, const CatalogReference& wanted,
                            const ResolveOptions& options) {
  const std::optional<Source> source =
      options.catalog ? options.catalog(wanted.name) : std::nullopt;
  if (!source) {
    throw Error(fmt::format("no model is called '{}' in the catalog", printable(wanted.name)),
                fmt::format("name where it is: hf:ORG/REPO, ollama:{}, or an address",
                            to_text(Reference(wanted))));
  }
  Reference reference = parse_reference(source->reference, network.huggingface);
  if (std::holds_alternative<CatalogReference>(reference) ||
      std::holds_alternative<FileReference>(reference)) {
    throw Error(fmt::format("the catalog's entry '{}' says nothing that can be fetched",
                            printable(wanted.name)),
                "correct the entry");
  }
  if (auto* hf = std::get_if<HuggingFaceReference>(&reference); hf && !wanted.quant.empty())
    hf->selector = wanted.quant;
  RemoteModel model = resolve(network, reference, options);
  model.requested = to_text(Reference(wanted));
  return model;
}

}  // namespace

std::uint64_t Candidate::size() const noexcept {
  std::uint64_t total = 0;
  for (const RemoteFile& file : files) total += file.size;
  return total;
}

std::optional<std::size_t> choose_usual_quant(std::span<const Candidate> candidates) {
  // Perplexity falls slowly above four bits and quickly below.
  static constexpr std::array<std::string_view, 24> kOrder = {
      "Q4_K_M", "UD-Q4_K_XL", "MXFP4",   "MXFP4_MOE", "Q4_K_S", "IQ4_XS", "IQ4_NL", "Q4_K",
      "Q5_K_M", "Q5_K_S",     "Q4_0",    "Q4_1",      "Q5_0",   "Q6_K",   "Q8_0",   "Q3_K_L",
      "Q3_K_M", "IQ3_M",      "IQ3_XXS", "Q2_K",      "BF16",   "F16",    "FP16",   "F32"};
  std::optional<std::size_t> best;
  std::size_t best_rank = kOrder.size() + 1;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto place = std::find(kOrder.begin(), kOrder.end(), candidates[i].quant);
    const auto rank = static_cast<std::size_t>(place - kOrder.begin());
    if (rank < best_rank) {
      best_rank = rank;
      best = i;
    }
  }
  return best;
}

RemoteModel resolve(const Network& network, const Reference& reference,
                    const ResolveOptions& options) {
  if (const auto* catalog = std::get_if<CatalogReference>(&reference))
    return resolve_catalog(network, *catalog, options);
  if (const auto* file = std::get_if<FileReference>(&reference)) {
    throw Error(fmt::format("'{}' is a file and need not be fetched", printable(file->path, 300)));
  }
  require_online(network, "finding " + printable(to_text(reference), 300));
  if (const auto* hf = std::get_if<HuggingFaceReference>(&reference))
    return resolve_huggingface(network, *hf, options.chooser);
  if (const auto* ollama = std::get_if<OllamaReference>(&reference))
    return resolve_ollama(network, *ollama);
  return resolve_url(std::get<UrlReference>(reference));
}

std::string fetch_text(const Network& network, const std::string& url, std::size_t limit,
                       const std::string& bearer, const std::string& accept) {
  std::string text;
  fetch(network, {url, bearer, accept, {}}, [&](const Response&, std::span<const std::byte> bytes) {
    if (bytes.empty()) text.clear();
    if (bytes.size() > limit - text.size()) {
      throw Error(fmt::format("{} is longer than {} bytes", printable(url, 300), limit),
                  "check the address");
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  });
  return text;
}

}  // namespace hearth::hub
