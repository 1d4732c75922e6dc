//! The interfaces of Windows, by the names that its network settings show.

use std::io;
use std::net::IpAddr;

use socket2::SockAddr;
use windows_sys::Win32::Foundation::{ERROR_BUFFER_OVERFLOW, ERROR_NO_DATA, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_DNS_SERVER, GAA_FLAG_SKIP_MULTICAST, GetAdaptersAddresses,
    IF_TYPE_SOFTWARE_LOOPBACK, IP_ADAPTER_ADDRESSES_LH, IP_ADAPTER_NO_MULTICAST,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{AF_UNSPEC, SOCKET_ADDRESS};

use super::Interface;

/// Size of the first buffer, as the system's documentation has it, 15 KiB and a little.
const FIRST_BYTES: usize = 16 << 10;

/// Number of times that the list may turn out longer than it was said to be a moment ago.
const TRIES: u32 = 4;

/// The longest packet there is; loopback says that it has no limit.
const MAX_PACKET_BYTES: usize = u16::MAX as usize;

/// Lists all interfaces, in the order of their numbers.
pub(in crate::datagram) fn list() -> io::Result<Vec<Interface>> {
    let adapters = adapters()?;
    let mut interfaces = Vec::new();
    let mut next = adapters.as_ptr().cast::<IP_ADAPTER_ADDRESSES_LH>();
    if adapters.is_empty() {
        next = std::ptr::null();
    }
    // SAFETY: each entry is null or lies in the list, which outlives the loop.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.Next;
        // SAFETY: the members of these unions are plain numbers of the same size.
        let (index, flags) =
            unsafe { (entry.Anonymous1.Anonymous.IfIndex, entry.Anonymous2.Flags) };
        let mut addresses = Vec::new();
        let mut unicast = entry.FirstUnicastAddress;
        // SAFETY: as above.
        while let Some(address) = unsafe { unicast.as_ref() } {
            unicast = address.Next;
            // SAFETY: the list holds as many bytes as it says.
            addresses.extend(unsafe { ip(&address.Address) });
        }
        interfaces.push(Interface {
            // SAFETY: the name is null or ends with a zero.
            name: unsafe { text(entry.FriendlyName) },
            // Without IPv4 an interface has only the other number.
            index: if index != 0 { index } else { entry.Ipv6IfIndex },
            up: entry.OperStatus == IfOperStatusUp,
            multicast: flags & IP_ADAPTER_NO_MULTICAST == 0,
            loopback: entry.IfType == IF_TYPE_SOFTWARE_LOOPBACK,
            addresses,
            mtu_bytes: usize::try_from(entry.Mtu).ok().map(|it| it.min(MAX_PACKET_BYTES)),
        });
    }
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// The system's list, aligned for its entries; empty if there are none.
fn adapters() -> io::Result<Vec<u64>> {
    let flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER;
    let mut bytes = FIRST_BYTES as u32;
    for _ in 0..TRIES {
        let mut list = vec![0u64; (bytes as usize).div_ceil(size_of::<u64>())];
        // SAFETY: there are as many bytes as is said, aligned for what is written.
        let outcome = unsafe {
            GetAdaptersAddresses(
                AF_UNSPEC.into(),
                flags,
                std::ptr::null(),
                list.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        match outcome {
            NO_ERROR => return Ok(list),
            ERROR_NO_DATA => return Ok(Vec::new()),
            ERROR_BUFFER_OVERFLOW => {}
            error => return Err(io::Error::from_raw_os_error(error as i32)),
        }
    }
    Err(io::Error::from_raw_os_error(ERROR_BUFFER_OVERFLOW as i32))
}

/// # Safety
/// The address is null or points to as many bytes as it says.
unsafe fn ip(address: &SOCKET_ADDRESS) -> Option<IpAddr> {
    let bytes = usize::try_from(address.iSockaddrLength).ok()?;
    if address.lpSockaddr.is_null() {
        return None;
    }
    // SAFETY: that many bytes are there, and the storage has room for any address;
    // no more than its size is copied.
    let ((), found) = unsafe {
        SockAddr::try_init(|storage, length| {
            let bytes = bytes.min(size_of_val(&*storage));
            std::ptr::copy_nonoverlapping(
                address.lpSockaddr.cast::<u8>(),
                storage.cast::<u8>(),
                bytes,
            );
            *length = bytes as _;
            Ok(())
        })
        .ok()?
    };
    found.as_socket().map(|found| found.ip())
}

/// # Safety
/// `start` is null or points to text that ends with a zero.
unsafe fn text(start: *const u16) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise: all before the zero is there.
    let length = (0..).take_while(|&at| unsafe { *start.add(at) } != 0).count();
    // SAFETY: as above.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(start, length) })
}
