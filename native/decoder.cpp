// Lines of NDJSON -> Arrow columns, for the lines that are certain to be rows of a relation; the others are listed.
//
// What is accepted here must give the same columns as `gaelp_assets.ingest.decode`, bit by bit. What is not accepted goes there, where
// reasons are found.

#include "decoder.hpp"

#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

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

// Structs of integers as an array of arrays.
template <typename Struct>
void hand_out_structs(Buffer structs, ArrowArray& out) {
    auto array = std::make_unique<Outgoing>();
    const size_t length = structs.size() / sizeof(Struct);
    array->add_validity({});
    hand_out_integers(std::move(structs), array->make_children(1)[0]);
    Outgoing::hand_out(std::move(array), length, 0, out);
}

bool is_blank(const char* p, const char* end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n')) ++p;
    return p == end;
}

// Calls `take(line, next)` for each line with its end that is not too long, and notes its place as one that is taken, or refused.
template <typename Take>
void each_line(const Source& source, int64_t longest, Buffer& taken, Buffer& refused, Take take) {
    const char* const data = source.data();
    const char* const end = data + source.size();
    int64_t number = 0;
    const char* next;
    for (const char* line = data; line < end; line = next, ++number) {
        const void* const found = std::memchr(line, '\n', static_cast<size_t>(end - line));
        next = found == nullptr ? end : static_cast<const char*>(found) + 1;
        if (is_blank(line, next)) continue;
        // Nothing ends the scans of a line without its end: it is left to Python.
        const bool accepted = found != nullptr && next - line <= longest && take(line, next);
        (accepted ? taken : refused).push(Place{number, line - data, next - data});
    }
}

class Decoder {
  public:
    Decoder(const Field& relation, std::shared_ptr<const Source> source)
        : source_(std::move(source)), rows_(relation, false, false, source_->data()) {}

    void decode(int64_t longest) {
        Scanner scanner(source_->data() + source_->size());
        each_line(*source_, longest, places_, refused_, [&](const char* line, const char* next) {
            const char* const first = skip_space(line);
            const char* p = first;
            const size_t rows = rows_.length();
            if (!rows_.take_row(p, scanner) || !is_blank(p, next)) {
                rows_.truncate(rows);
                return false;
            }
            hashes_.push(uint64_t{XXH3_64bits(first, static_cast<size_t>(p - first))});
            return true;
        });
    }

    void hand_out(GaelpDecoded& out) {
        rows_.hand_out(source_, out.rows);
        hand_out_integers(std::move(hashes_), out.hashes);
        hand_out_structs<Place>(std::move(places_), out.places);
        hand_out_structs<Place>(std::move(refused_), out.refused);
    }

  private:
    std::shared_ptr<const Source> source_;
    Column rows_;
    Buffer hashes_, places_, refused_;
};

class Explainer {
  public:
    Explainer(const Field& relation, std::shared_ptr<const Source> source)
        : source_(std::move(source)), rows_(relation, false, false, source_->data()) {}

    void explain(int64_t longest) {
        Scanner scanner(source_->data() + source_->size());
        std::vector<Fault> faults;
        each_line(*source_, longest, places_, refused_, [&](const char* line, const char* next) {
            const char* p = skip_space(line);
            const size_t rows = rows_.length();
            faults.clear();
            // A line without a fault is a row, which is not what is asked here.
            if (!rows_.take_faulty(p, scanner, faults) || !is_blank(p, next) || faults.empty()) {
                rows_.truncate(rows);
                return false;
            }
            for (const Fault& fault : faults) faults_.push(fault);
            return true;
        });
    }

    void hand_out(GaelpExplained& out) {
        rows_.hand_out(source_, out.rows);
        hand_out_structs<Place>(std::move(places_), out.places);
        hand_out_structs<Place>(std::move(refused_), out.refused);
        hand_out_structs<Fault>(std::move(faults_), out.faults);
    }

  private:
    std::shared_ptr<const Source> source_;
    Column rows_;
    Buffer places_, refused_, faults_;
};

void release(std::initializer_list<ArrowArray*> arrays) {
    for (ArrowArray* array : arrays) {
        if (array->release != nullptr) array->release(array);
    }
}

void release_all(GaelpDecoded& decoded) {
    release({&decoded.rows, &decoded.hashes, &decoded.places, &decoded.refused});
}

void release_all(GaelpExplained& explained) {
    release({&explained.rows, &explained.places, &explained.refused, &explained.faults});
}

// Releases what has been handed out, unless all of it has been.
template <typename Handed>
class Result {
  public:
    Result() = default;
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;
    ~Result() { release_all(handed); }

    Handed handed = {};
};

// Reads the relation and the lines, has `work` done with them, and hands all of it out or nothing.
template <typename Worker, typename Handed, typename Work>
int32_t hand_out(const ArrowSchema& schema, ArrowArray& lines, Handed& out, Work work) {
    try {
        const auto source = std::make_shared<const Source>(lines);
        if (!source->is_bytes() || source->size() > kMostBytes) throw std::invalid_argument("lines");
        const Field root = read_field(schema);
        if (root.kind != Kind::Record || root.nullable)
            throw std::invalid_argument("rows are structs, and not NULL");
        Worker worker(root, source);
        work(worker, root);
        Result<Handed> result;
        worker.hand_out(result.handed);
        out = std::exchange(result.handed, {});
        return 0;
    } catch (const std::invalid_argument&) {
        return EINVAL;
    } catch (...) {
        return ENOMEM;
    }
}

}  // namespace
}  // namespace gaelp

int32_t gaelp_interface() {
    return 3;
}

int32_t gaelp_decode(const ArrowSchema* relation, ArrowArray* lines, int64_t longest, GaelpDecoded* out) {
    return gaelp::hand_out<gaelp::Decoder>(
        *relation, *lines, *out,
        [longest](gaelp::Decoder& decoder, const gaelp::Field&) { decoder.decode(longest); });
}

int32_t gaelp_explain(const ArrowSchema* relation, ArrowArray* lines, int64_t longest, GaelpExplained* out) {
    return gaelp::hand_out<gaelp::Explainer>(
        *relation, *lines, *out, [longest](gaelp::Explainer& explainer, const gaelp::Field& root) {
            for (const gaelp::Field& field : root.children) {
                if (!field.may_be_missing()) throw std::invalid_argument("a field that each line must have");
            }
            explainer.explain(longest);
        });
}
