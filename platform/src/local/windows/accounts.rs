//! Users and groups: security identifiers, as text (`S-1-5-…`), and names.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{ConvertSidToStringSidW, ConvertStringSidToSidW};
use windows_sys::Win32::Security::{
    GetTokenInformation, LookupAccountNameW, LookupAccountSidW, PSID, TOKEN_QUERY, TOKEN_USER,
    TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::name::wide;

/// The most bytes of a security identifier: 68, by its 15 parts.
const MAX_IDENTIFIER_BYTES: usize = 68;

/// Characters of a name, and of a domain: more than any has.
const MAX_NAME_CHARACTERS: usize = 256;

/// Memory for identifiers and what points to them, aligned for both.
#[repr(align(8))]
struct Aligned<const BYTES: usize>([u8; BYTES]);

/// Identifier of this process's user.
pub(crate) fn own_identifier() -> io::Result<String> {
    // SAFETY: it stands for this process and is never closed.
    let process = unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess()) };
    user_of(process)
}

/// The user of a process.
pub(super) fn user_of(process: BorrowedHandle<'_>) -> io::Result<String> {
    let mut token = std::ptr::null_mut();
    // SAFETY: the process is open and the result valid for writing.
    if unsafe { OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system just made this handle for us alone.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    const ROOM: usize = size_of::<TOKEN_USER>() + MAX_IDENTIFIER_BYTES;
    let mut room = Aligned([0; ROOM]);
    let mut used = 0;
    // SAFETY: the token is open and the results valid for writing at this length.
    let told = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            room.0.as_mut_ptr().cast(),
            ROOM as u32,
            &raw mut used,
        )
    };
    if told == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system wrote this structure to the start, which is aligned for it; its
    // pointer leads to the identifier behind it.
    unsafe { text((*room.0.as_ptr().cast::<TOKEN_USER>()).User.Sid) }
}

/// The identifier of a user or group by name: `name` or `DOMAIN\name`.
pub(super) fn identifier_of(name: &str) -> io::Result<String> {
    let name = wide(name);
    let mut identifier = Aligned([0_u8; MAX_IDENTIFIER_BYTES]);
    let mut identifier_bytes = MAX_IDENTIFIER_BYTES as u32;
    let mut domain = [0_u16; MAX_NAME_CHARACTERS];
    let mut domain_characters = MAX_NAME_CHARACTERS as u32;
    let mut kind = 0;
    // SAFETY: the name is terminated, and all results are valid for writing at the
    // lengths given.
    unsafe {
        let found = LookupAccountNameW(
            std::ptr::null(),
            name.as_ptr(),
            identifier.0.as_mut_ptr().cast(),
            &raw mut identifier_bytes,
            domain.as_mut_ptr(),
            &raw mut domain_characters,
            &raw mut kind,
        );
        if found == 0 {
            return Err(io::Error::last_os_error());
        }
        text(identifier.0.as_mut_ptr().cast())
    }
}

/// The name of the account with a security identifier, `DOMAIN\name`; `None` if the
/// system does not know it. May ask another machine, and so take its time.
pub fn account_name(identifier: &str) -> Option<String> {
    let text = wide(identifier);
    let mut sid: PSID = std::ptr::null_mut();
    let mut name = [0_u16; MAX_NAME_CHARACTERS];
    let mut name_characters = MAX_NAME_CHARACTERS as u32;
    let mut domain = [0_u16; MAX_NAME_CHARACTERS];
    let mut domain_characters = MAX_NAME_CHARACTERS as u32;
    let mut kind = 0;
    // SAFETY: the text is terminated, all results are valid for writing at the lengths
    // given, and the identifier is freed once, as the call that made it wants it.
    let found = unsafe {
        if ConvertStringSidToSidW(text.as_ptr(), &raw mut sid) == 0 {
            return None;
        }
        let found = LookupAccountSidW(
            std::ptr::null(),
            sid,
            name.as_mut_ptr(),
            &raw mut name_characters,
            domain.as_mut_ptr(),
            &raw mut domain_characters,
            &raw mut kind,
        );
        LocalFree(sid);
        found
    };
    if found == 0 {
        return None;
    }
    let name = String::from_utf16_lossy(name.get(..name_characters as usize)?);
    let domain = String::from_utf16_lossy(domain.get(..domain_characters as usize)?);
    Some(if domain.is_empty() { name } else { format!(r"{domain}\{name}") })
}

/// An identifier as text.
///
/// # Safety
/// It must be a valid identifier.
pub(crate) unsafe fn text(identifier: PSID) -> io::Result<String> {
    let mut start = std::ptr::null_mut();
    // SAFETY: the caller says that it is valid; the result is valid for writing.
    if unsafe { ConvertSidToStringSidW(identifier, &raw mut start) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system made a terminated text, which is read to its end and freed once.
    unsafe {
        let mut length = 0;
        while *start.add(length) != 0 {
            length += 1;
        }
        let text = String::from_utf16_lossy(std::slice::from_raw_parts(start, length));
        LocalFree(start.cast());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_user_has_an_identifier_and_a_name() {
        let own = own_identifier().unwrap();
        assert!(own.starts_with("S-1-"), "{own}");
        let name = account_name(&own).unwrap();
        assert_eq!(identifier_of(&name).unwrap(), own);
    }

    #[test]
    fn who_is_not_known_is_told() {
        assert!(identifier_of("no-such-account-here").is_err());
        assert_eq!(account_name("S-1-5-21-1-2-3-4"), None);
        assert_eq!(account_name("nobody"), None);
    }
}
