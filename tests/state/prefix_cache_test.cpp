#include "state/prefix_cache.h"

#include <gtest/gtest.h>

#include "remembered_text.h"
#include "state/snapshots.h"
#include "support/error.h"

namespace hearth::state {
namespace {

using hearth::testing::Kind;
using hearth::testing::RememberedText;
using Text = std::vector<std::int32_t>;

/// Evaluates prompts as a session does, and counts.
class Reader {
 public:
  Reader(RememberedText& model, PrefixCache& cache) : model_(model), cache_(cache) {}

  struct Reading {
    std::unique_ptr<SequenceState> sequence;
    std::int64_t evaluated = 0;
  };
  Reading read(const Text& text, const std::vector<std::int64_t>& boundaries = {},
               const PrefixKey& key = {}) {
    Reading reading;
    const auto total = static_cast<std::int64_t>(text.size());
    reading.sequence = cache_.find(key, text);
    if (!reading.sequence) reading.sequence = std::make_unique<SequenceState>(model_.pool());
    SequenceState& sequence = *reading.sequence;
    EXPECT_LT(sequence.length(), total);
    EXPECT_TRUE(model_.right(sequence, text));
    reading.evaluated = total - sequence.length();
    while (sequence.length() < total) {
      const std::int64_t stop = cache_.next_stop(sequence.length(), total, boundaries);
      EXPECT_GT(stop, sequence.length());
      const std::int64_t until = std::min(stop, sequence.length() + 512);
      cache_.make_room_for(sequence, until - sequence.length());
      model_.evaluate(sequence, text, until);
      if (until == stop) {
        cache_.keep(key, std::span(text).first(static_cast<std::size_t>(until)), sequence, {},
                    std::find(boundaries.begin(), boundaries.end(), until) != boundaries.end());
      }
    }
    EXPECT_TRUE(model_.right(sequence, text));
    return reading;
  }

