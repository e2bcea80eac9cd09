#include "hub/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "support/ascii.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::hub {
namespace {

constexpr std::size_t kMaxReferenceBytes = 2048;
constexpr std::size_t kMaxNameBytes = 200;

bool is_digit(char c) { return '0' <= c && c <= '9'; }
bool is_letter(char c) { return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z'); }
bool is_name_character(char c) {
  return is_digit(c) || is_letter(c) || c == '.' || c == '-' || c == '_';
}

/// ASCII only.
bool starts_with(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](char a, char b) { return ascii_lower(a) == ascii_lower(b); });
}
bool ends_with(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() &&
         starts_with(text.substr(text.size() - suffix.size()), suffix);
}

[[noreturn]] void refuse(std::string_view text, const std::string& why, const std::string& hint) {
  throw Error(fmt::format("'{}' is no model reference: {}", printable(text, 300), why), hint,
              ExitCode::kUsage);
}

constexpr const char* kHuggingFaceHint = "write hf:ORG/REPO, hf:ORG/REPO:QUANT or hf:ORG/REPO:FILE";
constexpr const char* kOllamaHint = "write ollama:NAME or ollama:NAME:TAG";

/// One name between slashes: it becomes part of a URL and of file names.
void check_name(std::string_view text, std::string_view name, const char* what, const char* hint) {
  if (name.empty() || name.size() > kMaxNameBytes || name.front() == '.' ||
      !std::all_of(name.begin(), name.end(), is_name_character)) {
    refuse(text, fmt::format("'{}' cannot be the name of {}", printable(name), what), hint);
  }
}

/// A path inside a repository: relative, without "." and "..".
void check_path(std::string_view text, std::string_view path) {
  std::string_view rest = path;
  while (true) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.find('\\') != std::string_view::npos) {
      refuse(text, fmt::format("'{}' is no path in a repository", printable(path)),
             kHuggingFaceHint);
    }
    if (slash == std::string_view::npos) return;
    rest.remove_prefix(slash + 1);
  }
}

HuggingFaceReference parse_huggingface(std::string_view text, std::string_view rest) {
  HuggingFaceReference result;
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) refuse(text, "a repository is ORG/REPO", kHuggingFaceHint);
  result.organization = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);
  const std::size_t colon = rest.find(':');
  std::string_view repository = rest.substr(0, colon);
  if (colon != std::string_view::npos) {
    result.selector = rest.substr(colon + 1);
    if (result.selector.empty()) refuse(text, "nothing stands after the colon", kHuggingFaceHint);
  }
  if (const std::size_t at = repository.find('@'); at != std::string_view::npos) {
    result.revision = repository.substr(at + 1);
    repository = repository.substr(0, at);
  }
  result.repository = repository;
  check_name(text, result.organization, "an organization", kHuggingFaceHint);
  check_name(text, result.repository, "a repository", kHuggingFaceHint);
  check_name(text, result.revision, "a revision", kHuggingFaceHint);
  if (result.names_file()) {
    check_path(text, result.selector);
  } else if (!result.selector.empty()) {
    check_name(text, result.selector, "a quantization", kHuggingFaceHint);
  }
  return result;
}

OllamaReference parse_ollama(std::string_view text, std::string_view rest) {
  OllamaReference result;
  if (const std::size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
    result.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    result.space = rest.substr(0, slash);
    rest.remove_prefix(slash + 1);
  }
  result.name = rest;
  check_name(text, result.space, "a namespace", kOllamaHint);
  check_name(text, result.name, "a model", kOllamaHint);
  check_name(text, result.tag, "a tag", kOllamaHint);
  return result;
}

/// ORG/REPO/resolve/REVISION/FILE, as in the addresses of files on Hugging Face.
std::optional<HuggingFaceReference> huggingface_file(std::string_view path) {
  std::array<std::string_view, 4> parts;
  for (std::string_view& part : parts) {
    const std::size_t slash = path.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    part = path.substr(0, slash);
    path.remove_prefix(slash + 1);
  }
  if (parts[2] != "resolve" && parts[2] != "blob") return std::nullopt;
  path = path.substr(0, path.find('?'));
  if (path.find('%') != std::string_view::npos || !ends_with(path, ".gguf")) return std::nullopt;
  return HuggingFaceReference{std::string(parts[0]), std::string(parts[1]), std::string(parts[3]),
                              std::string(path)};
}

Reference parse_url(std::string_view text, std::string_view huggingface) {
  const std::size_t begin = text.find("://") + 3;
  const std::string_view authority = text.substr(begin, text.find_first_of("/?#", begin) - begin);
  if (authority.empty()) refuse(text, "the address names no host", "write https://HOST/FILE.gguf");
  if (authority.find('@') != std::string_view::npos) {
    throw Error("addresses with a user or password in them are not fetched",
                "leave out what stands before the @", ExitCode::kUsage);
  }
  while (!huggingface.empty() && huggingface.back() == '/') huggingface.remove_suffix(1);
  if (starts_with(text, huggingface) && text.substr(huggingface.size()).starts_with('/')) {
    if (const auto file = huggingface_file(text.substr(huggingface.size() + 1))) {
      // Checked like one that was written by hand.
      return parse_huggingface(text, std::string_view(to_text(Reference(*file))).substr(3));
    }
  }
  return UrlReference{std::string(text.substr(0, text.find('#')))};
}

std::string without_query(const std::string& url) { return url.substr(0, url.find('?')); }

