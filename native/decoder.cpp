// Lines of NDJSON -> Arrow columns, for the lines that are certain to be rows of a relation; the others are listed.
//
// What is accepted here must give the same columns as `gaelp_assets.ingest.decode`, bit by bit. What is not accepted goes there, where
// reasons are found. A plain C interface: no Python is called, so that the interpreter is free meanwhile.

#include "columns.hpp"
#include "xxh3.hpp"

namespace gaelp {
namespace {

struct Relation {
    Field root;
};

// `numbers`: kind, whether required, length of the name and number of children of each field, parents first.
Field read_field(const int32_t*& numbers, const char*& names) {
    Field field;
    field.kind = static_cast<Kind>(numbers[0]);
    field.required = numbers[1] != 0;
    field.name.assign(names, static_cast<size_t>(numbers[2]));
    names += numbers[2];
    const int32_t count = numbers[3];
    numbers += 4;
    for (int32_t i = 0; i < count; ++i) field.children.push_back(read_field(numbers, names));
    return field;
}

struct Place {
    int64_t number, start, end;
};

struct Batch {
    explicit Batch(const Relation& relation, const char* data) : row(relation.root, false, false, data) {}

    Column row;
    Buffer hashes;      // XXH3 of the line of each row
    Buffer places;      // of each row: which line of the data it is, where that starts and ends
    Buffer refused;     // the same of each line that is not accepted
    int64_t lines = 0;  // blank ones counted
    int64_t blank = 0;
    size_t rows = 0;
};

bool is_blank(const char* p, const char* end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) ++p;
    return p == end;
}

void decode(Batch& batch, const char* data, const char* end, int64_t longest) {
    Scanner scanner(end);
    const char* next;
    for (const char* line = data; line < end; line = next) {
        const void* const found = std::memchr(line, '\n', static_cast<size_t>(end - line));
        next = found == nullptr ? end : static_cast<const char*>(found) + 1;
        const Place place{batch.lines++, line - data, next - data};
        if (is_blank(line, next)) {
            ++batch.blank;
            continue;
        }
        if (found == nullptr) {  // nothing ends its scans: left to Python
            batch.refused.push(place);
            continue;
        }
        const char* const first = skip_space(line);
        const char* p = first;
        if (next - line <= longest && batch.row.take_object(p, scanner, 0) && is_blank(p, next)) {
            batch.hashes.push(xxh3(first, static_cast<size_t>(p - first)));
            batch.places.push(place);
            ++batch.rows;
            continue;
        }
        for (const auto& column : batch.row.children()) column->truncate(batch.rows);
        batch.refused.push(place);
    }
    batch.row.finish();
}

}  // namespace
}  // namespace gaelp

#define GAELP_API extern "C" __attribute__((visibility("default")))

// Changes with this interface; a library of another age is not used.
GAELP_API int32_t gaelp_interface() { return 1; }

GAELP_API uint64_t gaelp_hash(const char* data, int64_t size) { return gaelp::xxh3(data, static_cast<size_t>(size)); }

// The fields of a relation, or of the record `root`; to be freed with `gaelp_relation_free`. NULL: no memory.
GAELP_API void* gaelp_relation(const int32_t* numbers, const char* names) {
    try {
        return new gaelp::Relation{gaelp::read_field(numbers, names)};
    } catch (...) {
        return nullptr;
    }
}

GAELP_API void gaelp_relation_free(void* relation) { delete static_cast<gaelp::Relation*>(relation); }

// Decodes `size` bytes of lines. Relation and data must outlive the result, which is to be freed
// with `gaelp_batch_free`. NULL: no memory. Lines longer than `longest` bytes are refused.
GAELP_API void* gaelp_decode(const void* relation, const char* data, int64_t size, int64_t longest) {
    try {
        auto batch = std::make_unique<gaelp::Batch>(*static_cast<const gaelp::Relation*>(relation), data);
        gaelp::decode(*batch, data, data + size, longest);
        return batch.release();
    } catch (...) {
        return nullptr;
    }
}

GAELP_API void gaelp_batch_free(void* batch) { delete static_cast<gaelp::Batch*>(batch); }

// Writes lines and blank lines, then address and size of hashes, places and refused lines, then what
// `Column::describe` says of each column; returns how many numbers there are to write, and writes none if `room` is smaller.
GAELP_API int64_t gaelp_describe(const void* handle, int64_t* out, int64_t room) {
    try {
        const auto& batch = *static_cast<const gaelp::Batch*>(handle);
        std::vector<int64_t> numbers{batch.lines, batch.blank};
        for (const gaelp::Buffer* buffer : {&batch.hashes, &batch.places, &batch.refused}) {
            numbers.push_back(static_cast<int64_t>(reinterpret_cast<intptr_t>(buffer->data())));
            numbers.push_back(static_cast<int64_t>(buffer->size()));
        }
        for (const auto& column : batch.row.children()) column->describe(numbers);
        if (static_cast<int64_t>(numbers.size()) <= room) std::copy(numbers.begin(), numbers.end(), out);
        return static_cast<int64_t>(numbers.size());
    } catch (...) {
        return -1;
    }
}
