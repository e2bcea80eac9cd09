#include "golden/golden_modes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "generate/drafter.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

using Tokens = std::vector<std::int32_t>;

std::filesystem::path model_folder() { return goldens_dir() / "arch"; }

class Case {
 public:
  explicit Case(const std::string& name)
      : json_(nlohmann::json::parse(read_file(model_folder() / (name + ".json")))),
        arrays_(read_file(model_folder() / json_.at("bin").get<std::string>())) {}

  [[nodiscard]] const nlohmann::json& json() const { return json_; }
  [[nodiscard]] std::string mode() const { return json_.at("mode").get<std::string>(); }
  [[nodiscard]] std::filesystem::path file(const char* key) const {
    return model_folder() / json_.at(key).get<std::string>();
  }
  [[nodiscard]] Tokens ids(const char* key) const { return json_.at(key).get<Tokens>(); }
  [[nodiscard]] bool has(const std::string& array) const { return find(array) != nullptr; }
  [[nodiscard]] std::vector<float> array(const std::string& name) const {
    const nlohmann::json& entry = *find(name);
    std::size_t count = 1;
    for (const auto& size : entry.at("shape")) count *= size.get<std::size_t>();
    std::vector<float> values(count);
    std::memcpy(values.data(), arrays_.data() + entry.at("offset").get<std::size_t>(),
                count * sizeof(float));
    return values;
  }

 private:
  [[nodiscard]] const nlohmann::json* find(const std::string& name) const {
    for (const auto& entry : json_.at("arrays")) {
      if (entry.at("name") == name) return &entry;
    }
    return nullptr;
  }
  nlohmann::json json_;
  std::string arrays_;
};

/// sum((a - reference)^2) / sum(reference^2) over the finite values; infinite ones must agree.
double error_of(std::span<const float> values, std::span<const float> reference) {
  if (values.size() != reference.size()) return 1;
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isinf(reference[i])) {
      if (values[i] != reference[i]) return 1;
      continue;
    }
    const double difference = static_cast<double>(values[i]) - reference[i];
    error += difference * difference;
    norm += static_cast<double>(reference[i]) * reference[i];
  }
  const double result = error / norm;
  return std::isfinite(result) ? result : 1;
}

