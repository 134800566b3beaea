//! Files that only their owner may read, written so that a reader sees all of them or nothing.

use std::ffi::OsStr;
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

/// Opens a file for writing that only the owner may read; makes it when it is missing. What root makes belongs to the folder's owner.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    match private().create_new(true).open(path) {
        Ok(made) => {
            give_to_owner_above(&made, path);
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => private().create(true).truncate(false).open(path),
        Err(error) => Err(error),
    }
}

/// Writes a new file under `name`: complete and on the disk before the name appears. What root makes belongs to the folder's owner.
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

/// Why a file was not replaced.
#[derive(Debug)]
pub(crate) enum NotReplaced {
    /// It cannot belong to whom the one of before belongs to, and is as it was.
    Owner(io::Error),
    /// It is as it was.
    Unchanged(io::Error),
    /// It is replaced, and nobody knows whether it will still be so after a power cut.
    Unsure(io::Error),
}

/// Replaces a file that is there, as [`write_unique`] writes one. It belongs to whom it belonged to before: what root replaces is not taken
/// from the service.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), NotReplaced> {
    replace_by(give, |folder| File::open(folder)?.sync_all(), folder, name, bytes)
}

fn replace_by(
    give: impl FnOnce(&File, &Metadata) -> io::Result<()>,
    sync: impl FnOnce(&Path) -> io::Result<()>,
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), NotReplaced> {
    let path = folder.join(name);
    let before = fs::metadata(&path).map_err(NotReplaced::Unchanged)?;
    let temporary = temporary(folder).map_err(NotReplaced::Unchanged)?;
    let file = write_whole(&temporary, bytes).map_err(NotReplaced::Unchanged)?;
    let replaced = give(&file, &before)
        .map_err(NotReplaced::Owner)
        .and_then(|()| fs::rename(&temporary, &path).map_err(NotReplaced::Unchanged));
    replaced.inspect_err(|_| {
        // What could not be finished is worth nothing.
        let _ = fs::remove_file(&temporary);
    })?;
    sync(folder).map_err(NotReplaced::Unsure)
}

/// Gives a file to the owner of another one. The group counts for nothing, since it may not open the file: where it cannot be given, it is
/// left.
#[cfg(unix)]
fn give(file: &File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        Err(_) if own.uid() == like.uid() => Ok(()),
        given => given.and_then(|()| file.sync_all()),
    }
}

