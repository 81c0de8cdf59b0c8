//! Writes the inputs to start from: `seeds DIR`, a folder for each target.

use std::error::Error;
use std::path::PathBuf;

use advertisex_fuzz::Target;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::args_os().nth(1).ok_or("a directory is expected")?);
    for target in Target::ALL {
        let dir = root.join(target.name());
        std::fs::create_dir_all(&dir)?;
        for (number, seed) in target.seeds().into_iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
