//! What the servers have in common: finding a program, a free port, signals.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

/// The program's path. Panics with what to install when it is not there.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // System administration's folders are not in everybody's PATH.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "`{name}` is not installed; `apt-get install {package}` (or scripts/test.sh) brings it"
        )
    })
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
        .expect("the loopback interface has a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    address.port()
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.expect("a child's process id is positive");
    kill_process(pid, signal).expect("a child that was not waited for takes signals");
}
