#include "text/jinja/value.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "support/utf8.h"

namespace hearth::text::jinja {
namespace {

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

// Heap
// ---------------------------------------------------------------------------------------------------------------

Heap::Heap(std::size_t limit) : limit_(limit) {}

Heap::~Heap() {
  std::vector<std::shared_ptr<Container>> all;
  for (Container* container = first_; container != nullptr; container = container->next_) {
    if (auto alive = container->weak_from_this().lock()) all.push_back(std::move(alive));
  }
  for (const auto& container : all) container->clear();
}

void Heap::require(std::size_t bytes) const {
  if (bytes > limit_ || live_ > limit_ - bytes)
    throw std::length_error("the template needs too much memory");
}

void Heap::charge(std::size_t bytes) {
  require(bytes);
  live_ += bytes;
}

void Heap::bury(std::shared_ptr<Object>&& object) noexcept {
  graveyard_.push_back(std::move(object));
  if (digging_) return;
  digging_ = true;
  while (!graveyard_.empty()) {
    // Destroying it may bury what it referred to.
    const std::shared_ptr<Object> next = std::move(graveyard_.back());
    graveyard_.pop_back();
  }
  digging_ = false;
}

Object::~Object() {
  if (heap_ != nullptr) heap_->release(size_);
}

void Object::set_size(std::size_t bytes) {
  if (heap_ != nullptr) {
    if (bytes > size_) {
      heap_->charge(bytes - size_);
    } else {
      heap_->release(size_ - bytes);
    }
  }
  size_ = bytes;
}

Container::Container(Heap& heap) : Object(&heap), next_(heap.first_) {
  nests_ = true;
  set_size(128);  // the object itself, its control block and the allocator's share
  if (next_ != nullptr) next_->previous_ = this;
  heap.first_ = this;
}

Container::~Container() {
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else {
    heap()->first_ = next_;
  }
  if (next_ != nullptr) next_->previous_ = previous_;
}

// Strings
// ------------------------------------------------------------------------------------------------------------

String::String(Heap* heap, std::string text, std::vector<Run> text_runs, bool is_markup)
    : Object(heap),
      bytes(std::move(text)),
      runs(std::move(text_runs)),
      markup(is_markup),
      length_(count_code_points(bytes)) {
  set_size(96 + bytes.capacity() + runs.capacity() * sizeof(Run));
}

String::String(Heap* heap, std::string text, Origin origin)
    : Object(heap), bytes(std::move(text)), length_(count_code_points(bytes)) {
  if (!bytes.empty()) runs.push_back({bytes.size(), origin});
  set_size(96 + bytes.capacity() + runs.capacity() * sizeof(Run));
}

std::size_t String::offset_of(std::size_t index) const noexcept {
  if (ascii()) return std::min(index, bytes.size());
  std::size_t offset = 0;
  for (; offset < bytes.size(); ++offset) {
    if ((static_cast<unsigned char>(bytes[offset]) & 0xC0) == 0x80) continue;
    if (index == 0) return offset;
    --index;
  }
  return offset;
}

std::size_t String::index_of(std::size_t offset) const noexcept {
  return ascii() ? offset : count_code_points(std::string_view(bytes).substr(0, offset));
}

Origin String::origin_at(std::size_t offset) const noexcept {
  const auto run = std::upper_bound(runs.begin(), runs.end(), offset,
                                    [](std::size_t at, const Run& r) { return at < r.end; });
  if (run != runs.end()) return run->origin;
  return runs.empty() ? Origin::kTemplate : runs.back().origin;
}

void StringBuilder::reserve(std::size_t more) {
  if (more > limit_ || bytes_.size() > limit_ - more)
    throw std::length_error("the template makes too long a text");
  heap_.require(bytes_.size() + more);
}

void StringBuilder::append(std::string_view text, Origin origin) {
  if (text.empty()) return;
  reserve(text.size());
  bytes_ += text;
  if (!runs_.empty() && runs_.back().origin == origin) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), origin});
  }
}

void StringBuilder::append(const String& text, std::size_t begin, std::size_t end) {
  auto run = std::upper_bound(text.runs.begin(), text.runs.end(), begin,
                              [](std::size_t at, const String::Run& r) { return at < r.end; });
  while (begin < end) {
    const std::size_t stop = std::min(end, run->end);
    append(std::string_view(text.bytes).substr(begin, stop - begin), run->origin);
    begin = stop;
    ++run;
  }
}

void StringBuilder::append_repeated(const String& text, std::size_t times) {
  if (text.bytes.empty()) return;
  if (times > limit_ / text.bytes.size())
    throw std::length_error("the template makes too long a text");
  reserve(times * text.bytes.size());
  if (text.runs.size() > 1) heap_.require(times * text.runs.size() * sizeof(String::Run));
  for (std::size_t i = 0; i < times; ++i) append(text);
}

StringPtr StringBuilder::finish(bool markup) {
  // Runs grow by doubling; give back what is not used, as values live long.
  if (bytes_.capacity() > 2 * bytes_.size()) bytes_.shrink_to_fit();
  auto result = std::make_shared<String>(&heap_, std::move(bytes_), std::move(runs_), markup);
  bytes_.clear();
  runs_.clear();
  return result;
}

// Scalars
// ------------------------------------------------------------------------------------------------------------

Value Value::boolean(bool value, Origin origin) {
  Value result(Kind::kBool, origin);
  result.integer_ = value ? 1 : 0;
  return result;
}

Value Value::integer(std::int64_t value, Origin origin) {
  Value result(Kind::kInt, origin);
  result.integer_ = value;
  return result;
}

Value Value::real(double value, Origin origin) {
  Value result(Kind::kFloat, origin);
  result.real_ = value;
  return result;
}

