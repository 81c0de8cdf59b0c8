//! The `advertisex` program.

use std::process::ExitCode;

/// Short-lived records of all sizes, freed by other threads than allocated them: the system
/// allocator is slower at that by a third.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    advertisex::cli::main()
}
