#include "gguf/file.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <utility>

#include "gguf/byte_order.h"
#include "gguf/header.h"
#include "gguf/split.h"
#include "support/error.h"
#include "support/file.h"

namespace hearth::gguf {
namespace {

/// One file of the model: where its bytes are, and a copy of them in this machine's byte order
/// where that was needed.
struct Part {
  Mapping mapping;
  std::string name;
  std::span<const std::byte> bytes;
  std::unique_ptr<std::byte[]> swapped_copy;
  Header header;
};

void swap_data(Part& part) {
  if (part.header.tensors.empty()) return;
  try {
    part.swapped_copy = std::make_unique_for_overwrite<std::byte[]>(part.bytes.size());
  } catch (const std::bad_alloc&) {
    throw Error("not enough memory to convert " + in_quotes(part.name, kPathLimit) +
                    " from the other byte order",
                "use a little-endian copy of the model");
  }
  for (const TensorInfo& tensor : part.header.tensors) {
    std::byte* copy = part.swapped_copy.get() + tensor.offset;
    std::memcpy(copy, part.bytes.data() + tensor.offset, tensor.bytes);
    swap_block_fields(tensor.dtype, {copy, static_cast<std::size_t>(tensor.bytes)});
  }
  part.bytes = {part.swapped_copy.get(), part.bytes.size()};
}

Part parse_part(Mapping mapping, std::span<const std::byte> bytes, std::string name,
                bool with_data = true) {
  Part part;
  part.mapping = std::move(mapping);
  part.name = std::move(name);
  part.bytes = bytes;
  part.header = HeaderReader(part.bytes, part.name, with_data).read();
  if (part.header.swapped && with_data) swap_data(part);
  part.mapping.check();
  return part;
}

Part open_part(const std::filesystem::path& path) {
  Mapping mapping(path);
  const auto bytes = mapping.bytes();
  return parse_part(std::move(mapping), bytes, path.string());
}

}  // namespace

struct File::Impl {
  std::filesystem::path path;
  std::vector<Part> parts;
  std::vector<TensorInfo> tensors;
  std::vector<std::uint32_t> sorted;  // indices of tensors by name

  void add_part(Part part);
  void index_tensors();
  void check_tensor_count(const SplitKeys& split) const;
};

void File::Impl::add_part(Part part) {
  const auto number = static_cast<std::uint32_t>(parts.size());
  tensors.reserve(tensors.size() + part.header.tensors.size());
  for (TensorInfo& tensor : part.header.tensors) {
    tensor.part = number;
    tensors.push_back(std::move(tensor));
  }
  part.header.tensors = {};
  parts.push_back(std::move(part));
}

void File::Impl::index_tensors() {
  sorted.resize(tensors.size());
  std::iota(sorted.begin(), sorted.end(), 0U);
  std::sort(sorted.begin(), sorted.end(), [&](std::uint32_t a, std::uint32_t b) {
    const int order = tensors[a].name.compare(tensors[b].name);
    return order != 0 ? order < 0 : a < b;
  });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    const TensorInfo& tensor = tensors[sorted[i]];
    if (tensor.name != tensors[sorted[i - 1]].name) continue;
    throw_bad_file(parts[tensor.part].name, tensor.offset,
                   "the data belongs to a second tensor called " + in_quotes(tensor.name));
  }
}

void File::Impl::check_tensor_count(const SplitKeys& split) const {
  if (!split.tensors || *split.tensors == tensors.size()) return;
  throw_bad_file(parts[0].name, 0,
                 "the key 'split.tensors.count' promises " + std::to_string(*split.tensors) +
                     " tensors but " + std::to_string(tensors.size()) + " are there",
                 "fetch all parts of the model again");
}

File File::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  Part opened = open_part(path);
  const SplitKeys split = read_split_keys(opened.header.metadata, opened.name);
  if (split.count > 1) {
    // The loop visits each number once and checks it, so parts can neither repeat nor form a cycle.
    const SplitName name = parse_split_name(path, split);
    for (std::uint32_t number = 0; number < split.count; ++number) {
      Part part;
      if (number == split.number) {
        part = std::move(opened);
      } else {
        part = open_part(existing_split_part(name, number, split.count));
        check_split_part(read_split_keys(part.header.metadata, part.name), number, split,
                         part.name);
      }
      impl->add_part(std::move(part));
    }
  } else {
    impl->add_part(std::move(opened));
  }
  impl->index_tensors();
  impl->check_tensor_count(split);
  return File(std::move(impl));
}

