// What people write to name a model that is to be fetched.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace hearth::hub {

/// A name without any mark of where it comes from: the catalog knows it.
struct CatalogReference {
  std::string name;
  std::string quant;  ///< `name:Q4_K_M`; empty: not named
};

/// `hf:ORG/REPO[@REVISION][:QUANT|:FILE.gguf]`.
struct HuggingFaceReference {
  std::string organization, repository;
  std::string revision = "main";
  std::string selector;  ///< a quantization, or a file's path when it ends in .gguf; may be empty

  [[nodiscard]] bool names_file() const noexcept;
};

/// `ollama:[NAMESPACE/]NAME[:TAG]`.
struct OllamaReference {
  std::string space = "library", name, tag = "latest";
};

/// http:// or https://.
struct UrlReference {
  std::string url;
};

struct FileReference {
  std::string path;
};

using Reference = std::variant<CatalogReference, HuggingFaceReference, OllamaReference,
                               UrlReference, FileReference>;

/// Understands `text`. Something with a slash or ending in .gguf that has no other mark is a file;
/// hf.co/ORG/REPO and addresses of files on `huggingface` (the endpoint, such as
/// https://huggingface.co) are Hugging Face references. Throws Error (ExitCode::kUsage) for what
/// cannot be one, such as credentials in a URL.
[[nodiscard]] Reference parse_reference(std::string_view text,
                                        std::string_view huggingface = "https://huggingface.co");

/// The reference in its shortest full form, for manifests: what parse_reference understands. Of a
/// URL, without its query, which may hold secrets.
[[nodiscard]] std::string to_text(const Reference& reference);

/// The quantization that a file's name tells, as names in the field go ("Q4_K_M", "IQ2_XXS",
/// "UD-Q4_K_XL", "MXFP4", "BF16"), in capitals; empty when it tells none.
[[nodiscard]] std::string quant_of_file_name(std::string_view name);

/// The place of a part among the files of a split model: NAME-00002-of-00003.gguf.
struct SplitPlace {
  std::string base;  ///< NAME
  int number = 1, count = 1;
};
/// Nothing when `name` does not end like that of a part.
[[nodiscard]] std::optional<SplitPlace> split_place(std::string_view name);

/// A name for a model and its files in the store: letters, digits, dot, dash, underscore; other
/// characters become dashes. Empty when nothing is left.
[[nodiscard]] std::string safe_name(std::string_view text);

/// Whether `name` can name a model of the store: not empty, at most 200 bytes, no leading dot, only
/// the characters that safe_name() leaves.
[[nodiscard]] bool is_safe_name(std::string_view name) noexcept;

/// `text` with what may not stand in a URL's path percent-encoded; slashes stay.
[[nodiscard]] std::string encode_path(std::string_view text);

}  // namespace hearth::hub
