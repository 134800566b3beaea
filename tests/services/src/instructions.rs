//! How many machine instructions a function takes, counted by callgrind: the same on a busy machine and on a quiet one.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::environment::may_lack;
use crate::error::{Error, Result};
use crate::package::VALGRIND;

/// The C library compares 16 bytes at a time and not 32 at once, so that an end at the first difference shows.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F";

/// Runs one test of the calling test program under callgrind, and says of each call of a function how many instructions it took; or nothing where
/// there is no valgrind, which is said on standard error.
///
/// # Behaviour
/// The function is named by its whole path, crate first. It must be neither inlined nor generic, and not call itself.
///
/// # Errors
/// When the test fails, or the function is never called.
///
/// # Panics
/// Without valgrind, when [`REQUIRE`](crate::REQUIRE) says that nothing may be missing.
pub fn instructions(test: &str, function: &str) -> Result<Option<Vec<u64>>> {
    let Some(valgrind) = may_lack(VALGRIND.program("valgrind")) else { return Ok(None) };
    let folder = tempfile::tempdir().map_err(Error::io("a folder for the counts"))?;
    let program = std::env::current_exe().map_err(Error::io("this program"))?;
    let output = Command::new(&valgrind)
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={function}"))
        .arg(format!("--dump-after={function}"))
        .arg(format!("--callgrind-out-file={}", folder.path().join("counts").display()))
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(valgrind.display().to_string()))?;
    let counts = counts(folder.path()).map_err(Error::io("the counts"))?;
    if output.status.success() && !counts.is_empty() {
        return Ok(Some(counts));
    }
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(Error::refused(format!("counting the instructions of {function} in {test}"), said.concat()))
}

/// One file a call, in the order of their numbers; what is left at the end has a file without one.
fn counts(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.extension().and_then(|part| part.to_str()?.parse::<u32>().ok());
        let text = fs::read_to_string(&path)?;
        let total = text.lines().find_map(|line| line.strip_prefix("summary:")?.trim().parse().ok());
        if let (Some(number), Some(total)) = (number, total) {
            parts.push((number, total));
        }
    }
    parts.sort_unstable();
    Ok(parts.into_iter().map(|part| part.1).collect())
}