/// The number of digits at `at`, or -1 when there are not exactly five.
int five_digits(std::string_view text, std::size_t at) {
  if (at + 5 > text.size()) return -1;
  int value = 0;
  for (std::size_t i = at; i < at + 5; ++i) {
    if (!is_digit(text[i])) return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

/// Whether `word`, in capitals, names a type of tensors or a mix of them.
bool is_quant(std::string_view word) {
  static constexpr std::array<std::string_view, 9> kPlain = {
      "F32", "F16", "BF16", "FP16", "FP32", "MXFP4", "MXFP4_MOE", "NVFP4", "FP8"};
  if (std::find(kPlain.begin(), kPlain.end(), word) != kPlain.end()) return true;
  if (word.starts_with("IQ") || word.starts_with("TQ")) word.remove_prefix(1);
  return word.size() >= 4 && word.size() <= 12 && word[0] == 'Q' && is_digit(word[1]) &&
         word[2] == '_' && std::all_of(word.begin() + 3, word.end(), [](char c) {
           return is_digit(c) || is_letter(c) || c == '_';
         });
}

}  // namespace

bool HuggingFaceReference::names_file() const noexcept { return ends_with(selector, ".gguf"); }

Reference parse_reference(std::string_view text, std::string_view huggingface) {
  if (text.empty() || text.size() > kMaxReferenceBytes ||
      find_invalid_utf8(text) != std::string_view::npos ||
      std::any_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; })) {
    refuse(text, "it is empty, too long or not text", "see hearth pull --help");
  }
  if (starts_with(text, "hf:")) return parse_huggingface(text, text.substr(3));
  for (const std::string_view host : {"hf.co/", "huggingface.co/"}) {
    if (starts_with(text, host)) return parse_huggingface(text, text.substr(host.size()));
  }
  if (starts_with(text, "ollama:")) return parse_ollama(text, text.substr(7));
  if (starts_with(text, "http://") || starts_with(text, "https://"))
    return parse_url(text, huggingface);
  if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    refuse(text, "only http and https are spoken",
           "fetch it with another program and hearth import it");
  }
  if (text.find('/') != std::string_view::npos || ends_with(text, ".gguf"))
    return FileReference{std::string(text)};
  const std::size_t colon = text.find(':');
  CatalogReference result{std::string(text.substr(0, colon)), {}};
  if (colon != std::string_view::npos) result.quant = text.substr(colon + 1);
  check_name(text, result.name, "a model", "write NAME, hf:ORG/REPO, ollama:NAME, a URL or a file");
  if (colon != std::string_view::npos)
    check_name(text, result.quant, "a quantization", "write NAME:Q4_K_M");
  return result;
}

std::string to_text(const Reference& reference) {
  if (const auto* catalog = std::get_if<CatalogReference>(&reference))
    return catalog->name + (catalog->quant.empty() ? "" : ":" + catalog->quant);
  if (const auto* hf = std::get_if<HuggingFaceReference>(&reference)) {
    return fmt::format("hf:{}/{}{}{}", hf->organization, hf->repository,
                       hf->revision == "main" ? "" : "@" + hf->revision,
                       hf->selector.empty() ? "" : ":" + hf->selector);
  }
  if (const auto* ollama = std::get_if<OllamaReference>(&reference)) {
    return fmt::format("ollama:{}{}:{}", ollama->space == "library" ? "" : ollama->space + "/",
                       ollama->name, ollama->tag);
  }
  if (const auto* url = std::get_if<UrlReference>(&reference)) return without_query(url->url);
  return std::get<FileReference>(reference).path;
}

std::string quant_of_file_name(std::string_view name) {
  if (const std::size_t slash = name.rfind('/'); slash != std::string_view::npos)
    name.remove_prefix(slash + 1);
  const std::string capitals = ascii_upper(name);
  std::string_view rest = capitals;
  if (rest.ends_with(".GGUF")) rest.remove_suffix(5);
  // The last word that is one: names of models come first.
  while (!rest.empty()) {
    const std::size_t dash = rest.find_last_of("-.");
    const std::string_view word = dash == std::string_view::npos ? rest : rest.substr(dash + 1);
    if (is_quant(word)) {
      const std::string_view before =
          dash == std::string_view::npos ? std::string_view() : rest.substr(0, dash);
      // Unsloth's "dynamic" mixes differ from the plain ones of the same name.
      const bool dynamic = before == "UD" || before.ends_with("-UD");
      return (dynamic ? "UD-" : "") + std::string(word);
    }
    if (dash == std::string_view::npos) break;
    rest = rest.substr(0, dash);
  }
  return {};
}

std::optional<SplitPlace> split_place(std::string_view name) {
  // -00002-of-00003.gguf
  constexpr std::size_t kSuffix = 20;
  if (name.size() <= kSuffix || !ends_with(name, ".gguf")) return std::nullopt;
  const std::size_t at = name.size() - kSuffix;
  const int number = five_digits(name, at + 1), count = five_digits(name, at + 10);
  if (name[at] != '-' || name.substr(at + 6, 4) != "-of-" || number < 1 || count < 1 ||
      number > count)
    return std::nullopt;
  return SplitPlace{std::string(name.substr(0, at)), number, count};
}

std::string safe_name(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, kMaxNameBytes)) {
    const bool safe = is_name_character(c);
    if (!safe && (result.empty() || result.back() == '-')) continue;
    if (result.empty() && (c == '.' || c == '-')) continue;
    result += safe ? c : '-';
  }
  while (!result.empty() && (result.back() == '-' || result.back() == '.')) result.pop_back();
  return result;
}

bool is_safe_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxNameBytes && name.front() != '.' &&
         name.front() != '-' && std::all_of(name.begin(), name.end(), is_name_character);
}

std::string encode_path(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (is_name_character(c) || c == '/' || c == '~') {
      result += c;
    } else {
      result += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return result;
}

}  // namespace hearth::hub
