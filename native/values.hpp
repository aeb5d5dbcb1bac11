// Text of one value -> the value, for every scalar type of the catalogue. Each function takes only forms that it is certain of, and
// returns false for all others, right or wrong: those are Python's to judge (`gaelp_assets.ingest.decode.reasons`).
#pragma once

#include <fast_float.h>
#include <cmath>

#include "json.hpp"

namespace gaelp {

constexpr int64_t kMicrosecondsOfDay = 86'400'000'000;
constexpr int64_t kFirstMicrosecond = -62'135'596'800'000'000;  // 0001-01-01
constexpr int64_t kLastMicrosecond = 253'402'300'799'999'999;   // of the year 9999
constexpr double kExactIntegers = 0x1p53;  // from here on, a double does not hold every integer
constexpr double kIntegersEnd = 0x1p63;    // from here on, 64 bits do not hold it

inline bool parse_integer(const char*& p, int64_t& out) {
    const char* q = p;
    const bool negative = *q == '-';
    if (negative) ++q;
    const char* const first = q;
    uint64_t value = 0;
    while (is_digit(*q) && q - first < 19) value = value * 10 + static_cast<uint64_t>(*q++ - '0');
    if (q == first || (*first == '0' && q - first > 1) || is_digit(*q)) return false;
    if (*q == '.' || *q == 'e' || *q == 'E') return false;
    if (value > static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0)) return false;
    out = static_cast<int64_t>(negative ? 0 - value : value);
    p = q;
    return true;
}

// The double nearest to the number; false if it is none of JSON's, overflows or underflows, or is an integer that loses a digit.
inline bool parse_double(const char*& p, const char* end, double& out) {
    // fast_float takes more than JSON has: zeros in front, a point without digits on one side, and words. Of "1e" it takes the "1", and
    // no caller takes the "e".
    const char* const begin = *p == '-' ? p + 1 : p;
    const char* q = Scanner::digits_end(begin);
    if (q == begin || (*begin == '0' && q - begin > 1) || (*q == '.' && !is_digit(q[1]))) return false;
    const auto result = fast_float::from_chars(p, end, out);
    q = result.ptr;
    if (result.ec != std::errc() || !std::isfinite(out)) return false;
    if (out == 0) {
        const char* digit = begin;
        while (*digit == '0' || *digit == '.') ++digit;
        if (is_digit(*digit)) return false;  // not zero as written
        if (q - p == 2) out = 0.0;           // -0: an integer's zero has no sign
    } else if (std::fabs(out) >= kExactIntegers &&
               std::all_of(p, q, [](char c) { return c == '-' || is_digit(c); })) {
        int64_t integer;
        const char* start = p;
        if (std::fabs(out) >= kIntegersEnd || !parse_integer(start, integer)) return false;
        if (static_cast<int64_t>(out) != integer) return false;
    }
    p = q;
    return true;
}

inline bool two_digits(const char* p, int& out) {
    if (!is_digit(p[0]) || !is_digit(p[1])) return false;
    out = (p[0] - '0') * 10 + (p[1] - '0');
    return true;
}

// YYYY-MM-DD -> days since 1970 in the Gregorian calendar, from the year 1 on.
inline bool parse_day(const char* p, int64_t& out) {
    int century, years, month, day;
    if (!two_digits(p, century) || !two_digits(p + 2, years) || p[4] != '-' || !two_digits(p + 5, month) ||
        p[7] != '-' || !two_digits(p + 8, day)) {
        return false;
    }
    const int year = century * 100 + years;
    static constexpr int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > lengths[month - 1] + (month == 2 && leap ? 1 : 0)) return false;
    // Years that begin in March, in cycles of 400 years.
    const int y = month <= 2 ? year - 1 : year, cycle = y / 400, of_cycle = y - cycle * 400;
    const int day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    out = static_cast<int64_t>(cycle) * 146'097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 +
          day_of_year - 719'468;
    return true;
}

inline bool parse_date(const Span& text, int64_t& days) {
    return text.size() == 10 && !text.escaped && parse_day(text.begin, days);
}

// HH:MM:SS with at most six digits of a fraction -> microseconds; `p` moves behind it. `brief`: seconds may be left out, and minutes.
inline bool parse_clock(const char*& p, const char* end, bool brief, int64_t& out) {
    int hour, minute = 0, second = 0;
    const auto part = [&p, end](int& value, int most) {
        if (end - p < 2 || !two_digits(p, value) || value > most) return false;
        p += 2;
        return true;
    };
    const auto colon = [&p, end] { return p < end && *p == ':' ? (++p, true) : false; };
    if (!part(hour, 23)) return false;
    const bool minutes = colon();
    if (minutes ? !part(minute, 59) : !brief) return false;
    const bool seconds = minutes && colon();
    if (seconds ? !part(second, 59) : !brief) return false;
    out = ((hour * 60 + minute) * 60 + second) * int64_t{1'000'000};
    if (seconds && p < end && *p == '.') {
        const char* const fraction = ++p;
        int64_t micros = 0, unit = 1'000'000;
        while (p < end && is_digit(*p)) {
            if (p - fraction == 6) return false;
            micros = micros * 10 + (*p++ - '0');
            unit /= 10;
        }
        if (p == fraction) return false;
        out += micros * unit;
    }
    return true;
}