 private:
  RememberedText& model_;
  PrefixCache& cache_;
};

Text with_changed_end(Text text, std::size_t from, std::size_t size, std::uint32_t seed) {
  text.resize(from);
  const Text end = RememberedText::random_text(size, seed);
  text.insert(text.end(), end.begin(), end.end());
  return text;
}

class PrefixCaches : public ::testing::TestWithParam<Kind> {};

TEST_P(PrefixCaches, GoOnFromASharedBeginning) {
  RememberedText model(GetParam(), 9000, 2, 24);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  Reader reader(model, cache);
  const Text first = RememberedText::random_text(8115, 1);
  // The shared part ends at an odd place, which whoever renders prompts knows to be one.
  EXPECT_EQ(reader.read(first, {8099}).evaluated, 8115);
  const Text second = with_changed_end(first, 8099, 16, 2);
  const auto again = reader.read(second, {8099});
  EXPECT_LE(again.evaluated, 16);
  const PrefixCacheStatistics statistics = cache.statistics();
  EXPECT_EQ(statistics.hits, 1);
  EXPECT_EQ(statistics.misses, 1);
  EXPECT_EQ(statistics.tokens_reused, 8099);
}

TEST_P(PrefixCaches, GoOnAfterTheEndWasEdited) {
  RememberedText model(GetParam(), 9000, 2, 24);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  Reader reader(model, cache);
  for (const std::size_t size : {700U, 5000U, 8001U}) {
    const Text text = RememberedText::random_text(size, static_cast<std::uint32_t>(size));
    EXPECT_EQ(reader.read(text).evaluated, static_cast<std::int64_t>(size));
    const Text edited = with_changed_end(text, size - 200, 200, 7);
    EXPECT_LE(reader.read(edited).evaluated, 456) << size;
    // Further back costs a quarter more than the distance, at most.
    const Text early = with_changed_end(text, size / 2, size - size / 2, 8);
    EXPECT_LE(reader.read(early).evaluated,
              static_cast<std::int64_t>(size - size / 2) * 5 / 4 + kSnapshotRows)
        << size;
  }
}

TEST_P(PrefixCaches, KeepThePartiesApart) {
  RememberedText model(GetParam());
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  Reader reader(model, cache);
  const Text text = RememberedText::random_text(600, 3);
  const PrefixKey ann{.owner = "ann"};
  reader.read(text, {}, ann);
  EXPECT_EQ(cache.find({}, text), nullptr);
  EXPECT_EQ(cache.find({.owner = "bob"}, text), nullptr);
  EXPECT_EQ(cache.find({.owner = "ann", .adapters = 1}, text), nullptr);
  EXPECT_EQ(cache.find({.owner = "ann", .inputs = 1}, text), nullptr);
  EXPECT_NE(cache.find(ann, text), nullptr);
}

TEST_P(PrefixCaches, KnowWhatComesAfterAWholeText) {
  RememberedText model(GetParam());
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  const Text text = RememberedText::random_text(300, 4);
  {
    SequenceState sequence(model.pool());
    model.evaluate(sequence, text, 300);
    cache.keep({}, text, sequence, std::vector<float>{1, 2, 3});
  }
  std::vector<float> logits;
  auto whole = cache.find({}, text, &logits);
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(whole->length(), 300);
  EXPECT_EQ(logits, (std::vector<float>{1, 2, 3}));
  EXPECT_TRUE(model.right(*whole, text));
  // Without them, the last token has to be evaluated.
  const auto part = cache.find({}, text);
  EXPECT_TRUE(part == nullptr || part->length() == 299);
  const Text longer = with_changed_end(text, 300, 5, 5);
  whole = cache.find({}, longer, &logits);
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(whole->length(), 300);
  EXPECT_TRUE(logits.empty());
}

TEST_P(PrefixCaches, StayWithinTheirLimits) {
  RememberedText model(GetParam(), 4096, 4, 8);
  PrefixCache cache(model.pool(), {.cells = 3000, .snapshots = 8});
  Reader reader(model, cache);
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    reader.read(RememberedText::random_text(900, seed));
    EXPECT_LE(cache.statistics().snapshots, 8);
    EXPECT_LE(cache.statistics().cells, 3000);
  }
  EXPECT_GT(cache.statistics().evicted, 0);
  // The last one is still there, the first one is not.
  EXPECT_NE(cache.find({}, RememberedText::random_text(900, 19)), nullptr);
  EXPECT_EQ(cache.find({}, RememberedText::random_text(900, 0)), nullptr);
  cache.clear();
  EXPECT_TRUE(model.all_free());
}

TEST_P(PrefixCaches, MakeRoomForSequencesThatRun) {
  // One sequence fills the pool; whatever is remembered has to go for it.
  RememberedText model(GetParam(), 1024, 1, 4);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  Reader reader(model, cache);
  for (std::uint32_t seed = 0; seed < 8; ++seed) {
    const auto reading = reader.read(RememberedText::random_text(1000, seed));
    EXPECT_EQ(reading.evaluated, 1000);
    EXPECT_EQ(reading.sequence->length(), 1000);
  }
  EXPECT_TRUE(cache.make_room(1024 / kPageCells - 1, kSlotsPerSequence));
  EXPECT_FALSE(cache.make_room(100000, 100000));
  EXPECT_TRUE(model.all_free());
}

// With the room that one chat gets, and a wide window: the system prompt, the last turn, and an
// edit of it.
TEST_P(PrefixCaches, HaveRoomForTheSnapshotsOfAChat) {
  RememberedText model(GetParam(), 8192, 1, kChatSnapshots, 1000, 0);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  Reader reader(model, cache);
  const Text system = RememberedText::random_text(1500, 1);
  const Text text = with_changed_end(system, 1500, 4700, 2);
  EXPECT_EQ(reader.read(text, {1500, 6190}).evaluated, 6200);
  EXPECT_LE(reader.read(with_changed_end(text, 6000, 200, 3), {1500, 6190}).evaluated, 456);
  EXPECT_LE(reader.read(with_changed_end(system, 1500, 16, 4), {1500}).evaluated, 16);
}

TEST_P(PrefixCaches, KeepTheSystemPromptLongest) {
  RememberedText model(GetParam(), 4096, 2, 6);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  Reader reader(model, cache);
  const Text system = RememberedText::random_text(333, 1);
  Text text = with_changed_end(system, 333, 3000, 2);
  reader.read(text, {333, 3320});
  EXPECT_LE(reader.read(with_changed_end(system, 333, 50, 3), {333}).evaluated, 50);
}

/// Whatever is found is right, and nothing leaks: random texts that share beginnings.
TEST_P(PrefixCaches, AreRightAboutRandomTexts) {
  RememberedText model(GetParam(), 1500, 3, 10);
  std::mt19937 random(11);
  {
    PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
    Reader reader(model, cache);
    std::vector<Text> texts = {RememberedText::random_text(400, 1)};
    std::int64_t evaluated = 0, read = 0;
    for (std::uint32_t round = 0; round < 300; ++round) {
      const Text& base = texts[random() % texts.size()];
      const std::size_t from = random() % (base.size() + 1);
      Text text = with_changed_end(base, from, 1 + random() % (1450 - from), round);
      std::vector<std::int64_t> boundaries;
      if (random() % 2 == 0 && from > 0) boundaries.push_back(static_cast<std::int64_t>(from));
      evaluated += reader.read(text, boundaries).evaluated;
      read += static_cast<std::int64_t>(text.size());
      if (texts.size() < 12) {
        texts.push_back(std::move(text));
      } else {
        texts[random() % texts.size()] = std::move(text);
      }
    }
    EXPECT_LT(evaluated, read);
    EXPECT_LE(cache.statistics().snapshots, PrefixCache::limits_of(model.pool()).snapshots);
  }
  EXPECT_TRUE(model.all_free());
}

TEST(PrefixCache, RefusesTokensThatASequenceDoesNotHold) {
  RememberedText model(Kind::kDense);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  SequenceState sequence(model.pool());
  model.evaluate(sequence, RememberedText::random_text(10, 1), 10);
  EXPECT_THROW(cache.keep({}, RememberedText::random_text(9, 1), sequence), Error);
}

TEST(PrefixCache, WithoutRoomRemembersNothing) {
  RememberedText model(Kind::kHybrid, 4096, 2, 0);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  SequenceState sequence(model.pool());
  const Text text = RememberedText::random_text(600, 1);
  EXPECT_EQ(cache.next_stop(0, 600), 600);
  EXPECT_FALSE(cache.snapshot_due(256));
  model.evaluate(sequence, text, 600);
  cache.keep({}, text, sequence);
  EXPECT_EQ(cache.find({}, text), nullptr);
  EXPECT_EQ(cache.statistics().entries, 0);
}

// Several sequences read the same pages, and one of them writes on.
TEST(PrefixCache, SharesPages) {
  RememberedText model(Kind::kDense, 1024, 4);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  const Text system = RememberedText::random_text(640, 1);
  SequenceState first(model.pool());
  model.evaluate(first, system, 640);
  cache.keep({}, system, first);
  const std::int64_t before = model.pool().free_pages(0);
  std::vector<std::unique_ptr<SequenceState>> sequences;
  for (std::uint32_t seed = 0; seed < 3; ++seed) {
    const Text text = with_changed_end(system, 640, 64, seed);
    sequences.push_back(cache.find({}, text));
    ASSERT_NE(sequences.back(), nullptr);
    EXPECT_EQ(sequences.back()->length(), 640);
    model.evaluate(*sequences.back(), text, 704);
  }
  EXPECT_EQ(before - model.pool().free_pages(0), 3);
}

// A server that remembers very many short texts, all of its pages in use: every one of them would
// be looked at for minutes if giving one up took a look at the others.
TEST(PrefixCache, GivesUpTheOldestOfVeryManyInNoTime) {
  constexpr std::int32_t kTexts = 40'000;
  RememberedText model(Kind::kDense, kTexts / 4 * kPageCells, 4, 0);
  ASSERT_EQ(model.pool().pages(0), kTexts);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  for (std::int32_t first = 0; first < 2 * kTexts; ++first) {
    const Text text = {first, 1};
    SequenceState sequence(model.pool());
    ASSERT_TRUE(cache.make_room_for(sequence, 2));
    model.evaluate(sequence, text, 2);
    cache.keep({}, text, sequence, std::vector<float>{1});
  }
  EXPECT_EQ(cache.statistics().entries, kTexts);
  EXPECT_EQ(cache.statistics().evicted, kTexts);
  EXPECT_EQ(cache.known({}, Text{kTexts - 1, 1, 2}), 0);
  EXPECT_EQ(cache.known({}, Text{kTexts, 1, 2}), 2);
}

// Every image is a key of its own, and so is every scale of an adapter: a key of which nothing is
// left is not looked through for ever.
TEST(PrefixCache, ForgetsKeysWithTheirTexts) {
  constexpr std::uint64_t kKeys = 200'000;
  RememberedText model(Kind::kDense, 4 * kPageCells, 4, 0);
  PrefixCache cache(model.pool(), PrefixCache::limits_of(model.pool()));
  const Text text = {1, 2};
  for (std::uint64_t each = 0; each < kKeys; ++each) {
    SequenceState sequence(model.pool());
    ASSERT_TRUE(cache.make_room_for(sequence, 2));
    model.evaluate(sequence, text, 2);
    cache.keep({{}, 0, each}, text, sequence);
  }
  EXPECT_EQ(cache.statistics().entries, model.pool().pages(0));
  EXPECT_EQ(cache.known({}, Text{1, 2, 3}), 0);
  EXPECT_EQ(cache.known({{}, 0, kKeys - 1}, Text{1, 2, 3}), 2);
}

INSTANTIATE_TEST_SUITE_P(Kinds, PrefixCaches,
                         ::testing::Values(Kind::kDense, Kind::kWindow, Kind::kRecurrent,
                                           Kind::kHybrid));

}  // namespace
}  // namespace hearth::state
