// XXH3's 64-bit hash with seed 0 and the default secret: the same values as `xxhash.xxh3_64_intdigest` in Python.
// Written after the algorithm's public description, doc/xxhash_spec.md of https://github.com/Cyan4973/xxHash.
#pragma once

#include "bytes.hpp"

namespace gaelp {

constexpr uint64_t kPrime32_1 = 0x9E3779B1U, kPrime32_2 = 0x85EBCA77U, kPrime32_3 = 0xC2B2AE3DU;
constexpr uint64_t kPrime64_1 = 0x9E3779B185EBCA87ULL, kPrime64_2 = 0xC2B2AE3D27D4EB4FULL;
constexpr uint64_t kPrime64_3 = 0x165667B19E3779F9ULL, kPrime64_4 = 0x85EBCA77C2B2AE63ULL;
constexpr uint64_t kPrime64_5 = 0x27D4EB2F165667C5ULL;
constexpr uint64_t kPrimeMx1 = 0x165667919E3779F9ULL, kPrimeMx2 = 0x9FB21C651E98DF25ULL;

// clang-format off
alignas(64) constexpr unsigned char kSecret[192] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};
// clang-format on

inline uint64_t avalanche(uint64_t x) {
    x = (x ^ (x >> 37)) * kPrimeMx1;
    return x ^ (x >> 32);
}

inline uint64_t avalanche64(uint64_t x) {
    x = (x ^ (x >> 33)) * kPrime64_2;
    x = (x ^ (x >> 29)) * kPrime64_3;
    return x ^ (x >> 32);
}

inline uint64_t rotated(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

inline uint64_t folded(uint64_t a, uint64_t b) {
    const uint128 product = static_cast<uint128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t secret_at(size_t offset) { return load64(reinterpret_cast<const char*>(kSecret) + offset); }

inline uint64_t mixed(const char* data, size_t offset) {
    return folded(load64(data) ^ secret_at(offset), load64(data + 8) ^ secret_at(offset + 8));
}

inline uint64_t hash_small(const char* p, size_t n) {
    if (n > 8) {
        const uint64_t low = secret_at(24) ^ secret_at(32) ^ load64(p);
        const uint64_t high = secret_at(40) ^ secret_at(48) ^ load64(p + n - 8);
        return avalanche(n + swapped64(low) + high + folded(low, high));
    }
    if (n >= 4) {
        const uint64_t both = load32(p + n - 4) | static_cast<uint64_t>(load32(p)) << 32;
        uint64_t value = secret_at(8) ^ secret_at(16) ^ both;
        value = (value ^ rotated(value, 49) ^ rotated(value, 24)) * kPrimeMx2;
        value = (value ^ ((value >> 35) + n)) * kPrimeMx2;
        return value ^ (value >> 28);
    }
    if (n > 0) {
        const auto byte = [p](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(p[i])); };
        const uint32_t all = byte(n - 1) | static_cast<uint32_t>(n) << 8 | byte(0) << 16 | byte(n >> 1) << 24;
        const uint64_t both = secret_at(0);
        return avalanche64((static_cast<uint32_t>(both) ^ (both >> 32)) ^ all);
    }
    return avalanche64(secret_at(56) ^ secret_at(64));
}

inline uint64_t hash_medium(const char* p, size_t n) {
    uint64_t sum = n * kPrime64_1;
    if (n <= 128) {
        for (size_t i = ((n - 1) >> 5) + 1; i-- > 0;) {
            sum += mixed(p + i * 16, i * 32) + mixed(p + n - i * 16 - 16, i * 32 + 16);
        }
        return avalanche(sum);
    }
    for (size_t i = 0; i < 8; ++i) sum += mixed(p + i * 16, i * 16);
    sum = avalanche(sum);
    for (size_t i = 8; i < n >> 4; ++i) sum += mixed(p + i * 16, (i - 8) * 16 + 3);
    return avalanche(sum + mixed(p + n - 16, 119));
}

inline void add_stripe(uint64_t* sums, const char* p, size_t offset) {
    for (size_t i = 0; i < 8; ++i) {
        const uint64_t data = load64(p + i * 8), value = data ^ secret_at(offset + i * 8);
        sums[i ^ 1] += data;
        sums[i] += (value & 0xFFFFFFFF) * (value >> 32);
    }
}

inline uint64_t hash_large(const char* p, size_t n) {
    uint64_t sums[8] = {kPrime32_3, kPrime64_1, kPrime64_2, kPrime64_3, kPrime64_4, kPrime32_2, kPrime64_5, kPrime32_1};
    const char* const end = p + n;
    size_t stripe = 0;
    for (; end - p > 64; p += 64) {
        add_stripe(sums, p, stripe * 8);
        if (++stripe == 16) {
            stripe = 0;
            for (size_t i = 0; i < 8; ++i) {
                sums[i] = (sums[i] ^ (sums[i] >> 47) ^ secret_at(128 + i * 8)) * kPrime32_1;
            }
        }
    }
    add_stripe(sums, end - 64, 121);
    uint64_t total = n * kPrime64_1;
    for (size_t i = 0; i < 4; ++i) {
        total += folded(sums[2 * i] ^ secret_at(11 + 16 * i), sums[2 * i + 1] ^ secret_at(19 + 16 * i));
    }
    return avalanche(total);
}

inline uint64_t xxh3(const char* p, size_t n) {
    return n <= 16 ? hash_small(p, n) : n <= 240 ? hash_medium(p, n) : hash_large(p, n);
}

}  // namespace gaelp
