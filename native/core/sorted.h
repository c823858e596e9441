// A small map from numbers to values, in the order of the numbers: this binary carries no containers.
#pragma once

#include <stdlib.h>
#include <string.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ndshm {

template <class Value>
class Sorted {
  static_assert(std::is_trivially_copyable_v<Value>);

 public:
  struct Entry {
    uint64_t key;
    Value value;
  };

  Sorted() noexcept = default;
  Sorted(const Sorted&) = delete;
  Sorted& operator=(const Sorted&) = delete;
  ~Sorted() { free(entries_); }

  size_t size() const noexcept { return count_; }
  Entry& operator[](size_t index) const noexcept { return entries_[index]; }

  // The index of the first entry whose key is not less; size() if there is none.
  size_t firstFrom(uint64_t key) const noexcept {
    size_t low = 0;
    size_t high = count_;
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      if (entries_[middle].key < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  Value* find(uint64_t key) const noexcept {
    const size_t index = firstFrom(key);
    return index < count_ && entries_[index].key == key ? &entries_[index].value : nullptr;
  }

  // False = no memory.
  bool insert(uint64_t key, const Value& value) noexcept {
    if (count_ == room_ && !grow()) return false;
    const size_t index = firstFrom(key);
    memmove(entries_ + index + 1, entries_ + index, (count_ - index) * sizeof(Entry));
    entries_[index] = {key, value};
    count_++;
    return true;
  }

  void remove(uint64_t key) noexcept {
    const size_t index = firstFrom(key);
    if (index == count_ || entries_[index].key != key) return;
    count_--;
    memmove(entries_ + index, entries_ + index + 1, (count_ - index) * sizeof(Entry));
  }

 private:
  bool grow() noexcept {
    const size_t room = room_ > 0 ? room_ * 2 : 16;
    void* entries = realloc(static_cast<void*>(entries_), room * sizeof(Entry));
    if (entries == nullptr) return false;
    entries_ = static_cast<Entry*>(entries);
    room_ = room;
    return true;
  }

  Entry* entries_ = nullptr;
  size_t count_ = 0;
  size_t room_ = 0;
};

}  // namespace ndshm
