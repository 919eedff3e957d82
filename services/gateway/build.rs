//! Says that the program is made anew when the built page changes.

fn main() {
    println!("cargo::rerun-if-changed=../../ui/dist");
}
