// Columns in Arrow's layout, filled value by value from JSON text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "arrow.hpp"
#include "relation.hpp"
#include "values.hpp"

namespace gaelp {

// What is wrong with a line that is proper JSON: where in the lines it stands, and of which field of which row.
struct Fault {
    enum What : int64_t { kValue, kNull, kAbsent, kTwice, kUnknown };
    int64_t row, field;  // no field: -1
    int64_t what;
    int64_t start, end;  // of the value, or of an unknown key
};

class Column {
  public:
    // `inner`: a record around it can be NULL, and then it is NULL, too.
    Column(const Field& field, bool inner, bool element, const char* data)
        : field_(field),
          nullable_(inner || field.nullable),
          element_(element),
          data_(data),
          seen_(field.children.size(), 0) {
        const bool is_list = field.kind == Kind::List;
        for (const Field& child : field.children) {
            children_.push_back(std::make_unique<Column>(child, nullable_ && !is_list, is_list, data));
            names_.push_back(child.name + '"');
        }
        if (is_list) main_.push<int64_t>(0);
    }

    size_t length() const { return length_; }

    // Takes the value at `p` and moves behind it; false if it is not certain to be one of the field.
    bool take(const char*& p, Scanner& scanner, int depth) {
        if (*p == 'n' && !(field_.kind == Kind::Json && element_)) {
            if (!field_.may_be_missing() || !Scanner::word(p, "null")) return false;
            add_missing();
            return true;
        }
        if (!take_value(p, scanner, depth)) return false;
        if (nullable_) valid_.push<char>(1);
        ++length_;
        return true;
    }

    // The object at `p` as one more row; if it is not certain to be one, false, and `truncate` has to follow.
    bool take_row(const char*& p, Scanner& scanner) {
        if (!take_object(p, scanner, 0)) return false;
        ++length_;
        return true;
    }

