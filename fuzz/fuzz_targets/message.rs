#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tiphys_parsers::begin("message"),
    |bytes: &[u8]| tiphys_parsers::run("message", bytes)
);
