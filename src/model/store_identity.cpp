#include "model/store_identity.h"

#include <algorithm>
#include <variant>
#include <vector>

#include "spec/visit.h"
#include "support/hash64.h"
#include "support/private_file.h"

namespace hearth::model {
namespace {

constexpr std::size_t kSample = 4096;

/// Hashes of everything that was added, in order.
class Digest {
 public:
  void bytes(std::span<const std::byte> bytes) {
    high_ = hash64(bytes, mix64(high_));
    low_ = hash64(bytes, ~mix64(low_));
  }
  void text(std::string_view text) { bytes(std::as_bytes(std::span(text))); }
  template <class Number>
  void number(Number value) {
    bytes(std::as_bytes(std::span(&value, 1)));
  }
  [[nodiscard]] state::Hash128 result() const { return {high_, low_}; }

 private:
  std::uint64_t high_ = 1, low_ = 2;
};

void add_file(Digest& digest, const gguf::File& file) {
  const FileStamp stamp = file_stamp(file.path());
  digest.number(stamp.modified);
  digest.number(file.file_bytes());
  std::uint64_t data = stamp.size;  // where the first part's tensors begin
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    if (tensor.part == 0) data = std::min(data, tensor.offset);
  }
  std::vector<std::byte> header(static_cast<std::size_t>(data));
  ReadFile(file.path()).read(0, header);
  digest.bytes(header);
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    digest.text(tensor.name);
    const std::span<const std::byte> bytes = file.data(tensor);
    const std::size_t size = std::min(kSample, bytes.size());
    for (const std::size_t at : {std::size_t{0}, (bytes.size() - size) / 2, bytes.size() - size})
      digest.bytes(bytes.subspan(at, size));
  }
}

void add_rope(Digest& digest, const std::optional<spec::Rope>& rope) {
  digest.number(rope.has_value());
  if (!rope) return;
  const spec::RopeAngles& angles = rope->angles;
  digest.number(rope->pairing);
  digest.text(rope->factors);
  digest.number(angles.rotated);
  digest.number(angles.base);
  for (const float value :
       {angles.frequency_scale, angles.magnitude, angles.yarn_low, angles.yarn_high})
    digest.number(value);
  digest.number(angles.yarn);
  for (const std::int32_t section : angles.sections) digest.number(section);
  digest.number(angles.interleaved_sections);
}

void add_ropes(Digest& digest, const spec::ModelSpec& spec) {
  spec::for_each_body(spec, [&](const spec::Stack&, std::size_t, const spec::Body& body) {
    std::visit(
        [&](const auto& mixer) {
          if constexpr (requires { mixer.rope; }) add_rope(digest, mixer.rope);
          if constexpr (requires { mixer.indexer->rope; }) {
            if (mixer.indexer) add_rope(digest, mixer.indexer->rope);
          }
        },
        body);
  });
}

}  // namespace

state::StoreIdentity store_identity(const LoadedModel& model) {
  Digest digest;
  add_file(digest, model.file());
  add_ropes(digest, model.spec());
  digest.number(model.setup().exact);
  const std::string& name = model.spec().name;
  return {name.empty() ? model.file().path().stem().string() : name, digest.result()};
}

}  // namespace hearth::model
