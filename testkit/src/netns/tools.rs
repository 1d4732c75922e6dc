//! Tools that a network of namespaces needs, and whether they are there.

use std::process::{Command, Stdio};

/// Tools, each with an argument that only shows that the tool runs, and its package.
const TOOLS: [(&str, &str, &str); 4] = [
    ("ip", "-V", "iproute2"),
    ("tc", "-V", "iproute2"),
    ("nft", "--version", "nftables"),
    ("ethtool", "--version", "ethtool"),
];

/// Returns the reason why there can be no network of namespaces here; `None` if there
/// can.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".into());
    }
    let runs = |program: &str, flag: &str| {
        let status = Command::new(program)
            .arg(flag)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    if let Some((tool, _, package)) = TOOLS.iter().find(|(tool, flag, _)| !runs(tool, flag)) {
        return Some(format!("there is no `{tool}` (Debian's package {package})"));
    }
    // Containers often have the tools and not the permission.
    let probe = super::sweep::name(super::next_number(), "probe");
    let made = super::namespace::Namespace::new(&probe).and_then(|probe| {
        probe.run("ip", "link add probe0 type veth peer name probe1")?;
        probe.feed("nft", "-f -", "table inet probe\n")
    });
    made.err().map(|error| format!("network namespaces cannot be made: {error:#}"))
}
