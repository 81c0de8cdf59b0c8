//! libFuzzer with one target, which `ADVERTISEX_FUZZ` names; see `tests/fuzz/run`.

#![no_main]

use std::sync::LazyLock;

use advertisex_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("ADVERTISEX_FUZZ").unwrap_or_default();
    Target::named(&name).unwrap_or_else(|| panic!("ADVERTISEX_FUZZ={name} is no target"))
});

fuzz_target!(|bytes: &[u8]| TARGET.take(bytes));
