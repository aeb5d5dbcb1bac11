// What a relation says of its fields, read from its Arrow schema.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "arrow.hpp"

namespace gaelp {

enum class Kind : uint8_t {
    String,
    Bytes,
    Integer,
    Float,
    Numeric,
    Boolean,
    Timestamp,
    Date,
    Datetime,
    Time,
    Json,
    Record,
    List
};

// A REPEATED field is a List, with its element as only child.
struct Field {
    std::string name;
    Kind kind;
    bool nullable;
    bool wanted;  // of lines that are explained: whether it is a fault that it is missing, or null
    std::vector<Field> children;

    // Whether a row may say nothing of it, or null. An array is empty then.
    bool may_be_missing() const { return nullable || kind == Kind::List; }
};

// The key of a field's metadata that tells JSON text from other text, which Arrow has one type for.
constexpr std::string_view kTypeKey = "gaelp.type";
// The key of a field's metadata that says that a line lacks something without it.
constexpr std::string_view kWantedKey = "gaelp.wanted";

// By the format strings of Arrow's C data interface.
inline Kind kind_of(const ArrowSchema& schema) {
    struct Format {
        std::string_view format;
        Kind kind;
    };
    static constexpr Format formats[] = {
        {"vu", Kind::String},      {"vz", Kind::Bytes},  {"l", Kind::Integer},         {"g", Kind::Float},
        {"d:38,9", Kind::Numeric}, {"b", Kind::Boolean}, {"tsu:UTC", Kind::Timestamp}, {"tdD", Kind::Date},
        {"tsu:", Kind::Datetime},  {"ttn", Kind::Time},  {"+s", Kind::Record},         {"+L", Kind::List},
    };
    for (const Format& known : formats) {
        if (known.format != schema.format) continue;
        const bool is_json =
            known.kind == Kind::String && metadata_value(schema.metadata, kTypeKey) == "JSON";
        return is_json ? Kind::Json : known.kind;
    }
    throw std::invalid_argument("a type that no field of a relation has");
}

inline Field read_field(const ArrowSchema& schema) {
    Field field{schema.name == nullptr ? "" : schema.name,
                kind_of(schema),
                (schema.flags & kArrowFlagNullable) != 0,
                !metadata_value(schema.metadata, kWantedKey).empty(),
                {}};
    for (int64_t i = 0; i < schema.n_children; ++i) field.children.push_back(read_field(*schema.children[i]));
    const bool one_child = field.children.size() == 1;
    if (field.kind == Kind::List &&
        (!one_child || field.children[0].kind == Kind::List || field.children[0].nullable)) {
        throw std::invalid_argument("an array has elements of one type, which are neither arrays nor NULL");
    }
    return field;
}

}  // namespace gaelp
