// Columns in Arrow's layout, filled value by value from JSON text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "values.hpp"

namespace gaelp {

// In the order of `gaelp_assets.ingest.native.KINDS`.
enum class Kind : int32_t {
    String, Bytes, Integer, Float, Numeric, Boolean, Timestamp, Date, Datetime, Time, Json, Record, List
};

// What a relation says of a field; a REPEATED one is a List with its element as only child.
struct Field {
    std::string name;
    Kind kind;
    bool required;
    std::vector<Field> children;
};

class Column {
  public:
    // `nullable`: NULL can stand in it, because it is not required or because a record around it can be NULL.
    Column(const Field& field, bool nullable, bool element, const char* data)
        : field_(field), nullable_(nullable), element_(element), data_(data), seen_(field.children.size(), 0) {
        const bool inner = field.kind == Kind::List ? false : nullable;
        for (const Field& child : field.children) {
            const bool is_element = field.kind == Kind::List;
            children_.emplace_back(new Column(child, inner || !(child.required || is_element), is_element, data));
            if (child.kind == Kind::List && !inner) children_.back()->nullable_ = false;
            names_.push_back(child.name + '"');
        }
        if (field.kind == Kind::List) main_.push<int64_t>(0);
    }

    const Field& field() const { return field_; }
    size_t length() const { return length_; }
    const std::vector<std::unique_ptr<Column>>& children() const { return children_; }

    // Takes the value at `p` and moves behind it; false if it is not certain to be one of the field.
    bool take(const char*& p, Scanner& scanner, int depth) {
        if (*p == 'n' && !(field_.kind == Kind::Json && element_)) {
            if (field_.required || element_ || !Scanner::word(p, "null", 4)) return false;
            add_missing();
            return true;
        }
        if (!take_value(p, scanner, depth)) return false;
        if (nullable_) valid_.push<char>(1);
        ++length_;
        return true;
    }

    // The fields of the object at `p`, one value to each column.
    bool take_object(const char*& p, Scanner& scanner, int depth) {
        if (*p != '{' || depth >= kMaxDepth) return false;
        ++objects_;
        size_t next = 0, found = 0;
        p = skip_space(p + 1);
        if (*p == '}') {
            ++p;
            return add_absent();
        }
        for (;;) {
            if (*p++ != '"') return false;
            const size_t place = find(p, next, scanner.end());
            if (place == names_.size() || seen_[place] == objects_) return false;
            seen_[place] = objects_;
            next = place + 1;
            ++found;
            p = skip_space(p + names_[place].size());
            if (*p != ':') return false;
            p = skip_space(p + 1);
            if (!children_[place]->take(p, scanner, depth + 1)) return false;
            p = skip_space(p);
            if (*p == '}') break;
            if (*p != ',') return false;
            p = skip_space(p + 1);
        }
        ++p;
        return found == names_.size() || add_absent();
    }

    void truncate(size_t length) {
        if (nullable_) valid_.truncate(length);
        if (field_.kind == Kind::List) {
            main_.truncate((length + 1) * sizeof(int64_t));
            children_[0]->truncate(static_cast<size_t>(main_.at<int64_t>(length)));
        } else if (field_.kind == Kind::Record) {
            for (const auto& child : children_) child->truncate(length);
        } else {
            main_.truncate(length * width());
        }
        length_ = length;
    }

    // Bits in place of bytes, as Arrow has them. Nothing is added afterwards.
    void finish() {
        if (field_.kind == Kind::Boolean) main_.pack_bits();
        nulls_ = valid_.pack_bits();
        for (const auto& child : children_) child->finish();
    }

    // Length, NULLs, then address and size of the buffers: validity (if there are NULLs), values, texts that are not in the data.
    void describe(std::vector<int64_t>& out) const {
        out.push_back(static_cast<int64_t>(length_));
        out.push_back(static_cast<int64_t>(nulls_));
        for (const Buffer* buffer : {&valid_, &main_, &texts_}) {
            out.push_back(static_cast<int64_t>(reinterpret_cast<intptr_t>(buffer->data())));
            out.push_back(static_cast<int64_t>(buffer->size()));
        }
        for (const auto& child : children_) child->describe(out);
    }

