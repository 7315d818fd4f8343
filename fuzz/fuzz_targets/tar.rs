#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tiphys_parsers::begin("tar"),
    |bytes: &[u8]| tiphys_parsers::run("tar", bytes)
);
