// The other side of the decoder's interface: relations, lines, and a close look at what comes out. For tests and fuzzing.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../decoder.hpp"

namespace gaelp_tests {

// A field of an Arrow schema. The schema of a copy is its own.
struct Type {
    std::string name;
    std::string format;
    bool nullable = true;
    std::vector<Type> children = {};
    std::string metadata = {};

    // Valid as long as the type is neither changed nor copied from.
    const ArrowSchema* schema() {
        pointers_.clear();
        for (Type& child : children) {
            child.schema();
            pointers_.push_back(&child.schema_);
        }
        schema_ = {};
        schema_.format = format.c_str();
        schema_.name = name.c_str();
        schema_.metadata = metadata.empty() ? nullptr : metadata.data();
        schema_.flags = nullable ? 2 : 0;
        schema_.n_children = static_cast<int64_t>(pointers_.size());
        schema_.children = pointers_.data();
        return &schema_;
    }

    ArrowSchema schema_ = {};
    std::vector<ArrowSchema*> pointers_ = {};
};

// Pairs of a key and a value.
inline std::string metadata_of(std::initializer_list<const char*> texts) {
    std::string out;
    const auto add = [&out](std::string_view text) {
        const uint32_t size = static_cast<uint32_t>(text.size());
        out.append(reinterpret_cast<const char*>(&size), sizeof size).append(text);
    };
    const uint32_t pairs = static_cast<uint32_t>(texts.size() / 2);
    out.append(reinterpret_cast<const char*>(&pairs), sizeof pairs);
    for (const char* text : texts) add(text);
    return out;
}

inline Type list_of(std::string name, Type element) {
    element.name = "element";
    element.nullable = false;
    return {std::move(name), "+L", false, {std::move(element)}};
}

// A relation with a field of every kind.
inline Type every_kind() {
    const Type json{"j", "vu", true, {}, metadata_of({"other", "JSON", "gaelp.type", "JSON"})};
    const Type record{"rec", "+s", true, {{"x", "l", false}, {"y", "vu"}, list_of("l", {"", "l"})}};
    return {"",
            "+s",
            false,
            {{"id", "l", false},
             {"a_name_of_some_length", "l"},
             {"f", "g"},
             {"s", "vu"},
             {"b", "b"},
             {"ts", "tsu:UTC"},
             {"d", "tdD"},
             {"dtm", "tsu:"},
             {"t", "ttn"},
             {"n", "d:38,9"},
             {"by", "vz"},
             json,
             list_of("js", json),
             list_of("fs", {"", "g"}),
             record,
             list_of("recs", {"", "+s", false, {{"k", "vu", false}, {"v", "g"}}})}};
}

// The same as lines are explained by it: any line may lack any field, and for the first that is a fault.
inline Type every_kind_explained() {
    Type relation = every_kind();
    relation.children[0].nullable = true;
    relation.children[0].metadata = metadata_of({"gaelp.wanted", "yes"});
    return relation;
}

// Lines at the end of a heap block of exactly their size, so that a read past them is noticed.
struct Lines {
    explicit Lines(std::string_view text) : bytes_(new char[text.size()]) {
        std::memcpy(bytes_.get(), text.data(), text.size());
        array.length = static_cast<int64_t>(text.size());
        array.n_buffers = 2;
        array.buffers = buffers_;
        buffers_[1] = bytes_.get();
        array.private_data = this;
        array.release = [](ArrowArray* released) {
            static_cast<Lines*>(released->private_data)->bytes_.reset();
            released->release = nullptr;
        };
    }
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;

    bool released() const { return bytes_ == nullptr; }

    ArrowArray array = {};

  private:
    std::unique_ptr<char[]> bytes_;
    const void* buffers_[2] = {nullptr, nullptr};
};

inline void release(ArrowArray& array) {
    if (array.release != nullptr) array.release(&array);
}

// Lines, decoded; everything is released in the end.
class Decoded {
  public:
    Decoded(Type& relation, std::string_view text, int64_t longest = 1 << 20) : lines(text) {
        error = gaelp_decode(relation.schema(), &lines.array, longest, &arrays);
    }
    Decoded(const Decoded&) = delete;
    Decoded& operator=(const Decoded&) = delete;
    ~Decoded() {
        release(arrays.rows);
        release(arrays.hashes);
        release(arrays.places);
        release(arrays.refused);
        release(lines.array);
    }

    // Of the rows, or of the refused lines: which lines they are, where they start, where they end.
    static const int64_t* triple(const ArrowArray& places, int64_t i) {
        return static_cast<const int64_t*>(places.children[0]->buffers[1]) + 3 * i;
    }
    uint64_t hash(int64_t i) const { return static_cast<const uint64_t*>(arrays.hashes.buffers[1])[i]; }

    Lines lines;
    GaelpDecoded arrays = {};
    int32_t error;
};

// Lines, explained; everything is released in the end.
class Explained {
  public:
    Explained(Type& relation, std::string_view text, int64_t longest = 1 << 20) : lines(text) {
        error = gaelp_explain(relation.schema(), &lines.array, longest, &arrays);
    }
    Explained(const Explained&) = delete;
    Explained& operator=(const Explained&) = delete;
    ~Explained() {
        for (ArrowArray* array : {&arrays.rows, &arrays.places, &arrays.refused, &arrays.faults, &lines.array})
            release(*array);
    }

