#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tiphys_parsers::begin("annotations"),
    |bytes: &[u8]| tiphys_parsers::run("annotations", bytes)
);
