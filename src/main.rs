//! The `advertisex` program.

use std::process::ExitCode;

/// Short-lived records of all sizes, freed by other threads than allocated them: the system
/// allocator is slower at that by a third.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    advertisex::cli::main()
}
