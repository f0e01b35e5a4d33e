//! Migrations are embedded at compile time: a new file must trigger a build.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
