// What embedding models read of texts, and vectors that do not depend on how texts share passes.
#include <gtest/gtest.h>

#include <cmath>

#include "generate/embedder.h"
#include "model/families/registry.h"
#include "shared_dir.h"
#include "support/error.h"
#include "text/tiny_vocabulary.h"

namespace hearth::generate {
namespace {

using spec::PoolingKind;
using testing::goldens_dir;
using text::TokenId;

std::filesystem::path golden(const std::string& name) {
  return goldens_dir() / "arch" / (name + ".gguf");
}

/// A vocabulary of `kind` with other metadata.
class Made {
 public:
  template <class Change>
  Made(const std::string& kind, Change change) {
    gguf::Writer writer = text::tiny_writer(kind);
    change(writer);
    bytes_ = writer.bytes();
    file_ = std::make_unique<gguf::File>(gguf::File::from_bytes(std::as_bytes(std::span(bytes_))));
  }
  [[nodiscard]] const gguf::Metadata& metadata() const { return file_->metadata(); }

 private:
  std::string bytes_;
  std::unique_ptr<gguf::File> file_;
};

spec::ModelSpec pooled_by(PoolingKind kind) {
  spec::ModelSpec spec;
  spec.pooling.kind = kind;
  return spec;
}

TEST(TextEncoder, PutsWordPieceTextsBetweenClsAndSep) {
  HEARTH_REQUIRE_FILE(golden("bert"));
  const gguf::File file = gguf::File::open(golden("bert"));
  const TextEncoder encoder(file.metadata(), pooled_by(PoolingKind::kMean));
  EXPECT_EQ(encoder.text("a b"), (TokenList{2, 5, 6, 3}));
  EXPECT_EQ(encoder.pair("a", "b c"), (TokenList{2, 5, 3, 6, 7, 3})) << "[SEP] only once between";
  EXPECT_EQ(encoder.text(""), (TokenList{2, 3}));
  EXPECT_EQ(encoder.text("a b c d", 4), (TokenList{2, 5, 6, 3})) << "[SEP] stays";
  EXPECT_EQ(encoder.pair("a", "b c d", 5), (TokenList{2, 5, 3, 6, 3}));
  const TokenList written = encoder.text("[SEP]");
  EXPECT_EQ(std::count(written.begin(), written.end(), 3), 1) << "a mark in a text stays text";
}

TEST(TextEncoder, FollowsTheFlagsOfTheFile) {
  // XLM-R: <s> query </s> </s> document </s>.
  const Made file("t5", [](gguf::Writer& writer) {
    writer.set("tokenizer.ggml.bos_token_id", 1U);
    writer.set("tokenizer.ggml.eos_token_id", 2U);
    writer.set("tokenizer.ggml.seperator_token_id", 3U);
    writer.set("tokenizer.ggml.add_bos_token", true);
    writer.set("tokenizer.ggml.add_eos_token", true);
    writer.set("tokenizer.ggml.add_sep_token", true);
  });
  const TextEncoder encoder(file.metadata(), pooled_by(PoolingKind::kRank));
  EXPECT_EQ(encoder.pair("", ""), (TokenList{1, 2, 3, 2}));
  const TokenList tokens = encoder.pair("a", "b");
  EXPECT_EQ(tokens.front(), 1);
  EXPECT_EQ(tokens.back(), 2);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 2), 2);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 3), 1);
}

TEST(TextEncoder, ModelsThatPoolTheLastTokenGetTheirEnd) {
  const auto make = [](bool says, PoolingKind kind) {
    const Made file("gpt2", [&](gguf::Writer& writer) {
      writer.set("tokenizer.ggml.eos_token_id", 2U);
      if (says) writer.set("tokenizer.ggml.add_eos_token", false);
    });
    return TextEncoder(file.metadata(), pooled_by(kind)).text("a");
  };
  EXPECT_EQ(make(false, PoolingKind::kLast).back(), 2);
  EXPECT_NE(make(true, PoolingKind::kLast).back(), 2) << "the file says it wants none";
  EXPECT_NE(make(false, PoolingKind::kMean).back(), 2);
}

