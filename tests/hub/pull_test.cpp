#include "hub/pull.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "gguf/file.h"
#include "hub/hub_fixture.h"
#include "hub/sha256.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;
using hearth::testing::FakeHuggingFace;
using hearth::testing::FakeNetwork;
using hearth::testing::FakeServer;
using hearth::testing::noise;
using hearth::testing::ranged;
using hearth::testing::Reply;
using hearth::testing::SeenRequest;
using hearth::testing::split_model;
using hearth::testing::TemporaryFolder;
using hearth::testing::tiny_model;

class Pulls : public ::testing::Test {
 protected:
  Pulls()
      : store_(folder_ / "store"),
        server_([this](const SeenRequest& request) { return answer_(request); }) {
    fake_.network().huggingface = server_.url();
    fake_.network().ollama = server_.url();
    answer_ = [this](const SeenRequest& request) { return hub_.answer(request); };
  }

  PullResult get(const std::string& reference, PullOptions options = {}) {
    return pull(store_, fake_.network(), reference, options);
  }
  Error failure(const std::string& reference, PullOptions options = {}) {
    try {
      (void)get(reference, std::move(options));
    } catch (const Error& error) {
      EXPECT_TRUE(store_.list().models.empty());
      return error;
    }
    ADD_FAILURE() << "it went well";
    return Error("");
  }
  static bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  TemporaryFolder folder_;
  Store store_;
  FakeNetwork fake_;
  FakeHuggingFace hub_;
  std::function<Reply(const SeenRequest&)> answer_;
  FakeServer server_;
};

