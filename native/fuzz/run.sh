#!/bin/sh
# Fuzzes the decoder under the address and undefined-behaviour sanitizers: run.sh FOLDER SECONDS
#
# With libFuzzer, where a clang++ (or CXX) has it; else with driver.cpp. Inputs with a finding are left in FOLDER.
set -eu
native=$(cd "$(dirname "$0")/.." && pwd)
folder=$1 seconds=$2
mkdir -p "$folder/corpus"
compile() {
    "$@" -std=c++17 -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -isystem "$native/vendor" \
        -o "$folder/fuzz_decoder" "$native/fuzz/fuzz_decoder.cpp" "$native/decoder.cpp"
}
export ASAN_OPTIONS=handle_abort=1 UBSAN_OPTIONS=print_stacktrace=1
if compile ${CXX:-clang++} -fsanitize=fuzzer,address,undefined 2>"$folder/libfuzzer.log"; then
    exec "$folder/fuzz_decoder" -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$folder/finding-" "$folder/corpus" "$native/fuzz/seeds"
fi
echo "no libFuzzer here: inputs are changed at random" >&2
compile ${CXX:-c++} -fsanitize=address,undefined "$native/fuzz/driver.cpp"
exec "$folder/fuzz_decoder" "$folder/finding" "$seconds" "$(date +%s)" "$native"/fuzz/seeds/*
