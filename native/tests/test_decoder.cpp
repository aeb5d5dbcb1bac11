// The decoder's interface without Python: what is accepted, what is refused, who owns what, and what is left when memory runs out.

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <limits>
#include <new>

#include "support.hpp"

using namespace gaelp_tests;

namespace {

int failures = 0;
int64_t allocations_left = -1;  // none fails below zero

void check(bool good, const char* what, int line, std::string_view detail = {}) {
    if (good) return;
    ++failures;
    std::fprintf(stderr, "test_decoder.cpp:%d: %s %.*s\n", line, what, static_cast<int>(detail.size()),
                 detail.data());
}

#define CHECK(condition) check((condition), #condition, __LINE__)
#define CHECK_FOR(condition, detail) check((condition), #condition, __LINE__, detail)

const char* faults(Type& relation, const Decoded& decoded) {
    if (decoded.error != 0) return "an error";
    const GaelpDecoded& arrays = decoded.arrays;
    if (arrays.hashes.length != arrays.rows.length || arrays.places.length != arrays.rows.length)
        return "lengths";
    return fault(*relation.schema(), arrays.rows);
}

// The column of a name in the rows, or in a record.
const ArrowArray& column(Type& type, const ArrowArray& array, std::string_view name) {
    for (size_t i = 0; i < type.children.size(); ++i) {
        if (type.children[i].name == name) return *array.children[i];
    }
    std::abort();
}

bool is_accepted(std::string_view line) {
    Type relation = every_kind();
    const Decoded decoded(relation, std::string(line) + "\n");
    CHECK(faults(relation, decoded) == nullptr);
    CHECK(decoded.arrays.rows.length + decoded.arrays.refused.length == 1);
    return decoded.arrays.rows.length == 1;
}

void values_of_every_kind_come_out() {
    Type relation = every_kind();
    const Decoded decoded(
        relation,
        R"({"id":-7,"f":0.1,"s":"short","b":true,"ts":"1970-01-02T00:00:00.5+01:00","d":"1970-01-03",)"
        R"("dtm":"1970-01-01 00:00:01","t":"00:00:02","n":"-1.5","by":"AAEC","j":{"a": [1, "text"]},"js":[null, 2],)"
        R"("fs":[1,2.5],"rec":{"x":8,"y":"a text of more than twelve bytes"},"recs":[{"k":"\u00e9 and some more text"}]})"
        "\n{\"id\":1}\n");
    CHECK(faults(relation, decoded) == nullptr);
    const ArrowArray& rows = decoded.arrays.rows;
    const auto of = [&relation, &rows](const char* name) -> const ArrowArray& {
        return column(relation, rows, name);
    };
    CHECK(rows.length == 2);
    CHECK(value_at<int64_t>(of("id"), 0) == -7);
    CHECK(value_at<double>(of("f"), 0) == 0.1);
    CHECK(text_at(of("s"), 0) == "short");
    CHECK(value_at<uint8_t>(of("b"), 0) == 1);
    CHECK(value_at<int64_t>(of("ts"), 0) == (23 * 3600) * int64_t{1'000'000} + 500'000);
    CHECK(value_at<int32_t>(of("d"), 0) == 2);
    CHECK(value_at<int64_t>(of("dtm"), 0) == 1'000'000);
    CHECK(value_at<int64_t>(of("t"), 0) == 2'000'000'000);
    CHECK(value_at<int64_t>(of("n"), 0) == -1'500'000'000 && value_at<int64_t>(of("n"), 1) == -1);
    CHECK(text_at(of("by"), 0) == std::string_view("\0\1\2", 3));
    CHECK(text_at(of("j"), 0) == R"({"a": [1, "text"]})");
    CHECK(text_at(*of("js").children[0], 0) == "null" && text_at(*of("js").children[0], 1) == "2");
    CHECK(value_at<double>(*of("fs").children[0], 1) == 2.5);
    CHECK(text_at(*of("rec").children[1], 0) == "a text of more than twelve bytes");
    CHECK(text_at(*of("recs").children[0]->children[0], 0) == "\xC3\xA9 and some more text");
    for (const char* name : {"f", "s", "b", "ts", "d", "dtm", "t", "n", "by", "j", "rec"}) {
        CHECK_FOR(!is_null(of(name), 0) && is_null(of(name), 1), name);
    }
    for (const char* name : {"js", "fs", "recs"}) {
        CHECK_FOR(value_at<int64_t>(of(name), 1) == value_at<int64_t>(of(name), 2), name);
    }
}

void lines_that_are_not_certain_are_refused() {
    const char* const refused[] = {
        "[]",
        "{",
        "{}",
        R"({"id":1)",
        R"({"id":1}x)",
        R"({"id":1}{"id":2})",
        R"({"id":null})",
        R"({"id":1.0})",
        R"({"id":01})",
        R"({"id":9223372036854775808})",
        R"({"id":1,"id":1})",
        R"({"id":1,"other":1})",
        R"({"\u0069d":1})",
        R"({"id":1,})",
        R"({"id":1,"s":1})",
        R"({"id":1,"s":"\x"})",
        R"({"id":1,"s":"\u12"})",
        "{\"id\":1,\"s\":\"\t\"}",
        "{\"id\":1,\"s\":\"\xC0\x80\"}",
        "{\"id\":1,\"s\":\"\xED\xA0\x80\"}",
        "{\"id\":1,\"s\":\"\xF4\x90\x80\x80\"}",
        "{\"id\":1,\"s\":\"\xE2\x82\"}",
        R"({"id":1,"b":truth})",
        R"({"id":1,"d":"2023-02-29"})",
        R"({"id":1,"ts":"2023-02-28T00:00:00"})",
        R"({"id":1,"t":"24:00:00"})",
        R"({"id":1,"n":"1e5"})",
        R"({"id":1,"n":"0.1234567891"})",
        R"({"id":1,"by":"AAE"})",
        R"({"id":1,"by":"AAF="x})",
        R"({"id":1,"j":{"a":1,"a":2}})",
        R"({"id":1,"j":[1,]})",
        R"({"id":1,"j":.5})",
        R"({"id":1,"fs":[null]})",
        R"({"id":1,"fs":[1,2})",
        R"({"id":1,"rec":{}})",
        R"({"id":1,"rec":{"x":1,"z":1}})",
        R"({"id":1,"recs":[{}]})",
        R"({"id":1,"j":"\udc00\udc01"})",
        R"({"id":1,"j":"\udc00"})",
        R"({"id":1,"j":"\ud800"})",
        R"({"id":1,"j":"\ud800\ud800"})",
        R"({"id":1,"s":"\udc00\udc01"})",
        R"({"id":1,"s":"\ud800x"})",
    };
    for (const char* line : refused) CHECK_FOR(!is_accepted(line), line);
    for (const char* line :
         {R"({"id":1,"j":"\ud83d\ude00"})", R"( { "id" : 1 , "fs" : [ ] } )", "{\"id\":1}\r"}) {
        CHECK_FOR(is_accepted(line), line);
    }
    const std::string name = "a_name_of_some_length";
    CHECK(is_accepted("{\"id\":1,\"" + name + "\":1}"));
    for (size_t i = 0; i < name.size(); ++i) {
        std::string other = name;
        ++other[i];
        CHECK_FOR(!is_accepted("{\"id\":1,\"" + other + "\":1}"), other);
    }
    const std::string deep(200, '[');
    CHECK(!is_accepted(R"({"id":1,"j":)" + deep + std::string(200, ']') + "}"));
}

void doubles_are_the_nearest_and_numbers_are_those_of_json() {
    Type relation = every_kind();
    for (const char* text :
         {"0", "0.0", "-0.0", "1", "-1.5", "0.1", "1e5", "1E+5", "1e-5", "2.2250738585072014e-308",
          "4.9e-324", "1.7976931348623157e308", "9007199254740993.0", "123456789012345678901234567890.0",
          "0.000000000000000000000000000000123456789012345678901234567890", "9007199254740992",
          "-4611686018427387904", "0e9", "0.1000000000000000055511151231257827021181583404541015625"}) {
        const Decoded decoded(relation, std::string(R"({"id":1,"f":)") + text + "}\n");
        CHECK_FOR(decoded.arrays.rows.length == 1, text);
        if (decoded.arrays.rows.length != 1) continue;
        const double value = value_at<double>(column(relation, decoded.arrays.rows, "f"), 0);
        const double nearest = std::strtod(text, nullptr);
        CHECK_FOR(std::memcmp(&value, &nearest, sizeof value) == 0, text);
    }
    for (const char* text : {"",
                             "-",
                             "+1",
                             "01",
                             "-01",
                             "1.",
                             ".5",
                             "-.5",
                             "1.e5",
                             "1e",
                             "1e+",
                             "1ee5",
                             "0x10",
                             "1_0",
                             "NaN",
                             "-NaN",
                             "nan",
                             "Infinity",
                             "-Infinity",
                             "inf",
                             "1e309",
                             "-1e309",
                             "1e-400",
                             "0.0e-400x",
                             "9007199254740993",
                             "9223372036854775808",
                             "1e99999999999999999999",
                             "1 2"}) {
        CHECK_FOR(!is_accepted(std::string(R"({"id":1,"f":)") + text + "}"), text);
    }
    const Decoded decoded(relation, "{\"id\":1,\"f\":-0}\n");
    CHECK(!std::signbit(value_at<double>(column(relation, decoded.arrays.rows, "f"), 0)));
}

void places_tell_where_rows_and_refused_lines_stand() {
    Type relation = every_kind();
    const Decoded decoded(relation, "\n{\"id\":1}\r\n \t\r\n[]\n{\"id\":2}\n{\"id\":3}");
    CHECK(faults(relation, decoded) == nullptr);
    const int64_t rows[] = {1, 1, 11, 4, 18, 27}, refused[] = {3, 15, 18, 5, 27, 35};
    CHECK(decoded.arrays.rows.length == 2 && decoded.arrays.refused.length == 2);
    CHECK(std::memcmp(Decoded::triple(decoded.arrays.places, 0), rows, sizeof rows) == 0);
    CHECK(std::memcmp(Decoded::triple(decoded.arrays.refused, 0), refused, sizeof refused) == 0);
    const Decoded bounded(relation, "{\"id\":1}\n{\"id\":1 }\n", 9);
    CHECK(bounded.arrays.rows.length == 1 && Decoded::triple(bounded.arrays.refused, 0)[0] == 1);
    const Decoded empty(relation, "");
    CHECK(faults(relation, empty) == nullptr && empty.arrays.rows.length == 0 &&
          empty.arrays.refused.length == 0);
}

void line_that_breaks_off_leaves_nothing_behind() {
    Type relation = every_kind();
    const char* const whole =
        R"({"id":3,"fs":[3],"js":[1],"rec":{"x":1,"l":[5]},"recs":[{"k":"another text, a long one"}]})";
    const char* const broken[] = {
        R"({"id":2,"fs":[1.5,2.5)", R"({"id":2,"js":["a text of some length",{"a":[1,)",
        R"({"id":2,"rec":{"x":1,"y":"a","l":[1,2)", R"({"id":2,"recs":[{"k":"a","v":1},{"k":"b")"};
    const Decoded expected(relation, std::string(whole) + "\n");
    for (const char* line : broken) {
        const Decoded decoded(relation, std::string(line) + "\n" + whole + "\n");
        CHECK_FOR(faults(relation, decoded) == nullptr, line);
        CHECK_FOR(decoded.arrays.rows.length == 1 && decoded.arrays.refused.length == 1, line);
        const ArrowArray& rows = decoded.arrays.rows;
        CHECK_FOR(value_at<double>(*column(relation, rows, "fs").children[0], 0) == 3, line);
        CHECK_FOR(text_at(*column(relation, rows, "js").children[0], 0) == "1", line);
        CHECK_FOR(value_at<int64_t>(*column(relation, rows, "rec").children[2]->children[0], 0) == 5, line);
        CHECK_FOR(text_at(*column(relation, rows, "recs").children[0]->children[0], 0) ==
                      "another text, a long one",
                  line);
        CHECK_FOR(decoded.hash(0) == expected.hash(0), line);
    }
}

void lines_are_kept_until_the_last_column_is_released() {
    Type relation = every_kind();
    Decoded decoded(relation, "{\"id\":1,\"s\":\"a text of more than twelve bytes\"}\n");
    CHECK(decoded.lines.array.release == nullptr);
    ArrowArray moved = *decoded.arrays.rows.children[3];
    decoded.arrays.rows.children[3]->release = nullptr;
    release(decoded.arrays.rows);
    CHECK(decoded.arrays.rows.release == nullptr);
    CHECK(!decoded.lines.released());
    CHECK(text_at(moved, 0) == "a text of more than twelve bytes");
    release(moved);
    CHECK(decoded.lines.released());
}

void wrong_relations_and_lines_are_told() {
    const Type wrong[] = {
        {"", "l", false},
        {"", "+s", true, {{"id", "l"}}},
        {"", "+s", false, {{"id", "U"}}},
        {"", "+s", false, {{"id", "tsu:Europe/Berlin"}}},
        {"", "+s", false, {{"id", "+L", false}}},
        {"", "+s", false, {{"id", "+L", false, {{"element", "l", true}}}}},
        {"", "+s", false, {list_of("id", list_of("", {"", "l"}))}},
    };
    for (Type relation : wrong) {
        const Decoded decoded(relation, "{\"id\":1}\n");
        CHECK(decoded.error == EINVAL && decoded.arrays.rows.release == nullptr);
    }
    Type relation = every_kind();
    GaelpDecoded out = {};
    Lines lines("{\"id\":1}\n");
    lines.array.length = int64_t{std::numeric_limits<int32_t>::max()} + 1;
    CHECK(gaelp_decode(relation.schema(), &lines.array, 1 << 20, &out) == EINVAL);
    CHECK(out.rows.release == nullptr && lines.released());
}

void faults_name_fields_and_places_and_the_rest_is_kept() {
    Type relation = every_kind_explained();
    const std::string_view text =
        "{\"f\":1,\"id\":\"one\",\"s\":\"kept\"}\n"    // a value that is none of its field
        "{\"id\":1}\n"                                    // nothing is wrong here
        "{\"id\":1,\"odd\":[1],\"id\":2,\"f\":NaN}\n"   // an unknown key, one twice, and no number
        "{\"s\":\"no id\"}\n"
        "{\"id\":1,\"rec\":{\"x\":\"\"}}\n"             // inside of a record: left to Python
        "{\"id\":null,\"fs\":[1,null],\"f\":2}\n"
        "{\"id\":tru}\n";
    const Explained explained(relation, text);
    CHECK(explained.error == 0);
    CHECK(explained.arrays.rows.length == 4 && explained.arrays.refused.length == 3);
    CHECK(fault(*relation.schema(), explained.arrays.rows) == nullptr);
    const int64_t expected[][3] = {{0, 0, 0}, {1, -1, 4}, {1, 0, 3}, {1, 2, 0}, {2, 0, 2}, {3, 0, 1}, {3, 13, 0}};
    CHECK(explained.arrays.faults.length == 7);
    for (int64_t i = 0; i < 7; ++i) CHECK(std::memcmp(explained.fault(i), expected[i], sizeof expected[i]) == 0);
    const auto told = [&](int64_t i) {
        const int64_t* const found = explained.fault(i);
        return text.substr(static_cast<size_t>(found[3]), static_cast<size_t>(found[4] - found[3]));
    };
    CHECK(told(0) == "\"one\"" && told(1) == "odd" && told(3) == "NaN" && told(6) == "[1,null]");
    const ArrowArray* const* const columns = explained.arrays.rows.children;
    CHECK(is_null(*columns[0], 0) && is_null(*columns[0], 1) && !is_null(*columns[2], 0));
    CHECK(text_at(*columns[3], 0) == "kept" && text_at(*columns[3], 2) == "no id");
    Type strict = every_kind();
    CHECK(Explained(strict, text).error == EINVAL);
}

// A sanitizer that looks for leaks sees what is left.
void nothing_is_left_when_memory_runs_out() {
    Type relation = every_kind();
    int64_t count = 0;
    for (int32_t error = ENOMEM; error != 0; ++count) {
        Lines lines("{\"id\":1,\"s\":\"a text of more than twelve bytes\",\"fs\":[1],\"j\":{\"a\":1}}\n[]\n");
        GaelpDecoded out = {};
        const ArrowSchema* const schema = relation.schema();
        allocations_left = count;
        error = gaelp_decode(schema, &lines.array, 1 << 20, &out);
        allocations_left = -1;
        CHECK(error == 0 || error == ENOMEM);
        CHECK((out.rows.release == nullptr) == (error != 0));
        for (ArrowArray* array : {&out.rows, &out.hashes, &out.places, &out.refused, &lines.array})
            release(*array);
        CHECK(lines.released());
    }
    CHECK(count > 100);
    Type optional = every_kind_explained();
    count = 0;
    for (int32_t error = ENOMEM; error != 0; ++count) {
        Lines lines("{\"id\":1,\"s\":2,\"fs\":[1],\"j\":{\"a\":1}}\n[]\n");
        GaelpExplained out = {};
        const ArrowSchema* const schema = optional.schema();
        allocations_left = count;
        error = gaelp_explain(schema, &lines.array, 1 << 20, &out);
        allocations_left = -1;
        CHECK(error == 0 || error == ENOMEM);
        for (ArrowArray* array : {&out.rows, &out.places, &out.refused, &out.faults, &lines.array})
            release(*array);
        CHECK(lines.released());
    }
    CHECK(count > 100);
}

}  // namespace

void* operator new(size_t size) {
    if (allocations_left == 0) throw std::bad_alloc();
    if (allocations_left > 0) --allocations_left;
    if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}

int main() {
    CHECK(gaelp_interface() > 0);
    values_of_every_kind_come_out();
    lines_that_are_not_certain_are_refused();
    doubles_are_the_nearest_and_numbers_are_those_of_json();
    places_tell_where_rows_and_refused_lines_stand();
    line_that_breaks_off_leaves_nothing_behind();
    lines_are_kept_until_the_last_column_is_released();
    wrong_relations_and_lines_are_told();
    faults_name_fields_and_places_and_the_rest_is_kept();
    nothing_is_left_when_memory_runs_out();
    std::printf("%d checks of the native decoder failed\n", failures);
    return failures == 0 ? 0 : 1;
}
