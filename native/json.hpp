// Scanning JSON text strictly. Every line that is scanned has its line end, which may stand inside no token and which nothing here
// takes for space: no scan runs past it, and none needs to ask where the line ends.
#pragma once

#include <algorithm>
#include <vector>

#include "bytes.hpp"

namespace gaelp {

constexpr int kMaxDepth = 100;  // well below the platform's limit: deeper lines are left to Python

struct Span {
    const char* begin;
    const char* end;
    bool escaped;  // holds a backslash
    size_t size() const { return static_cast<size_t>(end - begin); }
};

inline bool is_digit(char c) {
    return static_cast<unsigned char>(c - '0') < 10;
}

inline const char* skip_space(const char* p) {
    while (*p == ' ' || *p == '\t' || *p == '\r') ++p;
    return p;
}

// How many bytes the character of several bytes at `p` has; 0 if it is not proper UTF-8 (an overlong form, a surrogate, ...).
inline int utf8_length(const char* p) {
    const auto byte = [p](int i) { return static_cast<unsigned char>(p[i]); };
    const auto follows = [&byte](int i) { return (byte(i) & 0xC0) == 0x80; };
    const unsigned first = byte(0);
    if (first < 0xC2 || first > 0xF4 || !follows(1)) return 0;
    if (first < 0xE0) return 2;
    if (first < 0xF0) {
        if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return 0;
        return follows(2) ? 3 : 0;
    }
    if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return 0;
    return follows(2) && follows(3) ? 4 : 0;
}

inline int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

inline int hex_quad(const char* p) {
    int value = 0;
    for (int i = 0; i < 4; ++i) {
        const int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

// Scans text of one block of lines.
class Scanner {
  public:
    explicit Scanner(const char* end) : end_(end) {}

    // The string whose opening quote stands at `p`; `p` moves behind its closing quote. Escapes are not looked into.
    bool string(const char*& p, Span& out) const {
        const char* q = p + 1;
        out.begin = q;
        out.escaped = false;
        for (;;) {
            q = plain_end(q);
            const unsigned char c = static_cast<unsigned char>(*q);
            if (c == '"') break;
            if (c == '\\') {
                out.escaped = true;
                if (static_cast<unsigned char>(q[1]) < 0x20) return false;
                if (static_cast<unsigned char>(q[1]) >= 0x80) return false;
                q += 2;
            } else {
                const int length = c < 0x80 ? 0 : utf8_length(q);
                if (length == 0) return false;
                q += length;
            }
        }
        out.end = q;
        p = q + 1;
        return true;
    }

    // Moves `p` behind a value of any form; false unless it is proper JSON without duplicate keys and halves of surrogate pairs.
    bool value(const char*& p, int depth) {
        switch (*p) {
            case '"':
                return checked_string(p);
            case '{':
                return object(p, depth);
            case '[':
                return array(p, depth);
            case 't':
                return word(p, "true");
            case 'f':
                return word(p, "false");
            case 'n':
                return word(p, "null");
            default:
                return number(p) || (lenient_ && constant(p));
        }
    }

    // Moves `p` behind a value that is JSON as far as its form goes: what `value` refuses besides passes, which are keys that are, or may
    // be, the same, halves of surrogate pairs, and words that some producers write for numbers.
    bool well_formed(const char*& p, int depth) {
        lenient_ = true;
        const bool found = value(p, depth);
        lenient_ = false;
        return found;
    }

    template <size_t N>
    static bool word(const char*& p, const char (&text)[N]) {
        for (size_t i = 0; i + 1 < N; ++i) {
            if (p[i] != text[i]) return false;
        }
        p += N - 1;
        return true;
    }

    static bool number(const char*& p) {
        const char* q = p;
        if (*q == '-') ++q;
        if (!is_digit(*q)) return false;
        if (*q++ != '0') q = digits_end(q);
        if (*q == '.') {
            if (!is_digit(*++q)) return false;
            q = digits_end(q);
        }
        if (*q == 'e' || *q == 'E') {
            ++q;
            if (*q == '+' || *q == '-') ++q;
            if (!is_digit(*q)) return false;
            q = digits_end(q);
        }
        p = q;
        return true;
    }

    static const char* digits_end(const char* q) {
        while (is_digit(*q)) ++q;
        return q;
    }

    const char* end() const { return end_; }

  private:
    // The first byte from `q` on that is a quote, a backslash, a control character or no ASCII.
    const char* plain_end(const char* q) const {
        constexpr uint64_t ones = 0x0101010101010101ULL, highs = ones * 0x80;
        while (end_ - q >= 8) {
            const uint64_t x = load64(q), quote = x ^ (ones * '"'), slash = x ^ (ones * '\\');
            const uint64_t found =
                (x | ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
                highs;
            if (found != 0) return q + (__builtin_ctzll(found) >> 3);
            q += 8;
        }
        for (;; ++q) {
            const unsigned char c = static_cast<unsigned char>(*q);
            if (c == '"' || c == '\\' || c < 0x20 || c >= 0x80) return q;
        }
    }

    static bool constant(const char*& p) {
        const char* q = *p == '-' ? p + 1 : p;
        if (*q == 'I' ? !word(q, "Infinity") : q != p || !word(q, "NaN")) return false;
        p = q;
        return true;
    }

    bool checked_string(const char*& p) {
        Span span;
        return string(p, span) && (!span.escaped || escapes_are_fine(span));
    }

    bool escapes_are_fine(const Span& span) {
        for (const char* q = span.begin; q < span.end; ++q) {
            if (*q != '\\') continue;
            switch (*++q) {
                case '"':
                case '\\':
                case '/':
                case 'b':
                case 'f':
                case 'n':
                case 'r':
                case 't':
                    break;
                case 'u': {
                    const int unit = hex_quad(q + 1);
                    if (unit < 0) return false;
                    q += 4;
                    if (unit < 0xD800 || unit >= 0xE000) break;
                    const int low = unit < 0xDC00 && q[1] == '\\' && q[2] == 'u' ? hex_quad(q + 3) : -1;
                    if (low >= 0xDC00 && low < 0xE000) {
                        q += 6;
                    } else if (!lenient_) {
                        return false;
                    }
                    break;
                }
                default:
                    return false;
            }
        }
        return true;
    }

    bool array(const char*& p, int depth) {
        if (depth >= kMaxDepth) return false;
        p = skip_space(p + 1);
        if (*p == ']') return ++p, true;
        for (;;) {
            if (!value(p, depth + 1)) return false;
            p = skip_space(p);
            if (*p == ']') return ++p, true;
            if (*p != ',') return false;
            p = skip_space(p + 1);
        }
    }

    bool object(const char*& p, int depth) {
        if (depth >= kMaxDepth) return false;
        p = skip_space(p + 1);
        if (*p == '}') return ++p, true;
        const size_t first = keys_.size();
        for (;;) {
            Span key;
            // Two spellings of a key may be one key: those with escapes are left to Python.
            if (*p != '"' || !string(p, key) || (key.escaped && !(lenient_ && escapes_are_fine(key))))
                return keys_.resize(first), false;
            keys_.push_back(key);
            p = skip_space(p);
            if (*p != ':') return keys_.resize(first), false;
            p = skip_space(p + 1);
            if (!value(p, depth + 1)) return keys_.resize(first), false;
            p = skip_space(p);
            if (*p == '}') break;
            if (*p != ',') return keys_.resize(first), false;
            p = skip_space(p + 1);
        }
        ++p;
        const bool fine = distinct(first);
        keys_.resize(first);
        return fine || lenient_;
    }

    // Whether the keys from `first` on differ; puts them in another order.
    bool distinct(size_t first) {
        const auto begin = keys_.begin() + static_cast<std::ptrdiff_t>(first);
        const auto less = [](const Span& a, const Span& b) {
            return a.size() != b.size() ? a.size() < b.size() : std::memcmp(a.begin, b.begin, a.size()) < 0;
        };
        const auto same = [](const Span& a, const Span& b) {
            return a.size() == b.size() && std::memcmp(a.begin, b.begin, a.size()) == 0;
        };
        if (keys_.size() - first > 1) std::sort(begin, keys_.end(), less);
        return std::adjacent_find(begin, keys_.end(), same) == keys_.end();
    }

    const char* end_;
    std::vector<Span> keys_;  // of the objects that are open
    bool lenient_ = false;   // see `well_formed`
};

}  // namespace gaelp