TEST_F(Pulls, from_hugging_face) {
  const std::string content = noise(300'000);
  hub_.add("M-Q4_K_M.gguf", content);
  hub_.add("M-Q8_0.gguf", noise(500'000));
  hub_.add("mmproj-M-F16.gguf", noise(100));
  fake_.network().huggingface_token = "hf_secret";
  const PullResult result = get("hf:o/r");  // nothing named: the usual quantization
  EXPECT_EQ(result.manifest.name, "M-Q4_K_M");
  EXPECT_EQ(result.manifest.quant, "Q4_K_M");
  EXPECT_EQ(result.manifest.reference, "hf:o/r:M-Q4_K_M.gguf");
  EXPECT_TRUE(read_file(result.path) == content);
  EXPECT_FALSE(result.already_there);
  for (const SeenRequest& seen : server_.seen())
    EXPECT_EQ(seen.header("authorization"), "Bearer hf_secret");
  const std::size_t before = server_.seen().size();
  EXPECT_TRUE(get("hf:o/r:q4_k_m").already_there);
  EXPECT_EQ(server_.seen().size(), before + 1);  // the list alone
  EXPECT_TRUE(fs::is_empty(store_.downloads()));
  EXPECT_EQ(get("hf:o/r:M-Q8_0.gguf").manifest.name, "M-Q8_0");
  EXPECT_EQ(get(server_.url() + "/o/r/resolve/main/M-Q8_0.gguf?download=true").manifest.name,
            "M-Q8_0");
  EXPECT_EQ(store_.list().models.size(), 2U);
}

TEST_F(Pulls, ask_the_chooser_when_no_quantization_is_named) {
  hub_.add("M-Q4_K_M.gguf", noise(1000, 1));
  hub_.add("M-Q8_0.gguf", noise(2000, 2));
  PullOptions options;
  options.resolve.chooser = [](std::span<const Candidate> candidates) {
    EXPECT_EQ(candidates.size(), 2U);
    EXPECT_EQ(candidates[1].quant, "Q8_0");
    EXPECT_EQ(candidates[1].size(), 2000U);
    return std::optional<std::size_t>(1);
  };
  EXPECT_EQ(get("hf:o/r", options).manifest.quant, "Q8_0");
  options.resolve.chooser = [](std::span<const Candidate>) { return std::nullopt; };
  EXPECT_THROW((void)get("hf:o/r", options), Error);
}

TEST_F(Pulls, by_catalog_names) {
  hub_.add("M-Q4_K_M.gguf", noise(1000));
  hub_.add("M-Q8_0.gguf", noise(2000));
  PullOptions options;
  options.resolve.catalog = [](std::string_view name) -> std::optional<Source> {
    if (name == "m-1b") return Source{"hf:o/r"};
    return std::nullopt;
  };
  const Manifest manifest = get("m-1b:Q8_0", options).manifest;
  EXPECT_EQ(manifest.requested, "m-1b:Q8_0");
  EXPECT_EQ(manifest.name, "M-Q8_0");
  EXPECT_THROW((void)get("m-2b", options), Error);
}

TEST_F(Pulls, say_what_a_repository_has) {
  hub_.add("M-Q4_K_M.gguf", noise(10));
  EXPECT_TRUE(contains(failure("hf:o/r:Q5_K_M").hint(), "Q4_K_M"));
  hub_.add("other/M-Q4_K_M.gguf", noise(11));
  EXPECT_TRUE(contains(failure("hf:o/r:Q4_K_M").what(), "several"));
  EXPECT_EQ(failure("hf:o/missing").exit_code(), ExitCode::kFailure);
  hub_ = {};
  EXPECT_TRUE(contains(failure("hf:o/r").hint(), "GGUF"));
}

TEST_F(Pulls, all_parts_of_a_split_model) {
  const std::vector<std::string> parts = hearth::testing::split_model(3);
  for (int i = 0; i < 3; ++i)
    hub_.add("Q8_0/S-Q8_0-0000" + std::to_string(i + 1) + "-of-00003.gguf", parts[i]);
  hub_.add("S-Q4_K_M-00001-of-00002.gguf", parts[0]);  // the other part is not there
  const PullResult result = get("hf:o/r:Q8_0");
  EXPECT_EQ(result.manifest.files.size(), 3U);
  EXPECT_EQ(gguf::File::open(result.path).tensors().size(), 3U);
  EXPECT_EQ(store_.list().models.size(), 1U);
  EXPECT_THROW((void)get("hf:o/r:Q4_K_M"), Error);
}

TEST_F(Pulls, nothing_that_is_not_what_was_announced) {
  hub_.add("M-Q4_0.gguf", noise(200'000));
  hub_.announce("M-Q4_0.gguf", std::string(64, 'a'));
  EXPECT_TRUE(contains(failure("hf:o/r").what(), "SHA-256"));
  EXPECT_TRUE(fs::is_empty(store_.folder() / "blobs"));
}

TEST_F(Pulls, from_ollama) {
  const std::string model = noise(150'000), system = "Be brief.", licence = "free";
  const std::string config = R"({"model_format":"gguf","file_type":"Q4_0"})";
  std::map<std::string, std::string> blobs;
  for (const std::string& text : {model, system, licence, config}) blobs[sha256_of(text)] = text;
  const auto layer = [](const std::string& type, const std::string& text) {
    return nlohmann::json{
        {"mediaType", type}, {"digest", "sha256:" + sha256_of(text)}, {"size", text.size()}};
  };
  const std::string prefix = "application/vnd.ollama.image.";
  nlohmann::json manifest{
      {"schemaVersion", 2},
      {"config", layer("application/vnd.docker.container.image.v1+json", config)},
      {"layers",
       {layer(prefix + "model", model), layer(prefix + "system", system),
        layer(prefix + "license", licence)}}};
  answer_ = [&](const SeenRequest& request) {
    Reply reply;
    if (request.path == "/v2/library/tiny/manifests/1b") {
      EXPECT_TRUE(contains(request.header("accept"), "manifest.v2+json"));
      reply.body = manifest.dump();
      return reply;
    }
    const std::string base = "/v2/library/tiny/blobs/sha256:";
    const auto blob =
        request.path.starts_with(base) ? blobs.find(request.path.substr(base.size())) : blobs.end();
    if (blob != blobs.end()) return ranged(request, blob->second);
    reply.status = 404;
    return reply;
  };
  fake_.network().huggingface_token = "hf_secret";
  const PullResult result = get("ollama:tiny:1b");
  EXPECT_EQ(result.manifest.name, "tiny-1b");
  EXPECT_EQ(result.manifest.quant, "Q4_0");
  EXPECT_EQ(result.manifest.texts.at("system"), system);
  EXPECT_EQ(result.manifest.texts.at("license"), licence);
  EXPECT_TRUE(read_file(result.path) == model);
  for (const SeenRequest& seen : server_.seen()) EXPECT_EQ(seen.header("authorization"), "");
  // A layer that is not what its digest says.
  (void)store_.remove("tiny-1b");
  blobs[sha256_of(system)] = "Be evil!!";
  EXPECT_TRUE(contains(failure("ollama:tiny:1b").what(), "system"));
  manifest = {{"layers", 7}};
  (void)failure("ollama:tiny:1b");
  EXPECT_TRUE(contains(failure("ollama:other").what(), "404"));
}

TEST_F(Pulls, from_an_address) {
  const std::string model = tiny_model();
  std::string served = model;
  answer_ = [&](const SeenRequest& request) { return ranged(request, served); };
  const PullResult result = get(server_.url() + "/dir/tiny-F32.gguf?token=secret");
  EXPECT_EQ(result.manifest.name, "tiny-F32");
  EXPECT_EQ(result.manifest.quant, "F32");
  EXPECT_EQ(result.manifest.files[0].sha256, sha256_of(model));
  EXPECT_FALSE(contains(to_text(result.manifest), "secret"));
  // Nobody vouches for these, so they must at least be models.
  served = "<html>not found</html>";
  EXPECT_THROW((void)get(server_.url() + "/page.gguf"), Error);
  served = model.substr(0, model.size() - 100);
  EXPECT_THROW((void)get(server_.url() + "/cut.gguf"), Error);
  EXPECT_EQ(store_.list().models.size(), 1U);
  EXPECT_TRUE(fs::is_empty(store_.downloads()));
  PullOptions options;
  options.sha256 = std::string(64, 'b');
  served = tiny_model(3);
  EXPECT_THROW((void)get(server_.url() + "/hashed.gguf", options), Error);
  options.sha256 = sha256_of(served);
  options.name = "named";
  EXPECT_EQ(get(server_.url() + "/hashed.gguf", options).manifest.name, "named");
}

TEST_F(Pulls, adopt_a_local_file) {
  const fs::path path = folder_ / "here.gguf";
  write_file_atomically(path, tiny_model());
  const PullResult result = get(path.string());
  EXPECT_EQ(result.manifest.files[0].adopted, fs::canonical(path).string());
  EXPECT_TRUE(server_.seen().empty());
  write_file_atomically(folder_ / "bad.gguf", std::string("no model"));
  EXPECT_THROW((void)get((folder_ / "bad.gguf").string()), Error);
  EXPECT_EQ(store_.list().models.size(), 1U);
}

TEST_F(Pulls, adopt_a_local_file_only_with_the_hash_that_was_asked_for) {
  const fs::path path = folder_ / "here.gguf";
  write_file_atomically(path, tiny_model());
  PullOptions options;
  options.sha256 = std::string(64, '0');
  const Error wrong = failure(path.string(), options);
  EXPECT_EQ(wrong.exit_code(), ExitCode::kFailure);
  EXPECT_TRUE(contains(wrong.what(), sha256_of(tiny_model()))) << wrong.what();
  const std::vector<std::string> parts = split_model(2);
  write_file_atomically(folder_ / "s-00001-of-00002.gguf", parts[0]);
  write_file_atomically(folder_ / "s-00002-of-00002.gguf", parts[1]);
  options.sha256 = sha256_of(parts[0]);
  EXPECT_EQ(failure((folder_ / "s-00001-of-00002.gguf").string(), options).exit_code(),
            ExitCode::kUsage);
  options.sha256 = sha256_of(tiny_model());
  EXPECT_EQ(get(path.string(), options).manifest.name, "here");
}

TEST_F(Pulls, do_nothing_when_not_approved_or_badly_named) {
  hub_.add("M-Q4_0.gguf", noise(1000));
  PullOptions options;
  options.approve = [](const RemoteModel& model) { return model.files.size() != 1; };
  EXPECT_EQ(failure("hf:o/r", options).exit_code(), ExitCode::kInterrupted);
  options = {};
  options.name = "../x";
  EXPECT_EQ(failure("hf:o/r", options).exit_code(), ExitCode::kUsage);
  write_file_atomically(store_.models() / "M-Q4_0.gguf", std::string("mine"));
  const std::size_t before = server_.seen().size();
  EXPECT_THROW((void)get("hf:o/r"), Error);
  EXPECT_EQ(server_.seen().size(), before + 1);  // told before anything is fetched
}

TEST_F(Pulls, follow_the_pages_of_long_lists_on_the_same_host_only) {
  hub_.add("M-Q4_0.gguf", noise(1000));
  answer_ = [&](const SeenRequest& request) {
    if (!request.path.starts_with("/api/")) return hub_.answer(request);
    Reply reply = hub_.tree();
    if (contains(request.path, "cursor=2")) {
      reply.headers = {"Link: <http://127.0.0.1:1/steal>; rel=\"next\""};
      return reply;
    }
    reply.body = "[]";
    reply.headers = {"Link: <" + server_.url() +
                     "/api/models/o/r/tree/main?cursor=2>; rel=\"next\""};
    return reply;
  };
  EXPECT_EQ(get("hf:o/r").manifest.name, "M-Q4_0");
}

// kill -9 in the middle.

constexpr std::size_t kKilledSize = std::size_t{3} << 20;

TEST(Child, DISABLED_pulls) {
  FakeNetwork fake;
  const char* endpoint = std::getenv("HEARTH_TEST_ENDPOINT");
  const char* folder = std::getenv("HEARTH_TEST_STORE");
  ASSERT_TRUE(endpoint != nullptr && folder != nullptr);
  fake.network().huggingface = endpoint;
  fake.network().connections = 1;
  (void)pull(Store(folder), fake.network(), "hf:o/r", {});
}

TEST_F(Pulls, resume_after_being_killed) {
  const std::string content = noise(kKilledSize);
  hub_.add("M-Q4_0.gguf", content);
  std::atomic<bool> stall{true};
  std::atomic<int> large{0};
  answer_ = [&](const SeenRequest& request) {
    Reply reply = hub_.answer(request);
    // The second range of 16 chunks stops in its middle: the notes about the first are written.
    if (stall && reply.body.size() > 500'000 && ++large == 2) reply.stall_after = 400'000;
    return reply;
  };
  const int child = hearth::testing::start_self(
      "Child.DISABLED_pulls",
      {{"HEARTH_TEST_ENDPOINT", server_.url()}, {"HEARTH_TEST_STORE", store_.folder().string()}});
  ASSERT_TRUE(server_.wait_for_stall());
  kill(child, SIGKILL);
  EXPECT_EQ(hearth::testing::wait_for(child), 128 + SIGKILL);
  server_.release();
  const Listing listing = store_.list();
  EXPECT_TRUE(listing.models.empty());
  EXPECT_TRUE(listing.warnings.empty());
  ASSERT_EQ(listing.unfinished.size(), 1U);
  EXPECT_EQ(listing.unfinished[0].name, "M-Q4_0");
  EXPECT_GE(listing.unfinished[0].done, std::uint64_t{1} << 20);
  EXPECT_FALSE(listing.unfinished[0].running);
  stall = false;
  const std::size_t before = server_.seen().size();
  EXPECT_TRUE(read_file(get("hf:o/r").path) == content);
  const std::vector<SeenRequest> seen = server_.seen();
  for (std::size_t i = before; i < seen.size(); ++i) {
    if (seen[i].range && seen[i].range->second > 0) {
      EXPECT_GE(seen[i].range->first, std::uint64_t{1} << 20);
    }
  }
  EXPECT_TRUE(store_.list().unfinished.empty());
}

TEST_F(Pulls, by_two_processes_fetch_once) {
  hub_.add("M-Q4_0.gguf", noise(kKilledSize));
  const std::map<std::string, std::string> variables = {
      {"HEARTH_TEST_ENDPOINT", server_.url()}, {"HEARTH_TEST_STORE", store_.folder().string()}};
  std::vector<int> children;
  for (int i = 0; i < 2; ++i)
    children.push_back(hearth::testing::start_self("Child.DISABLED_pulls", variables));
  for (const int child : children) EXPECT_EQ(hearth::testing::wait_for(child), 0);
  std::uint64_t bytes = 0;
  for (const SeenRequest& seen : server_.seen())
    bytes += seen.range ? seen.range->second - seen.range->first + 1 : 0;
  EXPECT_LE(bytes, kKilledSize + 2);
  ASSERT_EQ(store_.list().models.size(), 1U);
  EXPECT_EQ(store_.list().models[0].problem, "");
}

}  // namespace
}  // namespace hearth::hub
