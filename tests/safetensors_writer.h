// Writes safetensors files, right or wrong, for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace hearth::testing {

class SafetensorsWriter {
 public:
  /// `shape` in PyTorch's order.
  SafetensorsWriter& add(const std::string& name, const std::string& type,
                         const std::vector<std::int64_t>& shape, const std::string& data) {
    std::string sizes;
    for (const std::int64_t size : shape)
      sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
    header_ += (header_.empty() ? "" : ",") +
               ("\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":[" + sizes +
                "],\"data_offsets\":[" + std::to_string(data_.size()) + "," +
                std::to_string(data_.size() + data.size()) + "]}");
    data_ += data;
    return *this;
  }
  SafetensorsWriter& floats(const std::string& name, const std::vector<std::int64_t>& shape,
                            std::span<const float> values) {
    return add(name, "F32", shape,
               {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }

  [[nodiscard]] std::string bytes() const { return assemble("{" + header_ + "}", data_); }
  void write(const std::filesystem::path& path) const {
    const std::string all = bytes();
    std::ofstream(path, std::ios::binary)
        .write(all.data(), static_cast<std::streamsize>(all.size()));
  }

  /// A file with any header.
  [[nodiscard]] static std::string assemble(const std::string& header, const std::string& data) {
    const std::uint64_t size = header.size();
    std::string all(sizeof(size), '\0');
    std::memcpy(all.data(), &size, sizeof(size));
    return all + header + data;
  }

 private:
  std::string header_, data_;
};

}  // namespace hearth::testing
