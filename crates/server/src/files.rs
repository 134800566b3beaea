//! Files that only their owner may read, written so that a reader sees all of them or nothing.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::exit::StartError;
use crate::random;

/// Makes a folder, and those above it, for the owner only. An existing folder is left as it is.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file for writing that only the owner may read; makes it when it is missing.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    private().create(true).truncate(false).open(path)
}

/// Writes a new file under `name`: complete and on the disk before the name appears.
///
/// # Behaviour
/// Where the file system knows no links (FAT, exFAT, some mounts) the name appears before the content. Who must not see that holds a lock.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when the name is taken; the file there is left alone.
pub(crate) fn write_new(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    write_new_by(|from, to| fs::hard_link(from, to), folder, name, bytes)
}

/// Writes a file under a name that nobody else has, being random: complete and on the disk before the name appears, on every file system.
///
/// # Behaviour
/// A file of that name would be replaced.
pub(crate) fn write_unique(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(folder)?;
    write_whole(&temporary, bytes)?;
    fs::rename(&temporary, folder.join(name)).inspect_err(|_| {
        // What could not be finished is worth nothing.
        let _ = fs::remove_file(&temporary);
    })?;
    File::open(folder)?.sync_all()
}

/// Takes a folder's permissions from all but its owner. Returns whether there were any to take, and that went well.
pub(crate) fn close_to_others(folder: &Path) -> bool {
    let is_open = fs::metadata(folder).is_ok_and(|found| permissions_of_others(&found) != 0);
    #[cfg(unix)]
    return is_open && fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).is_ok();
    #[cfg(not(unix))]
    is_open
}

/// Refuses a file or folder that others than its owner may open. It is not closed to them without a word: they may have looked already.
///
/// # Errors
/// The command that closes it, and what to do `besides`.
pub(crate) fn require_private(what: &str, path: &Path, found: &Metadata, besides: &str) -> Result<(), StartError> {
    let others = permissions_of_others(found);
    if others == 0 {
        return Ok(());
    }
    let mode = if found.is_dir() { "700" } else { "600" };
    Err(StartError::environment(
        format!("the {what} {} is open to others than its owner", path.display()),
        format!("its permissions grant {others:03o} to group or world"),
        format!("Run: chmod {mode} '{}'{besides}.", path.display()),
    ))
}

/// The permissions that others than the owner have, 0 when none or where the system knows no such thing.
#[cfg_attr(not(unix), expect(unused_variables, reason = "there is nothing to look at"))]
fn permissions_of_others(found: &Metadata) -> u32 {
    #[cfg(unix)]
    return std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077;
    #[cfg(not(unix))]
    0
}

/// A link, not a rename: a rename would replace what another process put there meanwhile.
fn write_new_by(
    link: impl FnOnce(&Path, &Path) -> io::Result<()>,
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let (temporary, path) = (temporary(folder)?, folder.join(name));
    write_whole(&temporary, bytes)?;
    let linked = link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // There are no links here: the name is taken first, and the content follows.
        Err(_) => write_whole(&path, bytes)?,
    }
    File::open(folder)?.sync_all()
}

fn temporary(folder: &Path) -> io::Result<PathBuf> {
    Ok(folder.join(format!(".{}.tmp", Uuid::from_bytes(random::bytes().map_err(io::Error::other)?))))
}

/// Makes a file with this content, or none.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private().create_new(true).open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_once_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        write_new(folder.path(), "a", b"first").unwrap();
        let again = write_new(folder.path(), "a", b"second").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn where_there_are_no_links_a_name_is_still_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |bytes| write_new_by(|_, _| Err(io::ErrorKind::PermissionDenied.into()), folder.path(), "a", bytes);
        write(b"first").unwrap();
        assert_eq!(write(b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_unique_name_needs_no_link() {
        let folder = tempfile::tempdir().unwrap();
        write_unique(folder.path(), "a", b"first").unwrap();
        // A link would refuse the taken name.
        write_unique(folder.path(), "a", b"second").unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"second");
        assert!(write_unique(folder.path(), "no/such/folder", b"").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[cfg(unix)]
    #[test]
    fn files_and_folders_are_the_owners_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("x/y");
        make_folder(&inner).unwrap();
        write_new(&inner, "a", b"").unwrap();
        drop(open_private(&inner.join("b")).unwrap());
        write_unique(&inner, "c", b"").unwrap();
        write_new_by(|_, _| Err(io::ErrorKind::Unsupported.into()), &inner, "d", b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        for name in ["a", "b", "c", "d"] {
            assert_eq!(mode(&inner.join(name)), 0o600, "{name}");
        }
    }
}
