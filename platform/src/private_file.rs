//! Files that hold secrets: made for few, and whether many may read them. Windows
//! alone; elsewhere a file's mode says it.
//!
//! It asks no more than the file's own list of who may do what; a user who is denied
//! there although a group of his is allowed counts as allowed.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::path::Path;

use windows_sys::Win32::Foundation::{
    GENERIC_ALL, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_FILE_OBJECT};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, INHERIT_ONLY_ACE,
    PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_READ_DATA, FILE_WRITE_DATA, WRITE_DAC,
    WRITE_OWNER,
};
use windows_sys::Win32::System::SystemServices::ACCESS_ALLOWED_ACE_TYPE;

use crate::local::windows::accounts::{account_name, own_identifier, text};
use crate::local::windows::descriptor::Descriptor;
use crate::local::windows::name::wide;

/// Everyone, anonymous, interactive and authenticated users, who comes over the
/// network, users and guests: groups to which anybody may belong.
const MANY: [&str; 7] =
    ["S-1-1-0", "S-1-5-7", "S-1-5-4", "S-1-5-11", "S-1-5-2", "S-1-5-32-545", "S-1-5-32-546"];

/// Rights by which one gets what is in a file, or may change it.
const TELLING_RIGHTS: u32 = GENERIC_ALL
    | GENERIC_READ
    | GENERIC_WRITE
    | FILE_READ_DATA
    | FILE_WRITE_DATA
    | WRITE_DAC
    | WRITE_OWNER;

/// Makes a file that this process's user, administrators, the system and local services
/// may read, nobody else. It is an error if there is one.
///
/// # Errors
/// What the system says.
pub fn create(path: &Path) -> io::Result<File> {
    let path = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    let (path, owner) = (wide(path), own_identifier()?);
    let descriptor =
        Descriptor::parse(&format!("D:P(A;;FA;;;{owner})(A;;FA;;;BA)(A;;FA;;;SY)(A;;FR;;;LS)"))?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.as_ptr(),
        bInheritHandle: 0,
    };
    // SAFETY: the path is terminated, and descriptor and attributes outlive the call.
    let handle = unsafe {
        CreateFileW(
            path.as_ptr(),
            GENERIC_WRITE,
            0,
            &raw const attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            std::ptr::null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system just made this handle for us alone.
    Ok(unsafe { File::from_raw_handle(handle) })
}

/// A group to which anybody may belong and whose members may read or change this file.
///
/// # Errors
/// What the system says.
pub fn shared_with(file: &File) -> io::Result<Option<String>> {
    let mut list: *mut ACL = std::ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
    // SAFETY: the file is open, and both results are valid for writing.
    let status = unsafe {
        GetSecurityInfo(
            file.as_raw_handle(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut list,
            std::ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if status != 0 {
        return Err(io::Error::from_raw_os_error(status.cast_signed()));
    }
    // SAFETY: the list is part of the descriptor, which is freed once, after it.
    unsafe {
        let found = first_of_many(list);
        LocalFree(descriptor);
        found
    }
}

/// Finds the first of [`MANY`] that a list allows to read or write.
///
/// # Safety
/// The list must be valid or null, which is none: everybody may do everything.
unsafe fn first_of_many(list: *const ACL) -> io::Result<Option<String>> {
    if list.is_null() {
        return Ok(Some("everybody".to_owned()));
    }
    // SAFETY: the caller says that it is valid.
    let entries = unsafe { (*list).AceCount };
    for index in 0..u32::from(entries) {
        let mut entry: *mut c_void = std::ptr::null_mut();
        // SAFETY: the list is valid and has an entry of this number.
        if unsafe { GetAce(list, index, &raw mut entry) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: every entry begins with a header.
        let header = unsafe { *entry.cast::<ACE_HEADER>() };
        let applies = u32::from(header.AceFlags) & INHERIT_ONLY_ACE == 0;
        if u32::from(header.AceType) != ACCESS_ALLOWED_ACE_TYPE || !applies {
            continue;
        }
        let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
        // SAFETY: an entry of this type is this structure, which ends with the start of
        // an identifier.
        let (rights, identifier) = unsafe {
            ((*entry).Mask, text((&raw mut (*entry).SidStart).cast::<c_void>() as PSID)?)
        };
        if rights & TELLING_RIGHTS != 0 && MANY.contains(&identifier.as_str()) {
            return Ok(Some(account_name(&identifier).unwrap_or(identifier)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_private_file_is_nobody_elses() {
        let path = std::env::temp_dir().join(format!("netcluster-key-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut file = create(&path).unwrap();
        file.write_all(b"secret").unwrap();
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(file);
        assert_eq!(shared_with(&File::open(&path).unwrap()).unwrap(), None);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_list_that_names_many_is_seen() {
        let found = |text: &str| {
            let descriptor = Descriptor::parse(text).unwrap();
            let (mut present, mut defaulted) = (0, 0);
            let mut list: *mut ACL = std::ptr::null_mut();
            // SAFETY: the descriptor is valid, outlives the list, and all results are
            // valid for writing.
            unsafe {
                windows_sys::Win32::Security::GetSecurityDescriptorDacl(
                    descriptor.as_ptr(),
                    &raw mut present,
                    &raw mut list,
                    &raw mut defaulted,
                );
                first_of_many(list).unwrap()
            }
        };
        assert_eq!(found("D:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;FR;;;LS)"), None);
        assert!(found("D:P(A;;FA;;;BA)(A;;FR;;;WD)").is_some(), "everyone");
        assert!(found("D:P(A;;FA;;;BA)(A;;FR;;;BU)").is_some(), "users");
        assert!(found("D:P(A;;GA;;;AU)").is_some(), "authenticated users");
        assert!(found("D:P(A;;FW;;;BU)").is_some(), "who may write may put a key of his own");
        assert_eq!(found("D:P(A;OIIO;FA;;;BU)(A;;FA;;;BA)"), None, "it is for files below");
        assert_eq!(found("D:P(D;;FA;;;BU)(A;;FA;;;BA)"), None);
        assert_eq!(found("O:BA").as_deref(), Some("everybody"));
    }
}
