// Any bytes as lines of a relation with every kind of field. Besides what the sanitizers find, it is a finding if what comes out is
// not sound Arrow, if lines get lost, or if a line fares differently on its own than among the others.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "../tests/support.hpp"

using namespace gaelp_tests;

namespace {

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "finding: %s\n", what);
    std::abort();
}

bool is_blank(std::string_view line) {
    return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Type relation = every_kind();
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Decoded decoded(relation, text);
    require(decoded.error == 0, "an error");
    const GaelpDecoded& arrays = decoded.arrays;
    if (const char* const what = fault(*relation.schema(), arrays.rows)) require(false, what);
    require(arrays.places.length == arrays.rows.length && arrays.hashes.length == arrays.rows.length,
            "lengths");

    int64_t row = 0, refused = 0, number = 0;
    for (size_t start = 0, end = 0; start < size; start = end, ++number) {
        end = std::min(text.find('\n', start), size - 1) + 1;
        const std::string_view line = text.substr(start, end - start);
        if (is_blank(line)) continue;
        const Decoded alone(relation, line);
        const bool accepted = alone.arrays.rows.length == 1;
        require(accepted != (alone.arrays.refused.length == 1), "a line that is neither taken nor refused");
        const ArrowArray& places = accepted ? arrays.places : arrays.refused;
        int64_t& next = accepted ? row : refused;
        require(next < places.length, "a line that fares differently on its own");
        const int64_t* const place = Decoded::triple(places, next);
        const int64_t expected[] = {number, static_cast<int64_t>(start), static_cast<int64_t>(end)};
        require(std::memcmp(place, expected, sizeof expected) == 0, "a place");
        require(!accepted || alone.hash(0) == decoded.hash(row), "a hash");
        ++next;
    }
    require(row == arrays.rows.length && refused == arrays.refused.length, "a line that is not there");
    return 0;
}