TEST(TextEncoder, UsesTheModelsPromptForReranking) {
  for (const char* prompt :
       {"<|end|>q:{query} d:{document}<|end|>", "<|end|>q:{{ query }} d:{{ document }}<|end|>"}) {
    const Made file("gpt2", [&](gguf::Writer& writer) {
      writer.set("tokenizer.chat_template.rerank", std::string_view(prompt));
    });
    const auto tokenizer = text::Tokenizer::create(file.metadata());
    const TextEncoder encoder(file.metadata(), pooled_by(PoolingKind::kRank));
    const TokenId end = *tokenizer->find("<|end|>");
    const TokenList tokens = encoder.pair("why", "<|end|>{query}");
    EXPECT_EQ(tokenizer->decode(tokens, {.special = true}), "<|end|>q:why d:<|end|>{query}<|end|>");
    EXPECT_EQ(std::count(tokens.begin(), tokens.end(), end), 2)
        << "the document's own <|end|> is text";
    const TokenList cut = encoder.pair("why", "a long document, longer than fits", 30);
    EXPECT_LE(cut.size(), 30U);
    EXPECT_EQ(cut.back(), end) << "only the document is cut";
    EXPECT_NE(tokenizer->decode(cut, {.special = true}).find("d:a long"), std::string::npos);
  }
}

std::vector<std::vector<float>> embed(const std::string& model, const std::vector<TokenList>& texts,
                                      const EmbedderOptions& options, std::int64_t batch_rows,
                                      int sequences) {
  spec::Setup setup;
  setup.model = golden(model);
  setup.exact = true;
  setup.kv_type = tensor::DType::kF32;
  setup.threads = 1;
  setup.context = 100;
  setup.batch_rows = batch_rows;
  setup.sequences = sequences;
  const auto loaded = model::LoadedModel::load(setup, {}, embedding_outputs(setup));
  Embedder embedder(*loaded, options);
  std::vector<std::vector<float>> vectors;
  embedder.embed(texts, [&](std::size_t text, std::span<const float> vector) {
    EXPECT_EQ(text, vectors.size());
    vectors.emplace_back(vector.begin(), vector.end());
  });
  return vectors;
}

std::vector<TokenList> some_texts() {
  std::vector<TokenList> texts;
  for (const std::size_t size : {5U, 1U, 40U, 90U, 3U, 17U}) {
    texts.emplace_back();
    for (std::size_t i = 0; i < size; ++i) {
      texts.back().push_back(static_cast<TokenId>((size * 31 + i * 7) % 100));
    }
  }
  return texts;
}

void expect_same(const std::vector<std::vector<float>>& a,
                 const std::vector<std::vector<float>>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    for (std::size_t j = 0; j < a[i].size(); ++j) EXPECT_NEAR(a[i][j], b[i][j], 2e-5) << i;
  }
}

TEST(Embedder, VectorsDoNotDependOnHowTextsShareThePasses) {
  HEARTH_REQUIRE_FILE(golden("bert"));
  for (const char* model :
       {"bert", "bert-cls", "bert-rank", "modern-bert", "gemma-embedding-dense"}) {
    expect_same(embed(model, some_texts(), {}, 100, 1), embed(model, some_texts(), {}, 300, 6));
  }
}

TEST(Embedder, PassesOfDecodersMayBeShorterThanTheirTexts) {
  HEARTH_REQUIRE_FILE(golden("qwen3"));
  for (const PoolingKind kind :
       {PoolingKind::kMean, PoolingKind::kLast, PoolingKind::kFirst, PoolingKind::kNone}) {
    const EmbedderOptions options{.pooling = kind};
    expect_same(embed("qwen3", some_texts(), options, 7, 2),
                embed("qwen3", some_texts(), options, 200, 6));
  }
}

