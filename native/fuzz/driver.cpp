// Where there is no libFuzzer: changes the seeds at random for some seconds. An input with a finding is written to a file.
//
// driver FINDING SECONDS SEED_NUMBER FILE...

#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::string input;
const char* finding;

void save() {
    std::ofstream(finding, std::ios::binary) << input;
    std::fprintf(stderr, "the input is in %s\n", finding);
}

void try_input() {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

class Mutator {
  public:
    Mutator(std::vector<std::string> seeds, uint64_t number) : seeds_(std::move(seeds)), chance_(number) {}

    // Some lines of the seeds, with some changes.
    std::string next() {
        std::string text;
        for (size_t lines = 1 + below(4); lines > 0; --lines) text += line();
        for (size_t changes = below(6); changes > 0; --changes) change(text);
        return text;
    }

  private:
    size_t below(size_t end) { return std::uniform_int_distribution<size_t>(0, end - 1)(chance_); }

    std::string line() {
        const std::string& seed = seeds_[below(seeds_.size())];
        const size_t start = seed.rfind('\n', below(seed.size())) + 1;  // npos + 1 is the first byte
        return seed.substr(start, seed.find('\n', start) - start + 1);
    }

    void change(std::string& text) {
        static const char* const words[] = {"\"",
                                            "\\",
                                            "\\u",
                                            "\\ud83d",
                                            "\\udc00",
                                            "{",
                                            "}",
                                            "[",
                                            "]",
                                            ",",
                                            ":",
                                            "null",
                                            "true",
                                            "-",
                                            ".",
                                            "e",
                                            "0",
                                            "9",
                                            "\n",
                                            "\r\n",
                                            "\xC3",
                                            "\xE2\x82",
                                            "\xF0\x9F\x98\x80",
                                            "=",
                                            "T",
                                            "Z",
                                            "\"id\":1,",
                                            "18446744073709551616",
                                            "1e308"};
        const size_t at = below(text.size() + 1), size = std::min(below(12) + 1, text.size() - at);
        switch (below(6)) {
            case 0:
                if (at < text.size()) text[at] = static_cast<char>(below(256));
                break;
            case 1:
                text.erase(at, size);
                break;
            case 2:
                text.insert(at, words[below(std::size(words))]);
                break;
            case 3:
                text.insert(below(text.size() + 1), text.substr(at, size));
                break;
            case 4:
                text.resize(at);
                break;
            default: {
                const std::string other = line();
                text.replace(at, size, other, below(other.size() + 1), size);
            }
        }
    }

    std::vector<std::string> seeds_;
    std::mt19937_64 chance_;
};

}  // namespace

int main(int count, char** arguments) {
    if (count < 5) return std::fputs("driver FINDING SECONDS SEED_NUMBER FILE...\n", stderr), 2;
    finding = arguments[1];
    __sanitizer_set_death_callback(save);
    std::vector<std::string> seeds;
    for (int i = 4; i < count; ++i) {
        std::ifstream file(arguments[i], std::ios::binary);
        input.assign(std::istreambuf_iterator<char>(file), {});
        if (!file || input.empty()) return std::fprintf(stderr, "%s cannot be read\n", arguments[i]), 2;
        try_input();
        seeds.push_back(input);
    }
    Mutator mutator(std::move(seeds), std::strtoull(arguments[3], nullptr, 10));
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(arguments[2]));
    uint64_t inputs = 0;
    for (; std::chrono::steady_clock::now() < end; ++inputs) {
        input = mutator.next();
        try_input();
    }
    std::printf("%llu inputs, no finding\n", static_cast<unsigned long long>(inputs));
    return 0;
}
