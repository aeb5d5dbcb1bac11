// The library's interface, in plain C. No Python is called, so that the interpreter is free while it works.
#pragma once

#include <cstdint>

#include "arrow.hpp"

#define GAELP_API __attribute__((visibility("default")))

extern "C" {

// What lines are decoded to: arrays of the same length for the rows, and one more. Each is the caller's to release.
struct GaelpDecoded {
    ArrowArray rows;    // of the relation's type
    ArrowArray hashes;  // int64: the bits of XXH3 of the line of each row, without the space around it
    ArrowArray
        places;  // three int64 each: which line a row is, from 0 on and blank ones counted; where that starts; where it ends
    ArrowArray refused;  // the same of each line that is not accepted and not blank
};

// What is found out about lines that are no rows. Each array is the caller's to release.
struct GaelpExplained {
    ArrowArray rows;     // of the relation's type: what is fine in the lines that are explained
    ArrowArray places;   // as of `GaelpDecoded`, of each of these lines
    ArrowArray refused;  // the same of each line that is not explained and not blank
    ArrowArray faults;   // five int64 each, ordered by rows: row, field or -1, kind (`Fault::What`), and where in the lines it starts and ends
};

// Changes with this interface; a library of another age is not used.
GAELP_API int32_t gaelp_interface();

// Decodes lines: an array of bytes, which is moved from, whatever is returned. `relation`: the relation's fields in a struct that
// is not nullable, with types as of `kind_of`. Lines of more than `longest` bytes are refused. Rows may point into the lines, and keep them.
//
// Returns 0, or a number as of <cerrno>; then nothing is written: ENOMEM, or EINVAL for a relation or lines that are not as said, or
// for more than 2^31 - 1 bytes.
GAELP_API int32_t gaelp_decode(const ArrowSchema* relation, ArrowArray* lines, int64_t longest,
                               GaelpDecoded* out);

// As `gaelp_decode`, of lines of which each is wrong somewhere: in `relation`, each field may be NULL or is an array, and has the key
// `kWantedKey` in its metadata if it is a fault that it is missing.
GAELP_API int32_t gaelp_explain(const ArrowSchema* relation, ArrowArray* lines, int64_t longest,
                                GaelpExplained* out);
}