std::int32_t best(std::span<const float> row) {
  return static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

constexpr std::int64_t kModeContext = 512;

spec::Setup exact_setup(const std::filesystem::path& model) {
  spec::Setup setup;
  setup.model = model;
  setup.context = kModeContext;
  setup.threads = 2;
  setup.exact = true;
  setup.kv_type = tensor::DType::kF32;
  const spec::ModelSpec spec = model::describe_model(gguf::File::open(model), {kModeContext});
  if (spec.position_limit > 0) setup.context = std::min(kModeContext, spec.position_limit);
  setup.batch_rows = setup.context;
  return setup;
}

/// One evaluation of a case in one cut.
class Evaluation {
 public:
  Evaluation(const std::string& name, const Cut& cut) : case_(name), cut_(cut) {}

  GoldenResult run() {
    const std::string mode = case_.mode();
    if (mode == "gen") generate();
    if (mode == "embed") embed();
    if (mode == "encdec") encode_decode();
    if (mode == "mtp") draft(false);
    if (mode == "eagle3") draft(true);
    if (mode == "mrope") images();
    return result_;
  }

 private:
  void compare(const std::string& array, std::span<const float> values) {
    const double error = error_of(values, case_.array(array));
    if (result_.worst.empty() || error > result_.nmse) {
      result_.nmse = error;
      result_.worst = array;
    }
  }
  [[nodiscard]] std::int64_t first_position() const {
    return case_.json().value("pos0", std::int64_t{0});
  }

  void load(const std::filesystem::path& path, const model::Outputs& outputs) {
    model_ = model::LoadedModel::load(exact_setup(path), {}, outputs);
    sequence_ = model_->new_sequence(first_position());
  }

  /// Calls evaluate(begin, count) for every pass.
  template <class Evaluate>
  void in_passes(std::size_t rows, Evaluate evaluate) {
    for (std::size_t i = 0, done = 0; done < rows; ++i) {
      const std::size_t size = cut_.sizes.empty() ? rows : cut_.sizes[i % cut_.sizes.size()];
      const std::size_t count = std::min(size, rows - done);
      evaluate(done, count);
      done += count;
    }
  }

  std::vector<float> logits_of(std::span<const std::int32_t> tokens) {
    std::vector<float> all;
    in_passes(tokens.size(), [&](std::size_t begin, std::size_t count) {
      std::vector<model::BatchRow> rows;
      for (std::size_t i = begin; i < begin + count; ++i) {
        rows.push_back({.sequence = sequence_.get(), .token = tokens[i], .wants_logits = true});
      }
      const std::span<const float> logits = model_->run(rows);
      all.insert(all.end(), logits.begin(), logits.end());
    });
    return all;
  }

  [[nodiscard]] std::span<const float> last_row(std::span<const float> logits) const {
    return logits.last(static_cast<std::size_t>(model_->spec().logits));
  }

  /// Greedy continuation after `logits`, token by token.
  void decode(const std::vector<float>& logits) {
    std::vector<float> decoded;
    std::int32_t token = best(last_row(logits));
    for (const std::int32_t expected : case_.ids("greedy_tokens")) {
      result_.tokens_equal = result_.tokens_equal && token == expected;
      const model::BatchRow row{
          .sequence = sequence_.get(), .token = expected, .wants_logits = true};
      const std::span<const float> next = model_->run({&row, 1});
      decoded.insert(decoded.end(), next.begin(), next.end());
      token = best(next);
    }
    compare("decode_logits", decoded);
  }

  void generate() {
    load(case_.file("gguf"), {.logit_rows = kModeContext});
    const std::vector<float> logits = logits_of(case_.ids("prompt_tokens"));
    compare("prompt_logits", logits);
    decode(logits);
  }

  void embed() {
    load(case_.file("gguf"),
         {.hidden = model::HiddenRequest::kHidden, .hidden_rows = kModeContext});
    const Tokens tokens = case_.ids("prompt_tokens");
    std::vector<model::BatchRow> rows;
    for (const std::int32_t token : tokens) {
      rows.push_back({.sequence = sequence_.get(), .token = token, .wants_hidden = true});
    }
    (void)model_->run(rows);
    const std::span<const float> hidden = model_->runner().hidden();
    const std::vector<float> states(hidden.begin(), hidden.end());
    if (case_.has("token_embd")) compare("token_embd", states);
    const auto length = static_cast<std::int64_t>(tokens.size());
    if (model_->spec().pooling.kind == spec::PoolingKind::kNone) return;
    if (case_.has("pooled")) compare("pooled", model_->runner().pool(states, {&length, 1}));
  }

  void encode_decode() {
    load(case_.file("gguf"), {.logit_rows = kModeContext});
    compare("encoder_output", model_->runner().encode(*sequence_, case_.ids("prompt_tokens")));
    const std::vector<float> logits = logits_of(case_.ids("decoder_tokens"));
    compare("decoder_logits", logits);
    decode(logits);
  }

  void images() {
    load(case_.file("gguf"), {.logit_rows = kModeContext});
    const Tokens tokens = case_.ids("prompt_tokens");
    const auto& layout = case_.json().at("layout");
    const auto image_begin = layout.at("image").at(0).get<std::size_t>();
    const auto image_end = layout.at("image").at(1).get<std::size_t>();
    const auto width = case_.json().at("image_w").get<std::size_t>();
    const auto height = case_.json().at("image_h").get<std::size_t>();
    const std::vector<float> embeddings = case_.array("image_embd");
    const std::size_t row_width = embeddings.size() / (image_end - image_begin);
    const std::size_t total = image_end - image_begin + tokens.size();
    std::vector<std::array<std::int32_t, 3>> axes(total);
    std::vector<float> all;
    in_passes(total, [&](std::size_t begin, std::size_t count) {
      std::vector<model::BatchRow> rows;
      for (std::size_t i = begin; i < begin + count; ++i) {
        model::BatchRow row{.sequence = sequence_.get(), .wants_logits = true};
        const bool image = i >= image_begin && i < image_end;
        const std::size_t text = i < image_begin ? i : i - (image_end - image_begin);
        if (image) {
          const std::size_t pixel = i - image_begin;
          axes[i] = {static_cast<std::int32_t>(image_begin),
                     static_cast<std::int32_t>(image_begin + pixel / width),
                     static_cast<std::int32_t>(image_begin + pixel % width)};
          row.axes = axes[i].data();
          row.input = embeddings.data() + pixel * row_width;
        } else {
          row.token = tokens[text];
          if (i == image_end) {  // later rows go on from it by themselves
            axes[i].fill(static_cast<std::int32_t>(image_begin + std::max(width, height)));
            row.axes = axes[i].data();
          }
        }
        rows.push_back(row);
      }
      const std::span<const float> logits = model_->run(rows);
      all.insert(all.end(), logits.begin(), logits.end());
    });
    compare("logits", all);
  }

  void draft(bool own_file) {
    const std::filesystem::path target = case_.file(own_file ? "target_gguf" : "gguf");
    const gguf::File file = gguf::File::open(case_.file("gguf"));
    const spec::ModelSpec draft_spec = own_file
                                           ? model::describe_model(file, {kModeContext})
                                           : model::describe_draft_head(file, {kModeContext}, 0);
    const spec::ModelSpec target_spec =
        model::describe_model(gguf::File::open(target), {kModeContext});
    load(target, generate::target_outputs(target_spec, draft_spec, kModeContext));
    spec::Setup setup = exact_setup(target);
    setup.model = own_file ? case_.file("gguf") : std::filesystem::path();
    const auto head = model::LoadedModel::load_draft(
        *model_, setup, 0,
        {.logit_rows = kModeContext, .hidden = model::HiddenRequest::kHidden, .hidden_rows = 1});
    generate::Drafter drafter(*head);

    // In deepseek4-mtp the first 6144 values of h_nextn are those of prompt_logits (48 x 128), and
    // mtp_logits were made with them. There the head is given the same values, so that it is
    // compared on equal inputs; those hidden states themselves are not compared.
    const std::vector<float> logits_reference = case_.array("prompt_logits");
    std::vector<float> spoiled;
    if (!own_file) spoiled = case_.array("h_nextn");
    if (!std::equal(logits_reference.begin(), logits_reference.begin() + 64, spoiled.begin(),
                    spoiled.begin() + std::min<std::ptrdiff_t>(
                                          64, static_cast<std::ptrdiff_t>(spoiled.size())))) {
      spoiled.clear();
    }

    const Tokens tokens = case_.ids("prompt_tokens");
    std::vector<float> logits;
    std::vector<float> states;
    std::vector<float> guesses;
    in_passes(tokens.size(), [&](std::size_t begin, std::size_t count) {
      std::vector<model::BatchRow> rows;
      for (std::size_t i = begin; i < begin + count; ++i) {
        rows.push_back({.sequence = sequence_.get(),
                        .token = tokens[i],
                        .wants_logits = true,
                        .wants_hidden = true});
      }
      const std::span<const float> part = model_->run(rows);
      logits.insert(logits.end(), part.begin(), part.end());
      std::span<const float> hidden = model_->runner().hidden();
      states.insert(states.end(), hidden.begin(), hidden.end());
      if (!spoiled.empty()) {
        const std::size_t width = hidden.size() / count;
        hidden = std::span(spoiled).subspan(begin * width, count * width);
      }
      const std::span<const float> guess =
          drafter.follow(std::span(tokens).subspan(begin, count), hidden, true);
      guesses.insert(guesses.end(), guess.begin(), guess.end());
    });
    compare("prompt_logits", logits);
    for (std::size_t i = 0; i < std::min(spoiled.size(), logits.size()); ++i) {
      if (spoiled[i] == logits_reference[i]) states[i] = spoiled[i];
    }
    compare(own_file ? "target_features" : "h_nextn", states);
    compare(own_file ? "decoder_logits" : "mtp_logits", guesses);

    std::vector<float> drafted;
    std::int32_t token = best(last_row(logits));
    result_.tokens_equal = token == case_.json().at("id_last").get<std::int32_t>();
    bool first = true;
    for (const std::int32_t expected : case_.ids("draft_tokens")) {
      const std::span<const float> guess = first ? drafter.first(token) : drafter.next(token);
      drafted.insert(drafted.end(), guess.begin(), guess.end());
      token = best(guess);
      result_.tokens_equal = result_.tokens_equal && token == expected;
      first = false;
    }
    compare("draft_logits", drafted);
  }

  Case case_;
  const Cut& cut_;
  std::unique_ptr<model::LoadedModel> model_;
  std::unique_ptr<state::SequenceState> sequence_;
  GoldenResult result_;
};

}  // namespace

