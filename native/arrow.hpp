// The Arrow C data interface, in which relations and lines come in and columns go out:
// https://arrow.apache.org/docs/format/CDataInterface.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "bytes.hpp"

// The specification's two structs, member by member.
extern "C" {

struct ArrowSchema {
    const char* format;
    const char* name;
    const char* metadata;
    int64_t flags;
    int64_t n_children;
    ArrowSchema** children;
    ArrowSchema* dictionary;
    void (*release)(ArrowSchema*);
    void* private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void** buffers;
    ArrowArray** children;
    ArrowArray* dictionary;
    void (*release)(ArrowArray*);
    void* private_data;
};
}

namespace gaelp {

constexpr int64_t kArrowFlagNullable = 2;

// The value of a key of a field's metadata: a count of pairs, then size and bytes of each key and each value. Empty if it has none.
inline std::string_view metadata_value(const char* metadata, std::string_view key) {
    if (metadata == nullptr) return {};
    const auto number = [&metadata] {
        const uint32_t value = load32(metadata);
        metadata += sizeof value;
        return value;
    };
    const auto text = [&metadata, &number] {
        const size_t size = number();
        const std::string_view value(metadata, size);
        metadata += size;
        return value;
    };
    for (uint32_t pairs = number(); pairs > 0; --pairs) {
        const std::string_view name = text(), value = text();
        if (name == key) return value;
    }
    return {};
}

// Bytes that came in as an array, which is given back when the last column that points into them has been released.
class Source {
  public:
    // Moves the array: it is released in the caller's place.
    explicit Source(ArrowArray& bytes) : array_(bytes) { bytes.release = nullptr; }
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    ~Source() {
        if (array_.release != nullptr) array_.release(&array_);
    }

    bool is_bytes() const { return array_.n_buffers == 2 && array_.n_children == 0 && array_.length >= 0; }
    const char* data() const { return static_cast<const char*>(array_.buffers[1]) + array_.offset; }
    size_t size() const { return static_cast<size_t>(array_.length); }

  private:
    ArrowArray array_;
};

// An array that goes out: it is put together here, and then belongs to the one that it was handed to, with all that it points to.
class Outgoing {
  public:
    Outgoing() = default;
    Outgoing(const Outgoing&) = delete;
    Outgoing& operator=(const Outgoing&) = delete;
    ~Outgoing() {
        for (ArrowArray& child : children_) {
            if (child.release != nullptr) child.release(&child);
        }
    }

    // Adds one validity buffer, packed to bits; returns how many NULLs there are. Without NULLs, none is needed.
    int64_t add_validity(Buffer validity) {
        const size_t nulls = validity.pack_bits();
        if (nulls == 0) {
            buffers_.push_back(nullptr);
        } else {
            add(std::move(validity));
        }
        return static_cast<int64_t>(nulls);
    }

    void add(Buffer buffer) {
        owned_.push_back(std::move(buffer));
        add_foreign(owned_.back().data());
    }

    void add_source(std::shared_ptr<const Source> source) {
        add_foreign(source->data());
        source_ = std::move(source);
    }

    // Where `count` children are to be handed out to.
    std::vector<ArrowArray>& make_children(size_t count) {
        children_.resize(count);
        for (ArrowArray& child : children_) child_places_.push_back(&child);
        return children_;
    }

    static void hand_out(std::unique_ptr<Outgoing> array, size_t length, int64_t nulls,
                         ArrowArray& out) noexcept {
        out = {};
        out.length = static_cast<int64_t>(length);
        out.null_count = nulls;
        out.n_buffers = static_cast<int64_t>(array->buffers_.size());
        out.buffers = array->buffers_.data();
        out.n_children = static_cast<int64_t>(array->child_places_.size());
        out.children = array->child_places_.data();
        out.release = release;
        out.private_data = array.release();
    }

  private:
    // Buffers must have an address, even those without a byte.
    void add_foreign(const void* data) {
        static constexpr int64_t nothing = 0;
        buffers_.push_back(data == nullptr ? &nothing : data);
    }

    static void release(ArrowArray* array) {
        delete static_cast<Outgoing*>(array->private_data);
        array->release = nullptr;
    }

    std::vector<Buffer> owned_;
    std::vector<const void*> buffers_;
    std::vector<ArrowArray> children_;
    std::vector<ArrowArray*> child_places_;
    std::shared_ptr<const Source> source_;
};

// An array of 64-bit integers, none of them NULL.
inline void hand_out_integers(Buffer integers, ArrowArray& out) {
    auto array = std::make_unique<Outgoing>();
    const size_t length = integers.size() / sizeof(int64_t);
    array->add_validity({});
    array->add(std::move(integers));
    Outgoing::hand_out(std::move(array), length, 0, out);
}

}  // namespace gaelp