  private:
    size_t width() const {
        switch (field_.kind) {
            case Kind::String: case Kind::Bytes: case Kind::Json: case Kind::Numeric:
                return 16;
            case Kind::Date:
                return 4;
            case Kind::Boolean:
                return 1;
            default:
                return 8;
        }
    }

    bool take_value(const char*& p, Scanner& scanner, int depth) {
        Span text;
        int64_t number;
        switch (field_.kind) {
            case Kind::Float: {
                double value;
                if (!parse_double(p, value)) return false;
                main_.push(value);
                return true;
            }
            case Kind::Integer:
                if (!parse_integer(p, number)) return false;
                main_.push(number);
                return true;
            case Kind::Boolean: {
                const bool value = *p == 't';
                if (!Scanner::word(p, value ? "true" : "false", value ? 4 : 5)) return false;
                main_.push<char>(value ? 1 : 0);
                return true;
            }
            case Kind::String:
                if (*p != '"' || !scanner.string(p, text)) return false;
                return text.escaped ? add_unescaped(text, scanner) : (add_view(text.begin, text.size(), scanner), true);
            case Kind::Json: {
                const char* const begin = p;
                if (!scanner.value(p, depth)) return false;
                add_view(begin, static_cast<size_t>(p - begin), scanner);
                return true;
            }
            case Kind::Date:
                if (*p != '"' || !scanner.string(p, text) || !parse_date(text, number)) return false;
                main_.push(static_cast<int32_t>(number));
                return true;
            case Kind::Timestamp: case Kind::Datetime:
                if (*p != '"' || !scanner.string(p, text)) return false;
                if (!parse_moment(text, field_.kind == Kind::Timestamp, number)) return false;
                main_.push(number);
                return true;
            case Kind::Time:
                if (*p != '"' || !scanner.string(p, text) || !parse_time(text, number)) return false;
                main_.push(number * 1000);  // nanoseconds
                return true;
            case Kind::Numeric:
                return take_numeric(p, scanner);
            case Kind::Bytes:
                if (*p != '"' || !scanner.string(p, text)) return false;
                return add_decoded(text);
            case Kind::List:
                return take_list(p, scanner, depth);
            case Kind::Record:
                return take_object(p, scanner, depth);
        }
        return false;
    }

    bool take_numeric(const char*& p, Scanner& scanner) {
        Span text;
        int128 value;
        if (*p == '"') {
            if (!scanner.string(p, text) || text.escaped) return false;
        } else {
            text.begin = p;
            if (!Scanner::number(p)) return false;
            text.end = p;
        }
        if (!parse_numeric(text.begin, text.end, value)) return false;
        main_.push(value);
        return true;
    }

    bool take_list(const char*& p, Scanner& scanner, int depth) {
        if (*p != '[' || depth >= kMaxDepth) return false;
        Column& element = *children_[0];
        p = skip_space(p + 1);
        if (*p == ']') {
            ++p;
        } else {
            for (;;) {
                if (!element.take(p, scanner, depth + 1)) return false;
                p = skip_space(p);
                if (*p == ']') break;
                if (*p != ',') return false;
                p = skip_space(p + 1);
            }
            ++p;
        }
        main_.push(static_cast<int64_t>(element.length_));
        return true;
    }

    // The place of the field whose name, and a quote, stand at `p`: most likely the one after the last.
    size_t find(const char* p, size_t next, const char* end) const {
        const size_t count = names_.size(), rest = static_cast<size_t>(end - p);
        for (size_t i = 0, place = next; i < count; ++i, ++place) {
            if (place >= count) place = 0;
            const std::string& name = names_[place];
            if (name.size() <= rest && std::memcmp(p, name.data(), name.size()) == 0) return place;
        }
        return count;
    }

