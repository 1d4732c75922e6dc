//! The interfaces of a Unix.

use std::ffi::CStr;
use std::io;
use std::net::IpAddr;

use socket2::SockAddr;

use super::Interface;

/// Lists all interfaces, in the order of their numbers.
pub(in crate::datagram) fn list() -> io::Result<Vec<Interface>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: it stores the start of a list that it allocates.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut next = first;
    // SAFETY: each entry is null or valid until `freeifaddrs`.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: the name is a C string of the entry.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        let place = match interfaces.iter().position(|it| it.name.as_bytes() == name.to_bytes()) {
            Some(place) => place,
            None => {
                // SAFETY: it only reads the name.
                let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
                if index == 0 {
                    continue; // It went away meanwhile.
                }
                let flag = |bit: libc::c_int| entry.ifa_flags & bit as libc::c_uint != 0;
                interfaces.push(Interface {
                    name: name.to_string_lossy().into_owned(),
                    index,
                    up: flag(libc::IFF_UP),
                    multicast: flag(libc::IFF_MULTICAST),
                    loopback: flag(libc::IFF_LOOPBACK),
                    addresses: Vec::new(),
                    mtu_bytes: None,
                });
                interfaces.len() - 1
            }
        };
        // SAFETY: the address is null or valid, as long as its family says.
        if let Some(address) = unsafe { address_of(entry.ifa_addr) } {
            interfaces[place].addresses.push(address);
        }
    }
    // SAFETY: the list is not used any more.
    unsafe { libc::freeifaddrs(first) };
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// # Safety
/// `address` is null or points to an address as long as its family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise.
    let family = unsafe { address.as_ref()? }.sa_family;
    let bytes = match i32::from(family) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    // SAFETY: that many bytes are there, and the storage has room for either.
    let ((), found) = unsafe {
        SockAddr::try_init(|storage, length| {
            std::ptr::copy_nonoverlapping(address.cast::<u8>(), storage.cast::<u8>(), bytes);
            *length = bytes as _;
            Ok(())
        })
        .ok()?
    };
    found.as_socket().map(|found| found.ip())
}
