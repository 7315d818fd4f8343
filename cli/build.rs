//! Links `tiphys` at a fixed address: each step starts this program twice (the sandbox's keeper and `wait`), and
//! relocating its tables at every start costs more than those processes do. The libraries it loads stay relocatable.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
