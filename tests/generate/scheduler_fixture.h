// Served tiny models, and listeners that write down what they are told.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "fake_tokenizer.h"
#include "generate/evaluator.h"
#include "generate/prefixes.h"
#include "generate/scheduler.h"
#include "shared_dir.h"

namespace hearth::testing {

using generate::FinishReason;
using generate::GenerateRequest;
using generate::GenerateResult;
using generate::Scheduler;
using generate::SchedulerLimits;
using Ids = std::vector<text::TokenId>;

/// A gate that threads wait at until it is opened.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

/// Writes everything down. Behaviour is set before the request is submitted; what was told may be
/// read after wait().
class Recorder final : public generate::Listener {
 public:
  std::function<generate::Verdict(const generate::GeneratedPiece&)> on_piece;
  std::function<void()> on_progress, on_end;

  void prompt_progress(std::int64_t done, std::int64_t total) override {
    progress.emplace_back(done, total);
    if (on_progress) on_progress();
  }
  generate::Verdict piece(const generate::GeneratedPiece& told) override {
    EXPECT_FALSE(ended_) << "told of a piece after the end";
    text += told.piece.text;
    if (told.token >= 0) {
      tokens.push_back(told.token);
      if (told.log_probability) log_probabilities.push_back(*told.log_probability);
      tops.emplace_back(told.top.begin(), told.top.end());
    }
    return on_piece ? on_piece(told) : generate::Verdict{};
  }
  void finished(const GenerateResult& given) override {
    if (on_end) on_end();
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    result = given;
    ended_ = true;
    end_.notify_all();
  }
  void failed(const Error& given) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    error = given.what();
    ended_ = true;
    end_.notify_all();
  }

  const Recorder& wait() {
    std::unique_lock lock(mutex_);
    end_.wait(lock, [this] { return ended_; });
    return *this;
  }
  [[nodiscard]] bool ended() {
    const std::lock_guard lock(mutex_);
    return ended_;
  }

  std::vector<std::pair<std::int64_t, std::int64_t>> progress;
  std::string text, error;
  Ids tokens;
  std::vector<float> log_probabilities;
  std::vector<std::vector<generate::TokenProbability>> tops;
  GenerateResult result;

 private:
  std::mutex mutex_;
  std::condition_variable end_;
  bool ended_ = false;
};

struct ServedOptions {
  int sequences = 4;
  std::int64_t context = 256;
  std::int64_t batch_rows = 64;
  bool exact = true;
};

/// A model of the goldens with a tokenizer of its own: token i is written "<i>", without brackets
/// in front, so that none is a control token.
class Served {
 public:
  Served(const std::filesystem::path& path, const ServedOptions& options) {
    spec::Setup setup;
    setup.model = path;
    setup.context = options.context;
    setup.sequences = options.sequences;
    setup.batch_rows = options.batch_rows;
    setup.exact = options.exact;
    setup.threads = 2;
    if (options.exact) setup.kv_type = tensor::DType::kF32;
    model = model::LoadedModel::load(setup, {}, generate::scheduler_outputs(setup));
    std::vector<std::string> texts;
    for (std::int64_t id = 0; id < model->spec().vocabulary; ++id)
      texts.push_back("t" + std::to_string(id) + " ");
    tokenizer = std::make_unique<FakeTokenizer>(std::move(texts));
  }

  [[nodiscard]] Scheduler start(SchedulerLimits limits = {},
                                std::unique_ptr<generate::Prefixes> prefixes = nullptr) {
    return Scheduler(*model, *tokenizer, limits, nullptr, std::move(prefixes));
  }

  /// A text of its own for every `seed`.
  [[nodiscard]] Ids prompt(std::size_t length, std::size_t seed) const {
    Ids ids;
    for (std::size_t i = 0; i < length; ++i) {
      const std::size_t value = i * (2 * seed + 1) + i * i / 7 + 3 * seed + 1;
      ids.push_back(
          static_cast<text::TokenId>(value % static_cast<std::size_t>(model->spec().vocabulary)));
    }
    return ids;
  }

  /// What a session of its own says to the same request.
  struct Said {
    Ids tokens;
    std::string text;
    GenerateResult result;
  };
  Said session(const GenerateRequest& request) {
    generate::ModelEvaluator evaluator(*model);
    generate::Session session(evaluator, *tokenizer);
    generate::GenerateOptions options;
    options.sampler = request.sampler;
    options.max_tokens = request.max_tokens;
    options.stops = request.stops;
    options.control_pieces = request.control_pieces;
    Said said;
    said.result = session.generate(request.prompt, options, [&](const generate::Piece& piece) {
      said.text += piece.text;
      return true;
    });
    const auto all = session.tokens();
    said.tokens.assign(all.begin() + static_cast<std::ptrdiff_t>(request.prompt.size()), all.end());
    return said;
  }

  std::unique_ptr<model::LoadedModel> model;
  std::unique_ptr<FakeTokenizer> tokenizer;
};

/// A request for `count` tokens.
inline GenerateRequest request_of(Ids prompt, std::int64_t count, float temperature = 0,
                                  std::uint64_t seed = 1) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = count;
  request.sampler.temperature = temperature;
  request.sampler.seed = seed;
  return request;
}

/// Copies of a request's plain data: the constraint stays behind.
inline GenerateRequest copy_of(const GenerateRequest& request) {
  GenerateRequest copy;
  copy.prompt = request.prompt;
  copy.sampler = request.sampler;
  copy.max_tokens = request.max_tokens;
  copy.stops = request.stops;
  copy.control_pieces = request.control_pieces;
  copy.client = request.client;
  copy.priority = request.priority;
  return copy;
}

}  // namespace hearth::testing