inline bool parse_time(const Span& text, int64_t& microseconds) {
    const char* p = text.begin;
    return !text.escaped && parse_clock(p, text.end, false, microseconds) && p == text.end;
}

// The minutes of a zone, Z or +HH, +HHMM or +HH:MM, which is all that stands from `p` on.
inline bool parse_zone(const char* p, const char* end, int64_t& minutes) {
    minutes = 0;
    if (end - p == 1) return *p == 'Z';
    if (end - p < 3 || (*p != '+' && *p != '-')) return false;
    const bool west = *p == '-';
    int hours, rest = 0;
    if (!two_digits(p + 1, hours) || hours > 23) return false;
    p += 3;
    if (p < end) {
        if (*p == ':') ++p;
        if (end - p != 2 || !two_digits(p, rest) || rest > 59) return false;
    }
    minutes = west ? -(hours * 60 + rest) : hours * 60 + rest;
    return true;
}

// A zone must stand at the end (`zoned`) or must not.
inline bool parse_moment(const Span& text, bool zoned, int64_t& microseconds) {
    int64_t days, time, zone;
    if (text.escaped || text.size() < 13 || !parse_day(text.begin, days)) return false;
    const char* p = text.begin + 10;
    if ((*p != 'T' && *p != ' ') || !parse_clock(++p, text.end, true, time)) return false;
    microseconds = days * kMicrosecondsOfDay + time;
    if (!zoned) return p == text.end;
    if (!parse_zone(p, text.end, zone)) return false;
    microseconds -= zone * 60'000'000;
    return microseconds >= kFirstMicrosecond && microseconds <= kLastMicrosecond;
}

// A decimal number without an exponent -> its billionfold; at most 29 digits before the point and 9 after it.
inline bool parse_numeric(const char* p, const char* end, int128& out) {
    const bool negative = p < end && *p == '-';
    if (negative) ++p;
    const char* const first = p;
    int128 value = 0;
    while (p < end && is_digit(*p) && p - first < 30) value = value * 10 + (*p++ - '0');
    const std::ptrdiff_t digits = p - first;
    if (digits == 0 || digits > 29 || (*first == '0' && digits > 1)) return false;
    int scale = 0;
    if (p < end && *p == '.') {
        const char* const fraction = ++p;
        for (; p < end && is_digit(*p) && scale < 9; ++scale) value = value * 10 + (*p++ - '0');
        if (p == fraction) return false;
    }
    if (p != end) return false;
    for (; scale < 9; ++scale) value *= 10;
    out = negative ? -value : value;
    return true;
}

// Base64 of the standard alphabet, with its padding and without stray bits.
inline bool parse_base64(const Span& text, Buffer& out) {
    static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (text.escaped || text.size() % 4 != 0) return false;
    for (const char* p = text.begin; p < text.end; p += 4) {
        const bool last = p + 4 == text.end;
        const int padding = !last || p[3] != '=' ? 0 : p[2] != '=' ? 1 : 2;
        uint32_t group = 0;
        for (int i = 0; i < 4 - padding; ++i) {
            const void* const found = std::memchr(alphabet, p[i], 64);
            if (found == nullptr) return false;
            group |= static_cast<uint32_t>(static_cast<const char*>(found) - alphabet) << (18 - 6 * i);
        }
        if ((padding == 1 && (group & 0xFF) != 0) || (padding == 2 && (group & 0xFFFF) != 0)) return false;
        for (int i = 0; i < 3 - padding; ++i) out.push(static_cast<char>(group >> (16 - 8 * i)));
    }
    return true;
}

inline void push_utf8(int code, Buffer& out) {
    const auto push = [&out](int byte) { out.push(static_cast<char>(byte)); };
    if (code < 0x80) {
        push(code);
    } else if (code < 0x800) {
        push(0xC0 | code >> 6);
        push(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        push(0xE0 | code >> 12);
        push(0x80 | (code >> 6 & 0x3F));
        push(0x80 | (code & 0x3F));
    } else {
        push(0xF0 | code >> 18);
        push(0x80 | (code >> 12 & 0x3F));
        push(0x80 | (code >> 6 & 0x3F));
        push(0x80 | (code & 0x3F));
    }
}

// The text of a string with escapes; false where one is wrong, or half of a surrogate pair.
inline bool unescape(const Span& text, Buffer& out) {
    for (const char* p = text.begin; p < text.end;) {
        if (*p != '\\') {
            out.push(*p++);
            continue;
        }
        const char c = p[1];
        p += 2;
        if (c == '"' || c == '\\' || c == '/') {
            out.push(c);
        } else if (c == 'b') {
            out.push('\b');
        } else if (c == 'f') {
            out.push('\f');
        } else if (c == 'n') {
            out.push('\n');
        } else if (c == 'r') {
            out.push('\r');
        } else if (c == 't') {
            out.push('\t');
        } else if (c == 'u') {
            int code = hex_quad(p);
            if (code < 0 || (code >= 0xDC00 && code < 0xE000)) return false;
            p += 4;
            if (code >= 0xD800 && code < 0xDC00) {
                if (p[0] != '\\' || p[1] != 'u') return false;
                const int low = hex_quad(p + 2);
                if (low < 0xDC00 || low >= 0xE000) return false;
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                p += 6;
            }
            push_utf8(code, out);
        } else {
            return false;
        }
    }
    return true;
}

}  // namespace gaelp
