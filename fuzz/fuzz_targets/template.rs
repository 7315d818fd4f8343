#![no_main]

libfuzzer_sys::fuzz_target!(
    init: tiphys_parsers::begin("template"),
    |bytes: &[u8]| tiphys_parsers::run("template", bytes)
);
