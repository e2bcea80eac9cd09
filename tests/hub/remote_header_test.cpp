#include "hub/remote_header.h"

#include <gtest/gtest.h>

#include "gguf/writer.h"
#include "hub/hub_fixture.h"
#include "support/error.h"

namespace hearth::hub {
namespace {

using hearth::testing::FakeHuggingFace;
using hearth::testing::FakeNetwork;
using hearth::testing::FakeServer;
using hearth::testing::noise;
using hearth::testing::Reply;
using hearth::testing::SeenRequest;

class RemoteHeaders : public ::testing::Test {
 protected:
  RemoteHeaders() : server_([this](const SeenRequest& request) { return answer_(request); }) {
    fake_.network().huggingface = server_.url();
    answer_ = [this](const SeenRequest& request) { return hub_.answer(request); };
  }
  RemoteHeader read(const std::string& reference) {
    return read_remote_header(fake_.network(), reference, {});
  }

  FakeNetwork fake_;
  FakeHuggingFace hub_;
  std::function<Reply(const SeenRequest&)> answer_;
  FakeServer server_;
};

TEST_F(RemoteHeaders, are_read_without_the_data) {
  const std::string model = hearth::testing::tiny_model(300);  // 4.8 MB
  hub_.add("m-F32.gguf", model);
  const RemoteHeader header = read("hf:o/r");
  EXPECT_EQ(header.file().tensors().size(), 300U);
  EXPECT_EQ(header.file().metadata().get_string("general.architecture"), "llama");
  EXPECT_EQ(header.file_bytes(), model.size());
  EXPECT_LT(header.fetched_bytes(), model.size() / 2);
  EXPECT_EQ(header.model().quant, "F32");
}

TEST_F(RemoteHeaders, grow_as_needed) {
  gguf::Writer writer;
  writer.set("general.architecture", "llama");
  std::vector<std::string> words;
  for (int i = 0; i < 120'000; ++i) words.push_back("token number " + std::to_string(i));
  writer.set_array("tokenizer.ggml.tokens", words);
  const std::vector<float> values(1 << 20, 1.0F);
  writer.add_floats("t", {1 << 20}, values);
  hub_.add("m.gguf", writer.bytes());
  const RemoteHeader header = read("hf:o/r");
  EXPECT_EQ(header.file().metadata().get_strings("tokenizer.ggml.tokens")->size(), 120'000U);
  std::uint64_t next = 0;
  for (const SeenRequest& seen : server_.seen()) {
    if (!seen.range) continue;
    EXPECT_EQ(seen.range->first, next);  // nothing twice
    next = seen.range->second + 1;
  }
  EXPECT_GE(next, std::uint64_t{2} << 20);
}

TEST_F(RemoteHeaders, of_split_models_are_put_together) {
  const std::vector<std::string> parts = hearth::testing::split_model(3);
  for (int i = 0; i < 3; ++i)
    hub_.add("S-F32-0000" + std::to_string(i + 1) + "-of-00003.gguf", parts[i]);
  const RemoteHeader header = read("hf:o/r");
  EXPECT_EQ(header.file().tensors().size(), 3U);
  EXPECT_EQ(header.file().parts(), 3U);
  EXPECT_EQ(header.file_bytes(), parts[0].size() + parts[1].size() + parts[2].size());
}

TEST_F(RemoteHeaders, work_where_ranges_do_not_when_one_piece_is_enough) {
  const std::string model = hearth::testing::tiny_model(300);
  answer_ = [&](const SeenRequest&) {
    Reply reply;
    reply.body = model;
    return reply;
  };
  const RemoteHeader header = read(server_.url() + "/m.gguf");
  EXPECT_EQ(header.file().tensors().size(), 300U);
  EXPECT_EQ(header.file_bytes(), model.size());
}

TEST_F(RemoteHeaders, of_other_files_are_refused_early) {
  hub_.add("m-Q4_0.gguf", noise(8 << 20));
  EXPECT_THROW((void)read("hf:o/r"), Error);
  std::uint64_t fetched = 0;
  for (const SeenRequest& seen : server_.seen())
    fetched += seen.range ? seen.range->second - seen.range->first + 1 : 0;
  EXPECT_LE(fetched, std::uint64_t{1} << 20);
  hub_.add("m-Q4_0.gguf", "GGUF");
  EXPECT_THROW((void)read("hf:o/r"), Error);
  fake_.network().offline = "HEARTH_OFFLINE is set";
  const std::size_t before = server_.seen().size();
  EXPECT_THROW((void)read("hf:o/r"), Error);
  EXPECT_EQ(server_.seen().size(), before);
}

}  // namespace
}  // namespace hearth::hub