    // The object at `p` as one more row of those of its values that are certain to be some of their fields. What else is in it, or not in
    // it, is told as faults, those of keys in their order. False, with `truncate` to follow, where not all is certain to be told.
    bool take_faulty(const char*& p, Scanner& scanner, std::vector<Fault>& faults) {
        if (*p != '{') return false;
        ++objects_;
        const size_t first = faults.size();
        const int64_t row = static_cast<int64_t>(length_);
        const auto fault = [&](size_t field, Fault::What what, const char* start, const char* end) {
            const bool known = field < names_.size();
            faults.push_back({row, known ? static_cast<int64_t>(field) : -1, what, start - data_, end - data_});
        };
        std::vector<size_t> twice;
        size_t next = 0;
        p = skip_space(p + 1);
        if (*p == '}') {
            ++p;
        } else {
            for (;;) {
                Span key;
                if (*p != '"' || !scanner.string(p, key) || key.escaped) return false;
                const size_t place = find(key.begin, next, scanner.end());
                p = skip_space(p);
                if (*p != ':') return false;
                p = skip_space(p + 1);
                const char* const begin = p;
                if (place == names_.size()) {
                    if (is_among(key, faults, first) || !scanner.value(p, 1)) return false;
                    fault(place, Fault::kUnknown, key.begin, key.end);
                } else {
                    Column& child = *children_[place];
                    if (seen_[place] == objects_) {
                        // The last value is the one that counts, of which nothing will be kept either.
                        forget(faults, first, static_cast<int64_t>(place));
                        fault(place, Fault::kTwice, begin, begin);
                        child.truncate(length_);
                        twice.push_back(place);
                    }
                    seen_[place] = objects_;
                    next = place + 1;
                    const bool null = *p == 'n';
                    if (!child.take(p, scanner, 1)) {
                        if (child.holds_records()) return false;
                        child.truncate(length_);
                        p = begin;
                        if (!scanner.well_formed(p, 1)) return false;
                        fault(place, Fault::kValue, begin, p);
                        child.add_missing();
                    } else if (null && child.field_.wanted) {
                        fault(place, Fault::kNull, begin, p);
                    }
                }
                p = skip_space(p);
                if (*p == '}') break;
                if (*p != ',') return false;
                p = skip_space(p + 1);
            }
            ++p;
        }
        for (size_t i = 0; i < children_.size(); ++i) {
            if (seen_[i] == objects_) continue;
            if (children_[i]->field_.wanted) fault(i, Fault::kAbsent, data_, data_);
            children_[i]->add_missing();
        }
        for (const size_t place : twice) {
            children_[place]->truncate(length_);
            children_[place]->add_missing();
        }
        ++length_;
        return true;
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

    // Hands the values out as an Arrow array; after that, the column cannot be used. `source`: what `data` is of.
    void hand_out(const std::shared_ptr<const Source>& source, ArrowArray& out) {
        auto array = std::make_unique<Outgoing>();
        const int64_t nulls = array->add_validity(std::move(valid_));
        switch (field_.kind) {
            case Kind::Record:
                break;
            case Kind::Boolean:
                main_.pack_bits();
                array->add(std::move(main_));
                break;
            case Kind::String:
            case Kind::Bytes:
            case Kind::Json: {
                // Views, then the buffers that they point into, then the sizes of those.
                Buffer sizes;
                sizes.push(source->size());
                sizes.push(texts_.size());
                array->add(std::move(main_));
                array->add_source(source);
                array->add(std::move(texts_));
                array->add(std::move(sizes));
                break;
            }
            default:
                array->add(std::move(main_));
        }
        std::vector<ArrowArray>& places = array->make_children(children_.size());
        for (size_t i = 0; i < children_.size(); ++i) children_[i]->hand_out(source, places[i]);
        Outgoing::hand_out(std::move(array), length_, nulls, out);
    }

  private:
    bool holds_records() const {
        return field_.kind == Kind::Record || (field_.kind == Kind::List && children_[0]->holds_records());
    }

    // Whether an unknown key was told before.
    bool is_among(const Span& key, const std::vector<Fault>& faults, size_t first) const {
        return std::any_of(faults.begin() + static_cast<std::ptrdiff_t>(first), faults.end(), [&](const Fault& told) {
            const size_t size = static_cast<size_t>(told.end - told.start);
            return told.what == Fault::kUnknown && size == key.size() &&
                   std::memcmp(data_ + told.start, key.begin, size) == 0;
        });
    }

    static void forget(std::vector<Fault>& faults, size_t first, int64_t field) {
        const auto of_value = [field](const Fault& told) {
            return told.field == field && (told.what == Fault::kValue || told.what == Fault::kNull);
        };
        faults.erase(std::remove_if(faults.begin() + static_cast<std::ptrdiff_t>(first), faults.end(), of_value),
                     faults.end());
    }

    size_t width() const {
        switch (field_.kind) {
            case Kind::String:
            case Kind::Bytes:
            case Kind::Json:
            case Kind::Numeric:
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
                if (!parse_double(p, scanner.end(), value)) return false;
                main_.push(value);
                return true;
            }
            case Kind::Integer:
                if (!parse_integer(p, number)) return false;
                main_.push(number);
                return true;
            case Kind::Boolean: {
                const bool value = *p == 't';
                if (!(value ? Scanner::word(p, "true") : Scanner::word(p, "false"))) return false;
                main_.push<char>(value ? 1 : 0);
                return true;
            }
            case Kind::String:
                if (*p != '"' || !scanner.string(p, text)) return false;
                if (text.escaped) return add_unescaped(text);
                add_view(text.begin, text.size(), scanner);
                return true;
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
            case Kind::Timestamp:
            case Kind::Datetime:
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
            if (name.size() <= rest && same_bytes(p, name.data(), name.size())) return place;
        }
        return count;
    }

    // Fields of which the last object said nothing; false if one is required.
    bool add_absent() {
        for (size_t i = 0; i < children_.size(); ++i) {
            if (seen_[i] == objects_) continue;
            if (!children_[i]->field_.may_be_missing()) return false;
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
            const uint32_t high_mask = size >= 12  ? ~uint32_t{0}
                                       : size <= 8 ? 0
                                                   : (uint32_t{1} << ((size - 8) * 8)) - 1;
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
        const uint32_t words[4] = {static_cast<uint32_t>(size), load32(text), buffer,
                                   static_cast<uint32_t>(offset)};
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

    bool add_unescaped(const Span& text) {
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
    size_t length_ = 0;
    Buffer valid_;  // a byte for each value, if NULL can be among them
    Buffer main_;   // values, views or offsets
    Buffer texts_;  // texts whose bytes do not stand in the data
    std::vector<std::unique_ptr<Column>> children_;
    std::vector<std::string> names_;  // of the children, each with a quote behind it
    std::vector<uint64_t> seen_;      // for each child the last object that had it
    uint64_t objects_ = 0;
};

}  // namespace gaelp