    // Fields of which the last object said nothing; false if one is required.
    bool add_absent() {
        for (size_t i = 0; i < children_.size(); ++i) {
            if (seen_[i] == objects_) continue;
            if (children_[i]->field_.required) return false;
            children_[i]->add_missing();
        }
        return true;
    }

    // No value, or null: an empty array, as in BigQuery, or NULL.
    void add_missing() {
        if (field_.kind == Kind::List) {
            if (nullable_) valid_.push<char>(1);
            main_.push(static_cast<int64_t>(children_[0]->length_));
            ++length_;
        } else {
            add_null();
        }
    }

    // NULL, or, inside of a record that is NULL, a stand-in that nobody sees.
    void add_null() {
        valid_.push<char>(0);
        if (field_.kind == Kind::List) {
            main_.push(static_cast<int64_t>(children_[0]->length_));
        } else if (field_.kind == Kind::Record) {
            for (const auto& child : children_) child->add_null();
        } else {
            std::memset(main_.extend(width()), 0, width());
        }
        ++length_;
    }

    void add_view(const char* text, size_t size, const Scanner& scanner) {
        if (size > 12) {
            push_view(text, size, 0, static_cast<size_t>(text - data_));
        } else if (scanner.end() - text >= 12) {
            const uint64_t low = load64(text);
            const uint32_t high = load32(text + 8);
            const uint64_t low_mask = size >= 8 ? ~uint64_t{0} : (uint64_t{1} << (size * 8)) - 1;
            const uint32_t high_mask =
                size >= 12 ? ~uint32_t{0} : size <= 8 ? 0 : (uint32_t{1} << ((size - 8) * 8)) - 1;
            const uint32_t length = static_cast<uint32_t>(size), masked_high = high & high_mask;
            const uint64_t masked = low & low_mask;
            char* const view = main_.extend(16);
            std::memcpy(view, &length, 4);
            std::memcpy(view + 4, &masked, 8);
            std::memcpy(view + 12, &masked_high, 4);
        } else {
            push_short_view(text, size);
        }
    }

    void push_short_view(const char* text, size_t size) {
        const uint32_t length = static_cast<uint32_t>(size);
        char* const view = main_.extend(16);
        std::memset(view, 0, 16);
        std::memcpy(view, &length, 4);
        if (size != 0) std::memcpy(view + 4, text, size);
    }

    void push_view(const char* text, size_t size, uint32_t buffer, size_t offset) {
        const uint32_t words[4] = {static_cast<uint32_t>(size), load32(text), buffer, static_cast<uint32_t>(offset)};
        std::memcpy(main_.extend(16), words, 16);
    }

    // A view of what has been written to `texts_` from `start` on.
    void add_text_from(size_t start) {
        const size_t size = texts_.size() - start;
        if (size > 12) {
            push_view(texts_.data() + start, size, 1, start);
        } else {
            push_short_view(texts_.data() + start, size);
            texts_.truncate(start);
        }
    }

    bool add_unescaped(const Span& text, const Scanner&) {
        const size_t start = texts_.size();
        if (!unescape(text, texts_)) return false;
        add_text_from(start);
        return true;
    }

    bool add_decoded(const Span& text) {
        const size_t start = texts_.size();
        if (!parse_base64(text, texts_)) return false;
        add_text_from(start);
        return true;
    }

    const Field& field_;
    bool nullable_;
    const bool element_;      // of an array, where null is no value (but in JSON)
    const char* const data_;  // what views point into
    size_t length_ = 0, nulls_ = 0;
    Buffer valid_;  // a byte for each value, if NULL can be among them
    Buffer main_;   // values, views or offsets
    Buffer texts_;  // texts whose bytes do not stand in the data
    std::vector<std::unique_ptr<Column>> children_;
    std::vector<std::string> names_;  // of the children, each with a quote behind it
    std::vector<uint64_t> seen_;      // for each child the last object that had it
    uint64_t objects_ = 0;
};

}  // namespace gaelp
