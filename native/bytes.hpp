// Reading words out of bytes, and the growing buffers that columns are written into.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#if !defined(__SIZEOF_INT128__) || !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error \
    "the native decoder needs GCC or Clang on a little-endian 64-bit machine; without it, the Python way is used"
#endif

namespace gaelp {

__extension__ typedef __int128 int128;

inline uint64_t load64(const char* p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}

inline uint32_t load32(const char* p) {
    uint32_t word;
    std::memcpy(&word, p, 4);
    return word;
}

// Whether two texts of some bytes are the same, without a call: most names of fields are short.
inline bool same_bytes(const char* a, const char* b, size_t size) {
    if (size < 8) {
        for (size_t i = 0; i < size; ++i) {
            if (a[i] != b[i]) return false;
        }
        return true;
    }
    for (size_t i = 0; i + 8 < size; i += 8) {
        if (load64(a + i) != load64(b + i)) return false;
    }
    return load64(a + size - 8) == load64(b + size - 8);
}

// Bytes that grow; a failed allocation throws std::bad_alloc.
class Buffer {
  public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)) {}
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer() { std::free(data_); }

    char* data() const { return data_; }
    size_t size() const { return size_; }
    void truncate(size_t size) { size_ = size; }

    // Room for so many more bytes, counted as written already.
    char* extend(size_t count) {
        if (capacity_ - size_ < count) grow(count);
        char* const place = data_ + size_;
        size_ += count;
        return place;
    }

    template <typename T>
    void push(T value) {
        std::memcpy(extend(sizeof value), &value, sizeof value);
    }

    template <typename T>
    T at(size_t i) const {
        T value;
        std::memcpy(&value, data_ + i * sizeof value, sizeof value);
        return value;
    }

    // Bytes of 0 and 1 become bits, the lowest first, as Arrow has them; the number of zeros.
    size_t pack_bits() {
        const size_t count = size_;
        size_t zeros = 0;
        for (size_t i = 0; i < count; i += 8) {
            unsigned bits = 0;
            for (size_t j = i; j < count && j < i + 8; ++j) {
                const bool one = data_[j] != 0;
                bits |= unsigned{one} << (j - i);
                zeros += !one;
            }
            data_[i / 8] = static_cast<char>(bits);
        }
        size_ = (count + 7) / 8;
        return zeros;
    }

  private:
    void grow(size_t count) {
        const size_t wanted = size_ + count;
        size_t capacity = capacity_ < 1024 ? 1024 : capacity_ * 2;
        if (capacity < wanted) capacity = wanted;
        void* const data = std::realloc(data_, capacity);
        if (data == nullptr) throw std::bad_alloc();
        data_ = static_cast<char*>(data);
        capacity_ = capacity;
    }

    char* data_ = nullptr;
    size_t size_ = 0, capacity_ = 0;
};

}  // namespace gaelp
