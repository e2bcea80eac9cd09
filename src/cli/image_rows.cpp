#include "cli/image_rows.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/error.h"
#include "support/file.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void throw_bad_positions(const std::string& problem) {
  throw Error("the positions file " + problem,
              "give a list with [t, h, w] for every row, or {\"positions\": that list, \"image\": "
              "[begin, end]}");
}

std::int32_t position_of(const Json& value) {
  if (!value.is_number_integer()) throw_bad_positions("holds something that is not an integer");
  const auto number = value.get<std::int64_t>();
  if (number < 0 || number > std::numeric_limits<std::int32_t>::max()) {
    throw_bad_positions(fmt::format("holds the position {}", number));
  }
  return static_cast<std::int32_t>(number);
}

/// [[t, h, w], ..] or [[t, ..], [h, ..], [w, ..]] of `rows` rows.
std::vector<std::array<std::int32_t, 3>> read_axes(const Json& list, std::size_t rows) {
  if (!list.is_array() || list.empty()) throw_bad_positions("has no list of positions");
  std::vector<std::array<std::int32_t, 3>> axes(rows);
  const bool by_axis = (list.size() == 3 || list.size() == 4) && list[0].is_array() &&
                       list[0].size() == rows && rows != 3 && rows != 4;
  if (!by_axis && list.size() != rows) {
    throw_bad_positions(fmt::format("has {} rows where {} are needed", list.size(), rows));
  }
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const Json& row = by_axis ? list[axis] : list[i];
      const std::size_t column = by_axis ? i : axis;
      if (!row.is_array() || row.size() <= column || (!by_axis && row.size() > 4)) {
        throw_bad_positions("has a row that is not [t, h, w]");
      }
      axes[i][axis] = position_of(row[column]);
    }
  }
  return axes;
}

/// The block of rows that the file names; -1 when it names none.
std::int64_t named_block(const Json& json, std::int64_t count) {
  const Json* holder = &json;
  if (json.is_object() && json.contains("layout")) holder = &json["layout"];
  if (!holder->is_object() || !holder->contains("image")) return -1;
  const Json& image = (*holder)["image"];
  const bool pair = image.is_array() && image.size() == 2 && image[0].is_number_integer() &&
                    image[1].is_number_integer();
  if (!pair || image[1].get<std::int64_t>() - image[0].get<std::int64_t>() != count) {
    throw_bad_positions(fmt::format("must name a block of {} image rows", count));
  }
  return image[0].get<std::int64_t>();
}

/// Text rows have rising t, those of an image all the same.
std::int64_t block_of_equal_t(const std::vector<std::array<std::int32_t, 3>>& axes,
                              std::int64_t count) {
  for (std::size_t begin = 0; begin + static_cast<std::size_t>(count) <= axes.size(); ++begin) {
    bool equal = count > 1;
    for (std::int64_t i = 1; i < count && equal; ++i) {
      equal = axes[begin + static_cast<std::size_t>(i)][0] == axes[begin][0];
    }
    if (equal) return static_cast<std::int64_t>(begin);
  }
  return -1;
}

}  // namespace

ImageRows read_image_rows(const std::string& embeddings_file, const std::string& positions_file,
                          std::int64_t at, std::int64_t width, std::int64_t text_tokens) {
  const std::string bytes = read_file(embeddings_file);
  const auto row_bytes = static_cast<std::size_t>(width) * sizeof(float);
  if (bytes.empty() || bytes.size() % row_bytes != 0) {
    throw Error(fmt::format("'{}' has {} bytes, which is not a number of rows of {} floats",
                            printable(embeddings_file, 300), bytes.size(), width),
                "give the embeddings that the model's vision projector makes");
  }
  ImageRows image;
  image.width = width;
  image.count = static_cast<std::int64_t>(bytes.size() / row_bytes);
  image.embeddings.resize(bytes.size() / sizeof(float));
  std::memcpy(image.embeddings.data(), bytes.data(), bytes.size());
  image.at = at;
  if (!positions_file.empty()) {
    Json json;
    try {
      json = Json::parse(read_file(positions_file));
    } catch (const Json::exception&) {
      throw_bad_positions("is not JSON");
    }
    const Json& list = json.is_object() && json.contains("positions") ? json["positions"] : json;
    image.axes = read_axes(list, static_cast<std::size_t>(image.count + text_tokens));
    if (image.at < 0) image.at = named_block(json, image.count);
    if (image.at < 0) image.at = block_of_equal_t(image.axes, image.count);
  }
  if (image.at < 0 || image.at > text_tokens) {
    throw Error("it is not known where the image rows belong",
                "say it with --image-at N: the row of the first one");
  }
  return image;
}

}  // namespace hearth::cli
