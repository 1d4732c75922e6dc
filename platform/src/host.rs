//! Name of this machine, and whether its Windows is one.

/// The machine's name; empty if it has none.
#[cfg(unix)]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The machine's name; empty if it has none.
#[cfg(windows)]
pub fn host_name() -> String {
    use windows_sys::Win32::System::SystemInformation::{
        ComputerNamePhysicalDnsHostname, GetComputerNameExW,
    };

    let mut name = [0_u16; 256];
    let mut characters = name.len() as u32;
    // SAFETY: the result is valid for writing at this length.
    let told = unsafe {
        GetComputerNameExW(ComputerNamePhysicalDnsHostname, name.as_mut_ptr(), &raw mut characters)
    };
    let length = if told == 0 { 0 } else { characters as usize };
    String::from_utf16_lossy(name.get(..length).unwrap_or_default())
}

/// Whether this is no Windows but Wine, for tests of what it lacks.
#[cfg(not(windows))]
pub fn is_wine() -> bool {
    false
}

/// Whether this is no Windows but Wine, for tests of what it lacks.
#[cfg(windows)]
pub fn is_wine() -> bool {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
    use windows_sys::core::{s, w};

    // SAFETY: both names end with a zero; the library is never unloaded.
    unsafe {
        let library = GetModuleHandleW(w!("ntdll.dll"));
        !library.is_null() && GetProcAddress(library, s!("wine_get_version")).is_some()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_a_name() {
        assert_ne!(super::host_name(), "");
    }
}