    // Row, field, what it is, start and end.
    const int64_t* fault(int64_t i) const {
        return static_cast<const int64_t*>(arrays.faults.children[0]->buffers[1]) + 5 * i;
    }

    Lines lines;
    GaelpExplained arrays = {};
    int32_t error;
};

template <typename T>
T value_at(const ArrowArray& array, int64_t i, size_t buffer = 1) {
    T value;
    std::memcpy(&value,
                static_cast<const char*>(array.buffers[buffer]) + static_cast<size_t>(i) * sizeof value,
                sizeof value);
    return value;
}

inline bool is_null(const ArrowArray& array, int64_t i) {
    const auto* const bits = static_cast<const uint8_t*>(array.buffers[0]);
    return bits != nullptr && (bits[i / 8] >> (i % 8) & 1) == 0;
}

// The text of a view, in the view itself or in one of the buffers that follow.
inline std::string_view text_at(const ArrowArray& array, int64_t i) {
    const char* const view = static_cast<const char*>(array.buffers[1]) + 16 * i;
    uint32_t words[4];
    std::memcpy(words, view, sizeof words);
    if (words[0] <= 12) return {view + 4, words[0]};
    return {static_cast<const char*>(array.buffers[2 + words[2]]) + words[3], words[0]};
}

inline bool is_utf8(std::string_view text) {
    const auto* p = reinterpret_cast<const unsigned char*>(text.data());
    const auto* const end = p + text.size();
    while (p < end) {
        const unsigned first = *p++;
        const int more = first < 0x80   ? 0
                         : first < 0xC2 ? -1
                         : first < 0xE0 ? 1
                         : first < 0xF0 ? 2
                         : first < 0xF5 ? 3
                                        : -1;
        if (more < 0 || end - p < more) return false;
        uint32_t code = more == 0 ? first : first & (0x3FU >> more);
        for (int i = 0; i < more; ++i) {
            if ((*p & 0xC0) != 0x80) return false;
            code = code << 6 | (*p++ & 0x3FU);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000)) return false;
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    }
    return true;
}

// What is wrong with an array of a type, all its bytes looked at; nullptr if nothing is.
inline const char* fault(const ArrowSchema& type, const ArrowArray& array) {
    const std::string_view format = type.format;
    if (array.release == nullptr || array.offset != 0 || array.dictionary != nullptr)
        return "not an array of its own";
    if (array.n_children != type.n_children) return "children";
    int64_t nulls = 0;
    for (int64_t i = 0; i < array.length; ++i) nulls += is_null(array, i);
    if (nulls != array.null_count) return "count of NULLs";
    for (int64_t i = 1; i < array.n_buffers; ++i) {
        if (array.buffers[i] == nullptr) return "a buffer without an address";
    }
    if (format == "+s") {
        if (array.n_buffers != 1) return "buffers";
        for (int64_t i = 0; i < array.n_children; ++i) {
            if (array.children[i]->length != array.length) return "a column of another length";
        }
    } else if (format == "+L") {
        if (array.n_buffers != 2 || value_at<int64_t>(array, 0) != 0) return "offsets";
        for (int64_t i = 0; i < array.length; ++i) {
            if (value_at<int64_t>(array, i) > value_at<int64_t>(array, i + 1)) return "offsets that fall";
        }
        if (value_at<int64_t>(array, array.length) != array.children[0]->length)
            return "elements of no array";
    } else if (format == "vu" || format == "vz") {
        if (array.n_buffers != 5) return "buffers";
        for (int64_t i = 0; i < array.length; ++i) {
            const char* const view = static_cast<const char*>(array.buffers[1]) + 16 * i;
            uint32_t words[4];
            std::memcpy(words, view, sizeof words);
            if (words[0] > 12) {
                if (words[2] > 1 || uint64_t{words[3]} + words[0] > value_at<uint64_t>(array, words[2], 4))
                    return "view";
                if (std::memcmp(view + 4, text_at(array, i).data(), 4) != 0) return "prefix";
            } else if (std::string_view(view + 4, 12).find_first_not_of('\0', words[0]) !=
                       std::string_view::npos) {
                return "bytes behind a short text";
            }
            if (format == "vu" && !is_utf8(text_at(array, i))) return "text that is not UTF-8";
        }
    } else {
        if (array.n_buffers != 2) return "buffers";
        const int64_t bits = format == "b" ? 1 : format == "tdD" ? 32 : format == "d:38,9" ? 128 : 64;
        const auto* const bytes = static_cast<const volatile uint8_t*>(array.buffers[1]);
        for (int64_t i = 0; i < (array.length * bits + 7) / 8; ++i) static_cast<void>(bytes[i]);
    }
    for (int64_t i = 0; i < array.n_children; ++i) {
        if (!(type.children[i]->flags & 2) && format != "+s" && array.children[i]->null_count != 0)
            return "NULL in an array";
        if (const char* const inner = fault(*type.children[i], *array.children[i])) return inner;
    }
    return nullptr;
}

}  // namespace gaelp_tests
