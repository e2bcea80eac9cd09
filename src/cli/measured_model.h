// What `perplexity` and `imatrix` share: a text in chunks, and a model loaded to evaluate them.
#pragma once

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>

#include "cli/adapters.h"
#include "measure/chunks.h"

namespace CLI {
class App;
}

namespace hearth::cli {

struct MeasureOptions {
  std::string model, text;
  std::int64_t context = 512, chunks = 0, batch = 512;
  int threads = 0;
  std::string kv = "f16";
  bool exact = false, mapped = false, json = false;
};

/// A text file, or stdin for "-". Throws Error.
[[nodiscard]] std::string read_text(const std::string& name);

/// Adds MODEL, TEXT, --ctx, --chunks, --batch, --threads, --kv, --exact, --mapped and --json.
void add_measure_options(CLI::App& command, MeasureOptions& options);

/// Why short texts show no loss by coded keys and values, and what to do.
inline constexpr const char* kWhyUncoded =
    "the first 64 tokens and the last 128 to 191 stay F16 (docs/kv.md), so no loss can be seen; "
    "take more than 256";

/// A model's file and a text for it, read before the weights are loaded.
class MeasuredModel {
 public:
  /// Reads TEXT (a file, or stdin for "-") and cuts it into chunks. Throws Error.
  explicit MeasuredModel(const MeasureOptions& options);

  [[nodiscard]] const spec::ModelSpec& spec() const noexcept { return spec_; }
  [[nodiscard]] measure::TokenChunks& chunks() noexcept { return *chunks_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_->path(); }
  /// The model's name for people: general.name, else the file's.
  [[nodiscard]] std::string name() const;
  /// The text's name for people.
  [[nodiscard]] std::string text_name() const;
  /// Threads that the engine will use.
  [[nodiscard]] int threads() const;

  /// As measure::coded_tokens, for the chunks that the options ask for.
  [[nodiscard]] std::optional<std::int64_t> coded_tokens() const;

  /// Throws Error (exit code 2) when writing `out` would overwrite the model, the text or one of
  /// `inputs`, and (exit code 1) when it exists and `replace` is false.
  void check_output(const std::filesystem::path& out, bool replace,
                    std::initializer_list<std::filesystem::path> inputs = {}) const;

  /// The backend that the options ask for.
  [[nodiscard]] std::shared_ptr<compute::Backend> make_backend() const;
  /// Loads the weights onto `backend`, showing progress on terminals. Ctrl-C ends with QuietExit;
  /// an InterruptGuard must exist.
  [[nodiscard]] std::unique_ptr<model::LoadedModel> load(
      measure::WantedLogits wanted, std::shared_ptr<compute::Backend> backend) const;

 private:
  const MeasureOptions& options_;
  std::shared_ptr<gguf::File> file_;
  spec::ModelSpec spec_;
  spec::KvFormat kv_;
  std::optional<measure::TokenChunks> chunks_;
};

/// "12.3 tokens/s", and how long it will take when that is known: ", 3 min left".
[[nodiscard]] std::string pace(std::int64_t done, std::int64_t total, double seconds);

}  // namespace hearth::cli
