#include "hub/huggingface.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "hub/json.h"
#include "hub/sha256.h"
#include "hub/transfer.h"
#include "support/ascii.h"
#include "support/error.h"

namespace hearth::hub {
namespace {

constexpr std::size_t kMaxPageBytes = std::size_t{8} << 20;
constexpr int kMaxPages = 20;
constexpr std::size_t kMaxListedFiles = 20000;
constexpr std::size_t kMostNamed = 12;  // in a message

std::string repository_url(const Network& network, const HuggingFaceReference& reference) {
  return fmt::format("{}/{}/{}", network.huggingface, reference.organization, reference.repository);
}

/// The address in `<https://…>; rel="next"` of a Link header; empty when there is none.
std::string next_page(const std::string& link) {
  std::size_t at = 0;
  while ((at = link.find('<', at)) != std::string::npos) {
    const std::size_t end = link.find('>', at);
    if (end == std::string::npos) return {};
    const std::string parameters = link.substr(end, link.find(',', end) - end);
    if (parameters.find("rel=\"next\"") != std::string::npos)
      return link.substr(at + 1, end - at - 1);
    at = end;
  }
  return {};
}

std::vector<RemoteFile> list_files(const Network& network, const HuggingFaceReference& reference) {
  std::vector<RemoteFile> files;
  std::string url = fmt::format("{}/api/models/{}/{}/tree/{}?recursive=1", network.huggingface,
                                reference.organization, reference.repository, reference.revision);
  for (int page = 0; page < kMaxPages && !url.empty(); ++page) {
    std::string text;
    const Response response =
        fetch(network, {url, network.huggingface_token, "application/json", {}},
              [&](const Response&, std::span<const std::byte> bytes) {
                if (bytes.empty()) text.clear();
                if (text.size() + bytes.size() > kMaxPageBytes)
                  throw Error("the list of the repository's files is too long");
                text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                return true;
              });
    read_tree(text, files);
    const std::string next = next_page(response.header("link"));
    url = origin_of(next) == origin_of(network.huggingface) ? next : std::string();
  }
  for (RemoteFile& file : files) {
    file.url = fmt::format("{}/resolve/{}/{}", repository_url(network, reference),
                           reference.revision, encode_path(file.name));
  }
  return files;
}

/// Files that end in .gguf and are no models one could run.
bool is_companion(const std::string& path) {
  const std::string name = ascii_lower(path.substr(path.rfind('/') + 1));
  return name.starts_with("mmproj") || name.find("-mmproj") != std::string::npos ||
         name.starts_with("imatrix") || name.ends_with("imatrix.gguf");
}

std::string listed(std::span<const Candidate> candidates) {
  std::string result;
  for (std::size_t i = 0; i < std::min(candidates.size(), kMostNamed); ++i) {
    const Candidate& candidate = candidates[i];
    result +=
        (i > 0 ? ", " : "") + printable(candidate.quant.empty() ? candidate.name : candidate.quant);
  }
  return result + (candidates.size() > kMostNamed ? ", …" : "");
}

/// Those whose quantization, or whose name's end, is the selector.
std::vector<Candidate> selected(std::span<const Candidate> candidates,
                                const HuggingFaceReference& reference) {
  const std::string wanted = ascii_lower(reference.selector);
  std::vector<Candidate> exact, similar;
  for (const Candidate& candidate : candidates) {
    const std::string name = ascii_lower(candidate.name);
    const bool named =
        reference.names_file() &&
        std::any_of(candidate.files.begin(), candidate.files.end(), [&](const RemoteFile& file) {
          return file.name == reference.selector || file.name.ends_with("/" + reference.selector);
        });
    if (named || ascii_lower(candidate.quant) == wanted) {
      exact.push_back(candidate);
    } else if (name.ends_with("-" + wanted) || name.ends_with("." + wanted)) {
      similar.push_back(candidate);
    }
  }
  return exact.empty() ? similar : exact;
}

RemoteModel to_model(const Network& network, const HuggingFaceReference& reference,
                     const Candidate& candidate) {
  RemoteModel model;
  HuggingFaceReference full = reference;
  full.selector = candidate.files.front().name;
  model.reference = to_text(Reference(full));
  model.source = "huggingface";
  model.name = safe_name(candidate.name.substr(candidate.name.rfind('/') + 1));
  model.quant = candidate.quant;
  model.bearer = network.huggingface_token;
  model.files = candidate.files;
  return model;
}

}  // namespace

void read_tree(std::string_view text, std::vector<RemoteFile>& files) {
  for (const Json& entry : parse_array(text, "the list of the repository's files")) {
    if (!entry.is_object() || string_or(entry, "type") != "file") continue;
    RemoteFile file;
    file.name = string_or(entry, "path");
    file.size = number_or(entry, "size", 0);
    const auto lfs = entry.find("lfs");
    if (lfs != entry.end() && lfs->is_object()) {
      file.sha256 = string_or(*lfs, "oid");
      if (file.sha256.starts_with("sha256:")) file.sha256.erase(0, 7);
      if (!is_sha256(file.sha256)) file.sha256.clear();
      file.size = number_or(*lfs, "size", file.size);
    }
    if (file.name.empty() || file.name.size() > 1024) continue;
    if (files.size() >= kMaxListedFiles) throw Error("the repository has too many files");
    files.push_back(std::move(file));
  }
}

std::vector<Candidate> group_candidates(const std::vector<RemoteFile>& files) {
  std::map<std::string, Candidate> by_name;
  std::map<std::string, int> counts;  // parts that a split promises
  for (const RemoteFile& file : files) {
    const std::string name = ascii_lower(file.name);
    if (!name.ends_with(".gguf") || is_companion(file.name)) continue;
    const auto split = split_place(file.name);
    const std::string base = split ? split->base : file.name.substr(0, file.name.size() - 5);
    const std::string key = split ? fmt::format("{}\n{}", base, split->count) : base;
    Candidate& candidate = by_name[key];
    candidate.name = base;
    candidate.quant = quant_of_file_name(base);
    if (candidate.quant.empty() && base.find('/') != std::string::npos)  // Q8_0/model.gguf
      candidate.quant = quant_of_file_name(base.substr(0, base.rfind('/')));
    candidate.files.push_back(file);
    counts[key] = split ? split->count : 1;
  }
  std::vector<Candidate> result;
  for (auto& [key, candidate] : by_name) {
    std::sort(candidate.files.begin(), candidate.files.end(),
              [](const RemoteFile& a, const RemoteFile& b) { return a.name < b.name; });
    std::set<std::string> names;
    for (const RemoteFile& file : candidate.files) names.insert(file.name);
    if (static_cast<int>(names.size()) == counts[key] && names.size() == candidate.files.size())
      result.push_back(std::move(candidate));
  }
  return result;
}

std::vector<Candidate> list_candidates(const Network& network,
                                       const HuggingFaceReference& reference) {
  require_online(network, "finding " + to_text(Reference(reference)));
  std::vector<Candidate> candidates = group_candidates(list_files(network, reference));
  if (candidates.empty()) {
    throw Error(
        fmt::format("hf:{}/{} has no GGUF files", reference.organization, reference.repository),
        fmt::format("look for a repository such as {}-GGUF, or fetch it and hearth convert "
                    "it",
                    reference.repository));
  }
  return candidates;
}

RemoteModel resolve_huggingface(const Network& network, const HuggingFaceReference& reference,
                                const Chooser& chooser) {
  const std::vector<Candidate> all = list_candidates(network, reference);
  if (reference.selector.empty()) {
    const std::optional<std::size_t> choice =
        all.size() == 1 ? 0 : (chooser ? chooser(all) : choose_usual_quant(all));
    if (!choice || *choice >= all.size()) {
      throw Error(fmt::format("none of the files of hf:{}/{} suits this machine: {}",
                              reference.organization, reference.repository, listed(all)),
                  "name one with :QUANT to fetch it all the same");
    }
    return to_model(network, reference, all[*choice]);
  }
  const std::vector<Candidate> fitting = selected(all, reference);
  const std::string repository =
      fmt::format("hf:{}/{}", reference.organization, reference.repository);
  if (fitting.empty()) {
    throw Error(fmt::format("{} has no '{}'", repository, printable(reference.selector)),
                "it has " + listed(all));
  }
  if (fitting.size() > 1) {
    std::string names;
    for (std::size_t i = 0; i < std::min(fitting.size(), kMostNamed); ++i)
      names += (i > 0 ? ", " : "") + printable(fitting[i].files.front().name);
    throw Error(fmt::format("{} has several files that are '{}': {}", repository,
                            printable(reference.selector), names),
                fmt::format("name one: {}:FILE", repository));
  }
  return to_model(network, reference, fitting.front());
}

}  // namespace hearth::hub
