//! The `advertisex` program.

use std::process::ExitCode;

/// Records of all sizes are freed by other threads than allocated them, and large runs of them
/// come and go; jemalloc replays a fifth faster here than the alternatives (docs/decisions.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    advertisex::cli::main()
}
