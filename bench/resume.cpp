// A long conversation that goes on after a restart: how long its memory takes to come back from
// disk, against evaluating the text again (issue 6, acceptance 6: at most 5 %), and how long
// writing it took.
//
//   build/bench/resume SHAPE FOLDER [TOKENS] [KV] [KEYFILE]     default: 32768 tokens, f16, plain
//
// SHAPE as for `hearth bench` (qwen3-0.6b, llama3.2-1b …). FOLDER must be new or empty, on the disk
// in question, with room for the keys and values. Before reading, the file's pages are dropped from
// the page cache, as they are after a restart of the machine.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "generate/evaluator.h"
#include "machine/cpu.h"
#include "measure/shape_image.h"
#include "measure/shapes.h"
#include "model/loaded_model.h"
#include "spec/kv_format.h"
#include "state/disk_store.h"
#include "state/prefix_cache.h"
#include "support/error.h"

namespace hearth::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void drop_from_page_cache(const std::filesystem::path& folder) {
  for (const auto& each : std::filesystem::directory_iterator(folder)) {
    const int file = ::open(each.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    (void)::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
}

std::uintmax_t stored_bytes(const std::filesystem::path& folder) {
  std::uintmax_t sum = 0;
  for (const auto& each : std::filesystem::directory_iterator(folder))
    sum += each.is_regular_file() ? each.file_size() : 0;
  return sum;
}

/// Everything of one program from its start to its end.
struct Program {
  Program(model::LoadedModel& loaded, const std::filesystem::path& folder,
          std::shared_ptr<const state::StoreKey> key)
      : model(loaded),
        disk(options(folder, std::move(key)), {"resume", {1, 2}}),
        cache(loaded.pool(), state::PrefixCache::limits_of(loaded.pool()), &disk) {}

  static state::DiskStoreOptions options(const std::filesystem::path& folder,
                                         std::shared_ptr<const state::StoreKey> key) {
    state::DiskStoreOptions result;
    result.key = std::move(key);
    result.folder = folder;
    result.most_bytes = std::uint64_t{1} << 40;
    result.warn = [](const std::string& warning) { std::fprintf(stderr, "%s\n", warning.c_str()); };
    return result;
  }

  model::LoadedModel& model;
  state::DiskStore disk;
  state::PrefixCache cache;
};

/// Evaluates all of `tokens`; seconds until the logits after the last one.
double prefill(generate::ModelEvaluator& evaluator, std::vector<std::int32_t>& held,
               const std::vector<std::int32_t>& tokens) {
  const Clock::time_point start = Clock::now();
  const auto total = static_cast<std::int64_t>(tokens.size());
  std::int64_t at = evaluator.resume(held, tokens).length;
  while (at < total) {
    const std::int64_t stop = evaluator.next_stop(at, total, {});
    const std::int64_t rows = std::min(evaluator.batch_rows(), stop - at);
    const std::span<const float> logits = evaluator.evaluate(
        std::span(tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(rows)),
        at + rows == total);
    at += rows;
    if (at == stop)
      evaluator.snapshot(std::span(tokens).first(static_cast<std::size_t>(at)), logits, false);
  }
  held = tokens;
  return seconds_since(start);
}

int run(const std::string& shape_name, const std::filesystem::path& folder, std::int64_t tokens,
        const std::string& kv, const std::string& key_file) {
  if (std::filesystem::exists(folder) && !std::filesystem::is_empty(folder))
    throw Error("the folder is not empty", "name a new one");
  const auto key = key_file.empty() ? nullptr : state::StoreKey::read(key_file);
  ThreadTeam team(machine::usable_cores());
  const measure::ShapeImage image(measure::known_shape(shape_name, std::nullopt), team);
  spec::Setup setup;
  setup.context = tokens + 64;
  setup.kv_type = spec::parse_kv_format(kv);
  setup.snapshots = -1;
  const auto model = model::LoadedModel::load(
      std::make_shared<gguf::File>(image.file()),
      compute::make_cpu_backend({.threads = 0, .exact = false, .instruction_set = {}}), setup, {});
  image.forget_pages();
  std::mt19937 random(1);
  std::vector<std::int32_t> text(static_cast<std::size_t>(tokens));
  for (std::int32_t& token : text)
    token =
        static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(model->spec().vocabulary));

  double evaluated = 0, written = 0;
  {
    Program program(*model, folder, key);
    generate::ModelEvaluator evaluator(*model);
    evaluator.use_cache(program.cache);
    std::vector<std::int32_t> held;
    evaluated = prefill(evaluator, held, text);
    const Clock::time_point start = Clock::now();
    evaluator.remember(held);
    program.cache.save_all();
    written = seconds_since(start);
  }
  const std::uintmax_t bytes = stored_bytes(folder);
  drop_from_page_cache(folder);
  double resumed = 0;
  std::int64_t from_disk = 0;
  {
    Program program(*model, folder, key);
    generate::ModelEvaluator evaluator(*model);
    evaluator.use_cache(program.cache);
    std::vector<std::int32_t> held;
    text.push_back(1);  // what the user says next
    resumed = prefill(evaluator, held, text);
    from_disk = program.cache.statistics().from_disk;
  }
  if (from_disk == 0) throw Error("nothing was found on disk");
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  std::printf("%s, %lld tokens, %s%s: %.2f GB\n", shape_name.c_str(),
              static_cast<long long>(tokens), kv.c_str(), key ? ", encrypted" : "", gigabytes);
  std::printf("evaluated in    %8.2f s  (%.0f tokens/s)\n", evaluated,
              static_cast<double>(tokens) / evaluated);
  std::printf("written in      %8.2f s  (%.2f GB/s)\n", written, gigabytes / written);
  std::printf("next token in   %8.2f s  (%.2f GB/s, one token evaluated)\n", resumed,
              gigabytes / resumed);
  std::printf("resumed/evaluated %6.2f %%  (at most 5)\n", 100 * resumed / evaluated);
  return resumed <= 0.05 * evaluated ? 0 : 1;
}

}  // namespace
}  // namespace hearth::bench

int main(int count, char** arguments) {
  if (count < 3 || count > 6) {
    std::fprintf(stderr, "usage: resume SHAPE FOLDER [TOKENS] [KV] [KEYFILE]\n");
    return 2;
  }
  try {
    const std::int64_t tokens = count > 3 ? std::strtoll(arguments[3], nullptr, 10) : 32768;
    return hearth::bench::run(arguments[1], arguments[2], tokens, count > 4 ? arguments[4] : "f16",
                              count > 5 ? arguments[5] : "");
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "resume: %s; %s\n", error.what(), error.hint().c_str());
    return 1;
  }
}