File File::from_bytes(std::span<const std::byte> bytes, const std::string& name) {
  auto impl = std::make_unique<Impl>();
  impl->path = name;
  Part part = parse_part(Mapping(), bytes, name);
  const SplitKeys split = read_split_keys(part.header.metadata, part.name);
  if (split.count > 1) {
    throw_bad_file(part.name, 0,
                   "the model is split into " + std::to_string(split.count) +
                       " parts, which cannot be read from memory");
  }
  impl->add_part(std::move(part));
  impl->index_tensors();
  impl->check_tensor_count(split);
  return File(std::move(impl));
}

File File::open_header(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  Mapping mapping(path);
  const auto bytes = mapping.bytes();
  Part part = parse_part(std::move(mapping), bytes, path.string(), /*with_data=*/false);
  if (read_split_keys(part.header.metadata, part.name).count > 1) {
    throw_bad_file(part.name, 0, "the model is split into parts, and this is one of them",
                   "join the parts, or name another file");
  }
  impl->add_part(std::move(part));
  impl->index_tensors();
  return File(std::move(impl));
}

File File::from_headers(std::span<const std::span<const std::byte>> parts,
                        const std::string& name) {
  auto impl = std::make_unique<Impl>();
  impl->path = name;
  SplitKeys whole;
  for (std::uint32_t number = 0; number < parts.size(); ++number) {
    Part part = parse_part(Mapping(), parts[number], name, /*with_data=*/false);
    const SplitKeys split = read_split_keys(part.header.metadata, part.name);
    if (number == 0) whole = split;
    if (number == 0 && split.count != parts.size()) {
      throw_bad_file(name, 0,
                     "the model has " + std::to_string(split.count) + " parts but " +
                         std::to_string(parts.size()) + " were given");
    }
    check_split_part(split, number, whole, part.name);
    impl->add_part(std::move(part));
  }
  if (parts.empty()) throw_bad_file(name, 0, "there is no header");
  impl->index_tensors();
  impl->check_tensor_count(whole);
  return File(std::move(impl));
}

File::File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

const Metadata& File::metadata() const noexcept { return impl_->parts[0].header.metadata; }
std::span<const TensorInfo> File::tensors() const noexcept { return impl_->tensors; }

const TensorInfo* File::find_tensor(std::string_view name) const noexcept {
  const auto found = std::lower_bound(impl_->sorted.begin(), impl_->sorted.end(), name,
                                      [&](std::uint32_t index, std::string_view wanted) {
                                        return impl_->tensors[index].name < wanted;
                                      });
  if (found == impl_->sorted.end() || impl_->tensors[*found].name != name) return nullptr;
  return &impl_->tensors[*found];
}

std::span<const std::byte> File::data(const TensorInfo& tensor) const noexcept {
  return impl_->parts[tensor.part].bytes.subspan(static_cast<std::size_t>(tensor.offset),
                                                 static_cast<std::size_t>(tensor.bytes));
}

void File::release(const TensorInfo& tensor, std::uint64_t offset,
                   std::uint64_t size) const noexcept {
  const Part& part = impl_->parts[tensor.part];
  if (part.swapped_copy) return;  // there is nothing to fetch it from again
  part.mapping.release(static_cast<std::size_t>(tensor.offset + offset),
                       static_cast<std::size_t>(size));
}

std::uint32_t File::version() const noexcept { return impl_->parts[0].header.version; }
std::uint64_t File::alignment() const noexcept { return impl_->parts[0].header.alignment; }

std::uint64_t File::file_bytes() const noexcept {
  std::uint64_t total = 0;
  for (const Part& part : impl_->parts) total += part.bytes.size();
  return total;
}

const std::filesystem::path& File::path() const noexcept { return impl_->path; }
std::size_t File::parts() const noexcept { return impl_->parts.size(); }

void File::forget_pages() const noexcept {
  for (const Part& part : impl_->parts) part.mapping.forget_pages();
}

void File::check() const {
  for (const Part& part : impl_->parts) part.mapping.check();
}

}  // namespace hearth::gguf
