//! What a server on this machine costs: processor time and memory, from `/proc`.

use std::fs;
use std::path::Path;

use url::{Host, Url};

/// Linux counts processor time in hundredths of a second (`USER_HZ`, fixed for user space).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerProcess {
    pub(crate) id: u32,
}

impl ServerProcess {
    /// The process that listens on the URL's port, when that is on this machine.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let local = match url.host()? {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(name) => name == "localhost",
        };
        if !local {
            return None;
        }
        let port = url.port_or_known_default()?;
        let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .flat_map(|table| listeners(&table, port))
            .collect();
        let processes = fs::read_dir("/proc").ok()?;
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .find(|id: &u32| has_socket(*id, &inodes))
            .map(|id| Self { id })
    }

    /// User and system time, seconds.
    pub(crate) fn cpu_seconds(self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).ok()?;
        // The name, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let user: f64 = fields.next()?.parse().ok()?;
        let system: f64 = fields.next()?.parse().ok()?;
        Some((user + system) / TICKS_PER_SECOND)
    }

    /// The most memory it ever held, bytes.
    pub(crate) fn peak_rss_bytes(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes * 1_024)
    }
}

/// Inodes of the sockets that listen on a port, from a table of `/proc/net`.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&wanted) && *fields.get(3)? == LISTEN;
            listens.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
        })
        .collect()
}

fn has_socket(id: u32, inodes: &[String]) -> bool {
    let folder = format!("/proc/{id}/fd");
    let Ok(descriptors) = fs::read_dir(Path::new(&folder)) else {
        return false;
    };
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| {
            inodes
                .iter()
                .any(|inode| target.as_os_str() == inode.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let process = ServerProcess::of(&Url::parse(&url).unwrap()).unwrap();
        assert_eq!(process.id, std::process::id());
        assert!(process.cpu_seconds().unwrap() >= 0.0);
        assert!(process.peak_rss_bytes().unwrap() > 1 << 20);
        assert!(ServerProcess::of(&Url::parse("http://192.0.2.1:80").unwrap()).is_none());
    }
}