Range::Range(Heap* heap, std::int64_t first, std::int64_t last, std::int64_t stride)
    : Object(heap), start(first), stop(last), step(stride), length(0) {
  // The distance between any two 64-bit integers fits 64 unsigned bits.
  const bool up = stride > 0;
  if (up ? first >= last : first <= last) return;
  const std::uint64_t low = static_cast<std::uint64_t>(up ? first : last);
  const std::uint64_t high = static_cast<std::uint64_t>(up ? last : first);
  const std::uint64_t size =
      up ? static_cast<std::uint64_t>(stride) : 0 - static_cast<std::uint64_t>(stride);
  const std::uint64_t count = (high - low - 1) / size + 1;
  length = static_cast<std::int64_t>(
      std::min<std::uint64_t>(count, std::numeric_limits<std::int64_t>::max()));
}

// Lists and dicts
// ----------------------------------------------------------------------------------------------------

void List::clear() noexcept { items.clear(); }

void List::push(Value value) {
  if (items.size() == items.capacity()) {
    const std::size_t capacity = std::max<std::size_t>(4, items.capacity() * 2);
    set_size(capacity * sizeof(Value));
    items.reserve(capacity);
  }
  items.push_back(std::move(value));
}

namespace {

std::string dict_key(const Value& key, int depth) {
  switch (key.kind()) {
    case Kind::kString:
      return "s" + key.str().bytes;
    case Kind::kBool:
    case Kind::kInt:
      return "n" + std::to_string(key.as_int());
    case Kind::kBigInt:
      return "n" + key.as<BigIntObject>().value.to_string();
    case Kind::kFloat: {
      const double value = key.as_float();
      if (std::isfinite(value) && value == std::trunc(value))
        return "n" + BigInt::from_double(value).to_string();
      return "f" + std::to_string(std::bit_cast<std::uint64_t>(value));
    }
    case Kind::kNone:
      return "N";
    case Kind::kUndefined:
      return "U";
    case Kind::kBytes:
      return "b" + key.as<Bytes>().bytes;
    case Kind::kTuple: {
      std::string text = "t";
      for (const Value& item : key.as<List>().items) {
        if (depth > 50) throw std::length_error("the key is nested too deeply");
        const std::string part = dict_key(item, depth + 1);
        if (text.size() + part.size() > (1U << 20))
          throw std::length_error("the template makes too long a key");
        text += std::to_string(part.size()) + ":" + part;
      }
      return text;
    }
    case Kind::kList:
    case Kind::kDict:
      throw std::invalid_argument("unhashable type: '" + std::string(type_name(key)) + "'");
    default:
      return "p" + std::to_string(reinterpret_cast<std::uintptr_t>(key.identity()));
  }
}

}  // namespace

std::string dict_key(const Value& key) { return dict_key(key, 0); }

void Dict::clear() noexcept {
  entries_.clear();
  index_.clear();
}

void Dict::reindex() {
  index_.clear();
  if (entries_.size() < kIndexFrom) return;
  for (std::size_t i = 0; i < entries_.size(); ++i) index_.emplace(dict_key(entries_[i].key), i);
}

std::size_t Dict::position(const Value& key) const {
  if (key.is_string() && index_.empty()) {
    std::size_t i = 0;
    while (i < entries_.size() &&
           !(entries_[i].key.is_string() && entries_[i].key.str().bytes == key.str().bytes)) {
      ++i;
    }
    return i;
  }
  const std::string text = dict_key(key);
  if (!index_.empty()) {
    const auto found = index_.find(text);
    return found == index_.end() ? entries_.size() : found->second;
  }
  std::size_t i = 0;
  while (i < entries_.size() && dict_key(entries_[i].key) != text) ++i;
  return i;
}

const Value* Dict::find(std::string_view key) const {
  if (index_.empty()) {
    for (const Entry& entry : entries_) {
      if (entry.key.is_string() && entry.key.str().bytes == key) return &entry.value;
    }
    return nullptr;
  }
  const auto found = index_.find("s" + std::string(key));
  return found == index_.end() ? nullptr : &entries_[found->second].value;
}

const Value* Dict::find(const Value& key) const {
  if (key.is_string()) return find(key.str().bytes);
  const std::size_t at = position(key);
  return at == entries_.size() ? nullptr : &entries_[at].value;
}

void Dict::set(const Value& key, Value value) {
  const std::size_t at = position(key);
  if (at < entries_.size()) {
    entries_[at].value = std::move(value);
    return;
  }
  key_bytes_ += key.is_string() ? key.str().bytes.size() : 16;
  // An entry, its index node with a copy of the key, and its bucket.
  set_size(128 + (entries_.size() + 1) * (2 * sizeof(Entry) + 64) + key_bytes_);
  entries_.push_back({key, std::move(value)});
  if (!index_.empty()) {
    index_.emplace(dict_key(key), at);
  } else if (entries_.size() >= kIndexFrom) {
    reindex();
  }
}

bool Dict::erase(const Value& key) {
  const std::size_t at = position(key);
  if (at == entries_.size()) return false;
  const Entry old = std::move(entries_[at]);
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(at));
  reindex();
  return true;
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.str().markup ? "Markup" : "str";
    case Kind::kBytes:
      return "bytes";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kView: {
      const View::What what = value.as<View>().what;
      return what == View::What::kKeys     ? "dict_keys"
             : what == View::What::kValues ? "dict_values"
                                           : "dict_items";
    }
    case Kind::kRange:
      return "range";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kGenerator:
      return "generator";
    case Kind::kFunction:
      return "builtin_function_or_method";
    case Kind::kMacro:
      return "Macro";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kCycler:
      return "Cycler";
  }
  return "object";
}

}  // namespace hearth::text::jinja
