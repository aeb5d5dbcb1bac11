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

// Each line is explained by at least one fault, or left; a line that is a row has none.
void explain(std::string_view text, const Decoded& decoded) {
    static Type relation = every_kind_explained();
    const Explained explained(relation, text);
    require(explained.error == 0, "an error");
    const GaelpExplained& arrays = explained.arrays;
    if (const char* const what = fault(*relation.schema(), arrays.rows)) require(false, what);
    require(arrays.places.length == arrays.rows.length, "lengths");
    const int64_t lines = decoded.arrays.rows.length + decoded.arrays.refused.length;
    require(arrays.rows.length + arrays.refused.length == lines, "a line that is neither explained nor left");
    require(arrays.rows.length <= decoded.arrays.refused.length, "a row that is explained");
    int64_t row = -1;
    for (int64_t i = 0; i < arrays.faults.length; ++i) {
        const int64_t* const found = explained.fault(i);
        require(found[0] == row || found[0] == row + 1, "a line without a fault");
        row = found[0];
        require(found[1] >= -1 && found[1] < arrays.rows.n_children && found[2] >= 0 && found[2] <= 4, "a fault");
        require(0 <= found[3] && found[3] <= found[4] && found[4] <= static_cast<int64_t>(text.size()), "a place");
    }
    require(row + 1 == arrays.rows.length, "a line without a fault");
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
    explain(text, decoded);
    require(row == arrays.rows.length && refused == arrays.refused.length, "a line that is not there");
    return 0;
}
