//! Rights to connect to a pipe, as the system wants them said.

use std::ffi::c_void;
use std::io;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};

use super::name::wide;

/// A security descriptor, in memory of the system.
#[derive(Debug)]
pub(crate) struct Descriptor(*mut c_void);

// SAFETY: nobody writes to a descriptor once it is made, and which thread frees it does
// not matter.
unsafe impl Send for Descriptor {}
// SAFETY: as above.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    /// Makes a descriptor for this owner, administrators and the system; for a group, and
    /// every user of
    /// the machine, if wanted. The identifiers are security identifiers as text.
    pub(super) fn new(owner: &str, group: Option<&str>, others: bool) -> io::Result<Descriptor> {
        Descriptor::parse(&text(owner, group, others))
    }

    /// Parses a descriptor in the system's own language.
    pub(crate) fn parse(text: &str) -> io::Result<Descriptor> {
        let text = wide(text);
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: the text is terminated and the result valid for writing.
        let made = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                std::ptr::null_mut(),
            )
        };
        if made == 0 { Err(io::Error::last_os_error()) } else { Ok(Descriptor(descriptor)) }
    }

    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.0
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: made by the call that says it is to be freed so, and not used again.
        unsafe { LocalFree(self.0) };
    }
}

/// `P`: nothing is inherited. Full access for owner, administrators (BA) and the system
/// (SY); read and write for group and authenticated users (AU). To write the usual way
/// is, for a pipe, also to be allowed instances: so a group is trusted.
fn text(owner: &str, group: Option<&str>, others: bool) -> String {
    let mut text = format!("D:P(A;;GA;;;{owner})(A;;GA;;;BA)(A;;GA;;;SY)");
    if let Some(group) = group {
        text.push_str(&format!("(A;;GRGW;;;{group})"));
    }
    if others {
        text.push_str("(A;;GRGW;;;AU)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_named_may_connect() {
        assert_eq!(text("S-1-5-7", None, false), "D:P(A;;GA;;;S-1-5-7)(A;;GA;;;BA)(A;;GA;;;SY)");
        let text = text("S-1-5-7", Some("S-1-5-32-545"), true);
        assert!(text.ends_with("(A;;GRGW;;;S-1-5-32-545)(A;;GRGW;;;AU)"), "{text}");
        Descriptor::new("S-1-5-18", Some("S-1-5-32-545"), true).unwrap();
        assert!(Descriptor::new("nobody", None, false).is_err());
    }
}