#[cfg(not(unix))]
fn give(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Gives what was made under this path to the owner of the folder, if that can be done: what root makes there would keep the service out.
///
/// # Security
/// The folder's owner may put anything under the path, also a link to a file of root's. So only what was just made is given, by its own handle.
fn give_to_owner_above(made: &File, path: &Path) {
    let above = path.parent().map(fs::metadata);
    if let Some(Ok(above)) = above {
        let _ = give(made, &above);
    }
}

/// The same for a folder that is there, whoever made it, but never for what a link leads to.
pub(crate) fn give_folder_to_owner_above(folder: &Path) {
    let itself = || {
        let named = fs::symlink_metadata(folder).ok().filter(Metadata::is_dir)?;
        let opened = File::open(folder).ok()?;
        is_same(&opened.metadata().ok()?, &named).then_some(opened)
    };
    if let Some(itself) = itself() {
        give_to_owner_above(&itself, folder);
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Removes what commands that were killed have left of files that they were writing. Whoever calls this is the only one to write there.
///
/// # Errors
/// The folder cannot be read, or one of them not removed.
pub(crate) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_temporary(&entry.file_name()) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
    give_to_owner_above(&write_whole(&temporary, bytes)?, &path);
    let linked = link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // There are no links here: the name is taken first, and the content follows.
        Err(_) => give_to_owner_above(&write_whole(&path, bytes)?, &path),
    }
    File::open(folder)?.sync_all()
}

fn is_temporary(name: &OsStr) -> bool {
    let id = name.to_str().and_then(|name| name.strip_prefix('.')).and_then(|name| name.strip_suffix(".tmp"));
    id.is_some_and(|id| Uuid::try_parse(id).is_ok())
}

fn temporary(folder: &Path) -> io::Result<PathBuf> {
    Ok(folder.join(format!(".{}.tmp", Uuid::from_bytes(random::bytes().map_err(io::Error::other)?))))
}

/// Makes a file with this content, or none.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = private().create_new(true).open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })?;
    Ok(file)
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

    fn left(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
    }

    #[test]
    fn what_cannot_be_given_to_its_owner_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let denied = |_: &File, _: &Metadata| Err(io::ErrorKind::PermissionDenied.into());
        let replace = |bytes| replace_by(denied, |_| Ok(()), folder.path(), "a", bytes);
        assert!(matches!(replace(b"none"), Err(NotReplaced::Unchanged(_))), "there is nothing to replace");
        write_unique(folder.path(), "a", b"first").unwrap();
        assert!(matches!(replace(b"second"), Err(NotReplaced::Owner(_))));
        assert_eq!(left(folder.path()), [("a".to_owned(), b"first".to_vec())]);
    }

    #[test]
    fn that_the_folder_is_not_on_the_disk_does_not_undo_what_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        write_unique(folder.path(), "a", b"first").unwrap();
        let failed = |_: &Path| Err(io::Error::other("no disk"));
        let replaced = replace_by(give, failed, folder.path(), "a", b"second");
        assert!(matches!(replaced, Err(NotReplaced::Unsure(_))), "{replaced:?}");
        assert_eq!(left(folder.path()), [("a".to_owned(), b"second".to_vec())]);
    }

    #[cfg(unix)]
    #[test]
    fn what_root_replaces_belongs_to_whom_it_belonged_to() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        write_unique(folder.path(), "a", b"first").unwrap();
        let path = folder.path().join("a");
        // Only root can give a file away; without it the file stays the owner's own.
        let _ = chown(&path, Some(4711), Some(4712));
        let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        let before = owner(&path);
        replace(folder.path(), "a", b"second").unwrap();
        assert_eq!((owner(&path), fs::read(&path).unwrap()), (before, b"second".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn what_root_makes_in_a_folder_belongs_to_the_folders_owner() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let _ = chown(folder.path(), Some(4711), Some(4712));
        let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        let [file, whole, below] = ["a", "b", "c"].map(|name| folder.path().join(name));
        drop(open_private(&file).unwrap());
        write_new(folder.path(), "b", b"whole").unwrap();
        make_folder(&below).unwrap();
        for path in [&below, &file, &folder.path().join("none")] {
            give_folder_to_owner_above(path);
        }
        assert_eq!([owner(&file), owner(&whole), owner(&below)], [owner(folder.path()); 3]);
    }

    /// The service's user could have root give him any file otherwise.
    #[cfg(unix)]
    #[test]
    fn root_gives_nothing_away_that_was_there_before() {
        use std::os::unix::fs::{MetadataExt as _, chown, symlink};
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [file, below] = ["file", "below"].map(|name| elsewhere.path().join(name));
        drop(open_private(&file).unwrap());
        make_folder(&below).unwrap();
        // Only root has anything to give.
        let _ = chown(folder.path(), Some(4711), Some(4712));
        let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        let before = [owner(&file), owner(&below)];
        let at = |name| folder.path().join(name);
        symlink(&file, at("keys.lock")).unwrap();
        fs::hard_link(&file, at("server.lock")).unwrap();
        symlink(&below, at("keys")).unwrap();
        for name in ["keys.lock", "server.lock"] {
            drop(open_private(&at(name)).unwrap());
            assert_eq!(write_new(folder.path(), name, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            give_folder_to_owner_above(&at(name));
        }
        make_folder(&at("keys")).unwrap();
        give_folder_to_owner_above(&at("keys"));
        assert_eq!([owner(&file), owner(&below)], before);
    }

    #[test]
    fn what_a_killed_command_has_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = temporary(folder.path()).unwrap();
        fs::write(&unfinished, "half").unwrap();
        fs::create_dir(temporary(folder.path()).unwrap()).unwrap();
        for name in ["a", ".tmp", ".a.tmp", ".a-b.tmp"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_unfinished(folder.path()).unwrap();
        assert!(!unfinished.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
        assert!(remove_unfinished(&folder.path().join("none")).is_err());
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
