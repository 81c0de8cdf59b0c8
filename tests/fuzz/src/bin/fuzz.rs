//! libFuzzer with one target, which `ADVERTISEX_FUZZ` names; see `tests/fuzz/run`.

#![no_main]

use std::sync::LazyLock;

use advertisex_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    // The engine takes every panic for a finding. Those of the Parquet library, and of the Arrow
    // buffers that it fills, are caught by its reader.
    let engine = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let caught = |file: &str| file.contains("/parquet-") || file.contains("/arrow-buffer-");
        if !panic.location().is_some_and(|place| caught(place.file())) {
            engine(panic);
        }
    }));
    let name = std::env::var("ADVERTISEX_FUZZ").unwrap_or_default();
    Target::named(&name).unwrap_or_else(|| panic!("ADVERTISEX_FUZZ={name} is no target"))
});

fuzz_target!(|bytes: &[u8]| TARGET.take(bytes));
