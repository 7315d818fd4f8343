#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tiphys_parsers::begin("zip"),
    |bytes: &[u8]| tiphys_parsers::run("zip", bytes)
);
