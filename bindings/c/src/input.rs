//! Arguments from C: checked for what can be seen of a pointer, then borrowed.

use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;

use crate::error::{Failure, netcluster_error::*};

/// Checks that a pointer may be looked through.
fn check<T>(pointer: *const T, what: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::new(NETCLUSTER_POINTER, format!("`{what}` is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::new(NETCLUSTER_POINTER, format!("`{what}` is not aligned")));
    }
    Ok(())
}

/// Borrows what a handle points to.
///
/// # Safety
/// If it is not null, it came from this library, and nobody frees it meanwhile.
pub(crate) unsafe fn borrow<'a, T>(
    pointer: *const T,
    what: &'static str,
) -> Result<&'a T, Failure> {
    check(pointer, what)?;
    // SAFETY: checked; the rest the caller promises.
    Ok(unsafe { &*pointer })
}

/// Borrows what a handle points to, to change it.
///
/// # Safety
/// As [`borrow`], and no other thread uses it meanwhile.
pub(crate) unsafe fn borrow_mut<'a, T>(
    pointer: *mut T,
    what: &'static str,
) -> Result<&'a mut T, Failure> {
    check(pointer, what)?;
    // SAFETY: checked; the rest the caller promises.
    Ok(unsafe { &mut *pointer })
}

/// Writes a result to where the caller wants it.
///
/// # Safety
/// If it is not null, there is room for a `T`.
pub(crate) unsafe fn put<T>(target: *mut T, what: &'static str, value: T) -> Result<(), Failure> {
    check(target, what)?;
    // SAFETY: checked; there is room. What was there before is not dropped: it may be nothing.
    unsafe { target.write(value) };
    Ok(())
}

/// Writes a result if the caller wants it: NULL is allowed.
///
/// # Safety
/// As [`put`].
pub(crate) unsafe fn put_if_wanted<T>(target: *mut T, value: T) {
    if !target.is_null() && target.is_aligned() {
        // SAFETY: checked; there is room.
        unsafe { target.write(value) };
    }
}

/// Reads a string.
///
/// # Safety
/// If it is not null, it ends with a NUL and stays as it is meanwhile.
pub(crate) unsafe fn text<'a>(
    pointer: *const c_char,
    what: &'static str,
) -> Result<&'a str, Failure> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { c_str(pointer, what)? }.to_bytes();
    std::str::from_utf8(bytes)
        .map_err(|_| Failure::new(NETCLUSTER_UTF8, format!("`{what}` is no UTF-8")))
}

/// Reads a path: on Unix any bytes, elsewhere UTF-8.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path(pointer: *const c_char) -> Result<PathBuf, Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        // SAFETY: as the caller promises.
        let bytes = unsafe { c_str(pointer, "path")? }.to_bytes();
        Ok(std::ffi::OsStr::from_bytes(bytes).into())
    }
    #[cfg(not(unix))]
    // SAFETY: as the caller promises.
    Ok(unsafe { text(pointer, "path")? }.into())
}

/// # Safety
/// As [`text`].
unsafe fn c_str<'a>(pointer: *const c_char, what: &'static str) -> Result<&'a CStr, Failure> {
    check(pointer, what)?;
    // SAFETY: not null; it ends with a NUL, as the caller promises.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// Reads bytes: NULL is allowed if there are none.
///
/// # Safety
/// If it is not null, so many bytes are there and stay as they are meanwhile.
pub(crate) unsafe fn bytes<'a>(pointer: *const c_void, size: usize) -> Result<&'a [u8], Failure> {
    if size == 0 {
        return Ok(&[]);
    }
    check(pointer.cast::<u8>(), "data")?;
    if isize::try_from(size).is_err() {
        return Err(Failure::new(NETCLUSTER_VALUE, "`size` is more than memory can hold"));
    }
    // SAFETY: checked; so many bytes are there, as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), size) })
}

/// Takes back what was handed out as a raw pointer and frees it; NULL is nothing.
///
/// # Safety
/// If it is not null, it came from `Box::into_raw` and is used no more.
pub(crate) unsafe fn free<T>(pointer: *mut T) -> Result<(), Failure> {
    if pointer.is_null() {
        return Ok(());
    }
    check(pointer, "handle")?;
    // SAFETY: as the caller promises.
    drop(unsafe { Box::from_raw(pointer) });
    Ok(())
}
