#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tiphys_parsers::begin("markers"),
    |bytes: &[u8]| tiphys_parsers::run("markers", bytes)
);