TEST(Embedder, PoolingChosenByTheCallerIsThatOfTheStates) {
  HEARTH_REQUIRE_FILE(golden("bert"));
  const std::vector<TokenList> texts = some_texts();
  const auto states = embed("bert", texts, {PoolingKind::kNone, false}, 100, 1);
  const auto mean = embed("bert", texts, {PoolingKind::kMean, false}, 100, 1);
  const auto first = embed("bert", texts, {PoolingKind::kFirst, false}, 100, 1);
  const auto last = embed("bert", texts, {PoolingKind::kLast, false}, 100, 1);
  expect_same(mean, embed("bert", texts, {std::nullopt, false}, 100, 1));  // bert's own
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::size_t rows = texts[i].size();
    ASSERT_EQ(states[i].size(), rows * 64);
    for (std::size_t d = 0; d < 64; ++d) {
      double sum = 0;
      for (std::size_t row = 0; row < rows; ++row) sum += states[i][row * 64 + d];
      EXPECT_NEAR(mean[i][d], sum / static_cast<double>(rows), 1e-5);
      EXPECT_NEAR(first[i][d], states[i][d], 1e-5);
      EXPECT_NEAR(last[i][d], states[i][(rows - 1) * 64 + d], 1e-5);
    }
  }
}

// Others compute between the passes of a long text.
TEST(Embedder, ATurnIsOnePass) {
  HEARTH_REQUIRE_FILE(golden("qwen3"));
  spec::Setup setup;
  setup.model = golden("qwen3");
  setup.context = 64;
  setup.batch_rows = 8;
  const auto model = model::LoadedModel::load(setup, {}, embedding_outputs(setup));
  ComputeTurn turn;
  Embedder embedder(*model, {.pooling = PoolingKind::kMean, .turn = &turn});
  int passes = 0, vectors = 0;
  embedder.embed(
      {{TokenList(40, 5), TokenList(3, 5)}},
      [&](std::size_t, std::span<const float>) { ++vectors; },
      [&] {
        turn.lock();  // waits for ever when it is held
        turn.unlock();
        ++passes;
      });
  EXPECT_EQ(passes, 6);
  EXPECT_EQ(vectors, 2);
  EXPECT_THROW(embedder.embed(
                   {{TokenList(3, 5)}}, [](auto, auto) {}, [] { throw Error("gone"); }),
               Error);
}

TEST(Embedder, RefusesEmptyAndLongTexts) {
  HEARTH_REQUIRE_FILE(golden("bert"));
  EXPECT_THROW(embed("bert", {TokenList{}}, {}, 100, 1), Error);
  EXPECT_THROW(embed("bert", {TokenList(101, 5)}, {}, 100, 1), Error);
}

TEST(Embedder, ModelsThatDoNotSayHowToPoolNeedToBeTold) {
  HEARTH_REQUIRE_FILE(golden("llama-plain"));
  const gguf::File chat = gguf::File::open(golden("llama-plain"));
  const spec::ModelSpec spec = model::describe_model(chat, {});
  EXPECT_THROW(require_pooling(chat.metadata(), spec, {}), Error);
  EXPECT_NO_THROW(require_pooling(chat.metadata(), spec, {.pooling = PoolingKind::kLast}));
}

TEST(EmbeddingSetup, FitsTheTexts) {
  spec::ModelSpec spec;
  spec.context_length = 8192;
  spec.causal = false;
  const spec::Setup encoder = embedding_setup({}, spec, 2000, 10);
  EXPECT_EQ(encoder.context, 2000);
  EXPECT_GE(encoder.batch_rows, 2000) << "encoders read a text in one pass";
  EXPECT_EQ(encoder.sequences, 10);
  spec.causal = true;
  spec.kv_memories.resize(1);
  const spec::Setup decoder = embedding_setup({}, spec, 2000, 10);
  EXPECT_LT(decoder.batch_rows, 2000);
  EXPECT_EQ(decoder.sequences, 2) << "KV for all sequences stays small";
  EXPECT_EQ(embedding_setup({}, spec, 100000, 3).context, 8192);
  spec.position_limit = 512;
  EXPECT_EQ(longest_text(spec), 512);
}

}  // namespace
}  // namespace hearth::generate
