//! Processes that must not outlive the tests, whom they run as, and whom they started.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Whom a server runs as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// For servers that refuse to run as root: the user of their package, or nobody. None where tests do not run as root.
    pub(crate) fn other_than_root(preferred: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").expect("reading /etc/passwd");
        let find = |name: &str| {
            let mut fields = users
                .lines()
                .map(|line| line.split(':'))
                .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?
                .skip(1);
            let uid = fields.next()?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        };
        let found = find(preferred).or_else(|| find("nobody"));
        Some(found.expect(
            "Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`",
        ))
    }
}

/// A shell that waits for the end of this process, however it comes, and then does what `Drop` could not.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Then runs `script` in the folder, and removes the folder.
    pub(crate) fn of(folder: &Path, script: &str) -> Self {
        let shell = Command::new("sh")
            .arg("-c")
            .arg(format!("read -r _\n{script}\nrm -rf \"$0\""))
            .arg(folder)
            .current_dir(folder)
            // Ends when this process does: nothing is ever written to it.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal sends to the tests is not for the guard.
            .process_group(0)
            .spawn();
        Self(shell.expect("starting a shell"))
    }

    /// It has nothing to do any more.
    pub(crate) fn dismiss(&mut self) {
        // It is ours and waits, so it can be killed; if not, it finds nothing to remove.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Lets it believe that this process has ended, and waits until it is done.
    #[cfg(test)]
    pub(crate) fn let_go(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("waiting for the guard");
    }
}

/// The processes that this one started, by `/proc/*/stat`: `pid (name) state parent …`.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("reading /proc").flatten();
    processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            let (_, rest) = stat.rsplit_once(')')?;
            (rest.split_whitespace().nth(1)?.parse() == Ok(parent)).then_some(pid)
        })
        .collect()
}
