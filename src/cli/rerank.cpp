// hearth rerank: how well documents answer a query.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/embedding_model.h"
#include "cli/main.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

struct RerankOptions : EmbeddingOptions {
  std::size_t top = 0;  // 0: all
};

struct Ranked {
  std::size_t document = 0;
  std::vector<float> scores;
};

std::vector<Ranked> rank(const RerankOptions& options, EmbeddingModel& model,
                         const std::string& query, const std::vector<std::string>& documents) {
  const generate::TextEncoder& encoder = model.encoder();
  std::vector<generate::TokenList> pairs;
  pairs.reserve(documents.size());
  for (const std::string& document : documents) {
    pairs.push_back(options.truncate ? encoder.pair(query, document, model.limit())
                                     : encoder.pair(query, document));
  }
  std::vector<Ranked> ranked;
  model.embed(pairs, [&](std::size_t document, std::span<const float> scores) {
    ranked.push_back({document, {scores.begin(), scores.end()}});
  });
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return a.scores.front() > b.scores.front();
  });
  if (options.top > 0 && ranked.size() > options.top) ranked.resize(options.top);
  return ranked;
}

/// `text` on one line, without what could control a terminal.
std::string one_line(const std::string& text) {
  std::string line = without_controls(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return line;
}

void print_ranked(const EmbeddingModel& model, const std::vector<Ranked>& ranked,
                  const std::vector<std::string>& documents) {
  const std::vector<std::string> labels = generate::classifier_labels(model.file(), model.spec());
  std::string results;
  for (const Ranked& one : ranked) {
    if (!results.empty()) results += ',';
    results += fmt::format("{{\"index\":{},\"score\":{},\"document\":{}", one.document,
                           json_number(one.scores.front()), Json(documents[one.document]).dump());
    if (labels.size() == one.scores.size() && labels.size() > 1) {
      results += ",\"labels\":{";
      for (std::size_t i = 0; i < labels.size(); ++i) {
        results += fmt::format("{}{}:{}", i == 0 ? "" : ",", Json(to_valid_utf8(labels[i])).dump(),
                               json_number(one.scores[i]));
      }
      results += '}';
    }
    results += '}';
  }
  fmt::print("{{\"model\":{},\"results\":[{}]}}\n", Json(to_valid_utf8(model.name())).dump(),
             results);
}

void run_rerank(RerankOptions& options, std::vector<std::string> words) {
  if (words.empty()) {
    throw Error("there is no query", "give QUERY and documents", ExitCode::kUsage);
  }
  const std::string query = words.front();
  require_utf8(query, "the query");
  words.erase(words.begin());
  EmbeddingModel model(options);
  if (model.spec().pooling.kind != spec::PoolingKind::kRank) {
    throw Error("this model is not a reranker: it has no head that scores pairs of texts",
                "use a reranker, or compare vectors that hearth embed makes");
  }
  const std::vector<std::string> documents = texts_of(words);
  const std::vector<Ranked> ranked = rank(options, model, query, documents);
  if (options.json) return print_ranked(model, ranked, documents);
  for (const Ranked& one : ranked) {
    fmt::print("{:.6f}\t{}\t{}\n", one.scores.front(), one.document,
               one_line(documents[one.document]));
  }
}

}  // namespace

void add_rerank_command(CLI::App& app) {
  auto options = std::make_shared<RerankOptions>();
  CLI::App* command = app.add_subcommand("rerank", "Sort documents by how well they fit a query");
  command->footer(
      "Scores every DOCUMENT against QUERY with a reranker and prints the best first: score, "
      "number of the document (the first is 0) and document, separated by tabs. With - or without "
      "DOCUMENT, every line of stdin is one.\n\n"
      "Scores of one model can be compared with each other, not with those of another: some are "
      "probabilities, some any number.\n\n"
      "With --json the result is one object: \"model\" and \"results\", each with \"index\", "
      "\"score\", \"document\" and, for classifiers with several labels, the \"labels\" with their "
      "scores.\n\n"
      "Examples:\n"
      "  hearth rerank reranker.gguf \"capital of France\" \"Paris is …\" \"Bananas are …\"\n"
      "  hearth rerank reranker.gguf \"capital of France\" --top 3 < passages.txt\n"
      "\n"
      "Exit status:\n"
      "  0  all went well  2  wrong usage\n"
      "  1  failed         3  the model or a pair of texts does not fit");
  add_embedding_options(*command, *options);
  command->add_option("--top", options->top, "Print only the N best (default: all)")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 30));
  command->callback([options, command] { run_rerank(*options, plain_words(*command)); });
}

}  // namespace hearth::cli
