// Coded pages of keys and values in the CPU backend: their coders, and encoding raw pages.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/kernels.h"
#include "quant/kv_coder.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

/// A coder as kernels take it.
class PageCoder {
 public:
  PageCoder(const KvCode& code, std::int64_t size);
  [[nodiscard]] const quant::KvCoder& coder() const noexcept { return coder_; }
  [[nodiscard]] const quant::CodedPageLayout& layout() const noexcept { return coder_.layout(); }
  [[nodiscard]] RotationStages rotation() const noexcept {
    return {stages_.data(), static_cast<std::int64_t>(stages_.size())};
  }
  /// The stages of the first part only: what turns the values of latent keys.
  [[nodiscard]] RotationStages first_rotation() const noexcept {
    return {stages_.data(), first_stages_};
  }
  /// The numbers of a run's codes; null for bytes.
  [[nodiscard]] const std::int8_t* numbers(const quant::CodeRun& run) const noexcept;
  /// Whether pages are attended to without decoding them: not those of kResidual.
  [[nodiscard]] bool direct() const noexcept {
    return coder_.code().kind != KvCode::Kind::kResidual;
  }
  /// The factors [64] of a row of a page.
  void factors(const CodedKernels& kernels, const std::byte* page, int row,
               float* to) const noexcept;
  /// The unit of a part's mean.
  [[nodiscard]] float mean_unit(const std::byte* page, int part) const noexcept;

 private:
  quant::KvCoder coder_;
  std::vector<RotationStage> stages_;
  std::int64_t first_stages_ = 0;
};

/// The coders that were ever asked for: a handful. Not for several threads at once.
class CoderCache {
 public:
  /// Made at the first time, which allocates; it stays where it is.
  [[nodiscard]] const PageCoder& of(const KvCode& code, std::int64_t size);

 private:
  std::vector<std::unique_ptr<PageCoder>> coders_;
};

class AttentionEngine;

class PageEncoder {
 public:
  /// Uses the attention's work memory.
  PageEncoder(ThreadTeam& team, const KernelTable& kernels, const AttentionEngine& memory,
              CoderCache& coders) noexcept
      : team_(team),
        kernels_(kernels),
        coded_(coded_kernels_of(kernels)),
        memory_(memory),
        coders_(coders) {}
  void run(const EncodePagesArguments& a) noexcept;

 private:
  struct Job;
  void encode(const Job& job, const std::byte* raw, std::byte* coded, int thread) noexcept;
  void encode_plainly(const Job& job, const std::byte* raw, std::byte* coded) noexcept;
  void load(const Job& job, const std::byte* raw, float* cells) const noexcept;
  void take_mean(const Job& job, float* cells, std::byte* coded) const noexcept;
  void code_levels(const Job& job, const float* cells, std::byte* bytes,
                   std::byte* coded) const noexcept;
  void code_integers(const Job& job, const float* cells, std::byte* bytes,
                     std::byte* coded) const noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  const CodedKernels& coded_;
  const AttentionEngine& memory_;
  CoderCache& coders_;
};

}  // namespace hearth::compute::cpu