const std::vector<Cut>& golden_cuts() {
  static const std::vector<Cut> cuts = {
      {"as one batch", {}}, {"one by one", {1}}, {"in uneven chunks", {7, 1, 13}}};
  return cuts;
}

std::vector<GoldenInfo> golden_list() {
  std::vector<GoldenInfo> list;
  if (!std::filesystem::exists(model_folder())) return list;
  const std::vector<std::string_view> known = model::known_architectures();
  for (const auto& entry : std::filesystem::directory_iterator(model_folder())) {
    if (entry.path().extension() != ".json") continue;
    const auto json = nlohmann::json::parse(read_file(entry.path()));
    GoldenInfo info{json.at("name").get<std::string>(), json.at("arch").get<std::string>(),
                    json.at("mode").get<std::string>()};
    info.known = std::find(known.begin(), known.end(), info.architecture) != known.end();
    list.push_back(info);
  }
  std::sort(list.begin(), list.end(),
            [](const GoldenInfo& a, const GoldenInfo& b) { return a.name < b.name; });
  return list;
}

double golden_tolerance(const std::string& name) {
  return name == "gemma3n" || name == "glm-dsa" || name == "deepseek4-long" ? 1e-6 : 1e-8;
}

GoldenResult evaluate_golden(const std::string& name, const Cut& cut) {
  return Evaluation(name, cut).run();
}

}  // namespace hearth::testing
