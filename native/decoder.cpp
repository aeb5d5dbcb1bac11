// Lines of NDJSON -> Arrow columns, for the lines that are certain to be rows of a relation; the others are listed.
//
// What is accepted here must give the same columns as `gaelp_assets.ingest.decode`, bit by bit. What is not accepted goes there, where
// reasons are found.

#include "decoder.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "columns.hpp"
#include "relation.hpp"

namespace gaelp {
namespace {

constexpr size_t kMostBytes = INT32_MAX;  // what Arrow's views reach

struct Place {
    int64_t number, start, end;
};

// Places as an array of arrays of three.
void hand_out_places(Buffer places, ArrowArray& out) {
    auto array = std::make_unique<Outgoing>();
    const size_t length = places.size() / sizeof(Place);
    array->add_validity({});
    hand_out_integers(std::move(places), array->make_children(1)[0]);
    Outgoing::hand_out(std::move(array), length, 0, out);
}

bool is_blank(const char* p, const char* end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) ++p;
    return p == end;
}

class Decoder {
  public:
    Decoder(const Field& relation, std::shared_ptr<const Source> source)
        : source_(std::move(source)), rows_(relation, false, false, source_->data()) {}

    void decode(int64_t longest) {
        const char* const data = source_->data();
        const char* const end = data + source_->size();
        Scanner scanner(end);
        int64_t number = 0;
        const char* next;
        for (const char* line = data; line < end; line = next, ++number) {
            const void* const found = std::memchr(line, '\n', static_cast<size_t>(end - line));
            next = found == nullptr ? end : static_cast<const char*>(found) + 1;
            if (is_blank(line, next)) continue;
            // Nothing ends the scans of a line without its end: it is left to Python.
            const bool accepted = found != nullptr && next - line <= longest && take(line, next, scanner);
            (accepted ? places_ : refused_).push(Place{number, line - data, next - data});
        }
    }

    void hand_out(GaelpDecoded& out) {
        rows_.hand_out(source_, out.rows);
        hand_out_integers(std::move(hashes_), out.hashes);
        hand_out_places(std::move(places_), out.places);
        hand_out_places(std::move(refused_), out.refused);
    }

  private:
    bool take(const char* line, const char* next, Scanner& scanner) {
        const char* const first = skip_space(line);
        const char* p = first;
        const size_t rows = rows_.length();
        if (!rows_.take_row(p, scanner) || !is_blank(p, next)) {
            rows_.truncate(rows);
            return false;
        }
        hashes_.push(uint64_t{XXH3_64bits(first, static_cast<size_t>(p - first))});
        return true;
    }

    std::shared_ptr<const Source> source_;
    Column rows_;
    Buffer hashes_, places_, refused_;
};

// Releases what has been handed out, unless all of it has been.
class Result {
  public:
    Result() = default;
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;
    ~Result() {
        for (ArrowArray* array : {&decoded.rows, &decoded.hashes, &decoded.places, &decoded.refused}) {
            if (array->release != nullptr) array->release(array);
        }
    }

    GaelpDecoded decoded = {};
};

void decode(const ArrowSchema& relation, ArrowArray& lines, int64_t longest, GaelpDecoded& out) {
    const auto source = std::make_shared<const Source>(lines);
    if (!source->is_bytes() || source->size() > kMostBytes) throw std::invalid_argument("lines");
    const Field root = read_field(relation);
    if (root.kind != Kind::Record || root.nullable)
        throw std::invalid_argument("rows are structs, and not NULL");
    Decoder decoder(root, source);
    decoder.decode(longest);
    Result result;
    decoder.hand_out(result.decoded);
    out = std::exchange(result.decoded, {});
}

}  // namespace
}  // namespace gaelp

int32_t gaelp_interface() {
    return 2;
}

int32_t gaelp_decode(const ArrowSchema* relation, ArrowArray* lines, int64_t longest, GaelpDecoded* out) {
    try {
        gaelp::decode(*relation, *lines, longest, *out);
        return 0;
    } catch (const std::invalid_argument&) {
        return EINVAL;
    } catch (...) {
        return ENOMEM;
    }
}
