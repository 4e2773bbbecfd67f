//! Tells the linker that Node provides the napi symbols, and the code which quinn it was built with.
use std::{env, fs, path::Path};

fn main() {
    napi_build::setup();
    let lock = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let lock = fs::read_to_string(lock).expect("Cargo.lock is committed");
    let version = lock
        .split("[[package]]")
        .find(|package| package.contains("name = \"quinn-proto\""))
        .and_then(|package| package.split("version = \"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .expect("quinn-proto is locked");
    println!("cargo::rustc-env=QUINN_PROTO_VERSION={version}");
}
