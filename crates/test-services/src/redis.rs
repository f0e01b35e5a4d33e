//! A private Redis.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{free_port, program, signal};

/// Longest wait for the server to answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Starts on another port when somebody else took the free one first.
const START_TRIES: u32 = 5;

/// How a [`RedisServer`] is configured.
#[derive(Clone, Debug)]
pub struct RedisServerOptions {
    /// `appendfsync` with the append-only file on; `None`: no append-only file.
    pub append_fsync: Option<&'static str>,
    /// `maxmemory` in bytes; 0: no limit.
    pub memory_max_bytes: u64,
    /// `maxmemory-policy`.
    pub memory_policy: &'static str,
    /// Further directives: name, and words of its value.
    pub directives: Vec<(String, String)>,
}

impl Default for RedisServerOptions {
    fn default() -> Self {
        Self {
            append_fsync: Some("always"),
            memory_max_bytes: 0,
            memory_policy: "noeviction",
            directives: Vec::new(),
        }
    }
}

/// A Redis in a temporary folder on a free port of 127.0.0.1; it ends with this handle.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisServerOptions,
    folder: TempDir,
    port: u16,
    child: Child,
}

impl RedisServer {
    /// Starts a server and waits until it answers. Panics, saying what is missing, when it cannot.
    pub fn start(options: RedisServerOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for _ in 0..START_TRIES {
            let port = free_port();
            let mut child = spawn(&options, folder.path(), port);
            if wait_until_ready(&mut child, port) {
                return Self {
                    options,
                    folder,
                    port,
                    child,
                };
            }
        }
        panic!("redis-server did not start: {}", log(folder.path()));
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it with SIGKILL: what it has not written is lost.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`RedisServer::kill`], in the same folder and on the same port; a running one is killed first.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.options, self.folder.path(), self.port);
        assert!(
            wait_until_ready(&mut self.child, self.port),
            "redis-server did not start again: {}",
            log(self.folder.path())
        );
    }

    /// Stops it with SIGSTOP: its connections stay open and nothing answers.
    pub fn pause(&self) {
        signal(&self.child, Signal::STOP);
    }

    /// Lets it go on after [`RedisServer::pause`].
    pub fn resume(&self) {
        signal(&self.child, Signal::CONT);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // SIGKILL also ends a paused process.
        self.kill();
    }
}

fn spawn(options: &RedisServerOptions, folder: &Path, port: u16) -> Child {
    let log = File::create(folder.join("redis.log")).expect("the temporary folder takes files");
    let mut command = Command::new(program("redis-server", "redis-server"));
    // "-": no configuration file, this one is on standard input and empty.
    command.arg("-").stdin(Stdio::null()).current_dir(folder);
    let errors = log.try_clone().expect("an open file can be cloned");
    command.stdout(log).stderr(errors);
    let mut directive = |name: &str, value: &str| {
        command.arg(format!("--{name}")).arg(value);
    };
    directive("port", &port.to_string());
    directive("bind", "127.0.0.1");
    directive("save", "");
    directive("dir", &folder.to_string_lossy());
    match options.append_fsync {
        Some(fsync) => {
            directive("appendonly", "yes");
            directive("appendfsync", fsync);
        }
        None => directive("appendonly", "no"),
    }
    directive("maxmemory", &options.memory_max_bytes.to_string());
    directive("maxmemory-policy", options.memory_policy);
    for (name, value) in &options.directives {
        command
            .arg(format!("--{name}"))
            .args(value.split_whitespace());
    }
    command.spawn().expect("redis-server can be executed")
}

/// Whether it answers before it ends or the time is over.
fn wait_until_ready(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        let ended = child.try_wait().expect("a child can be waited for");
        if ended.is_some() {
            return false;
        }
        if answers(port) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// Whether a PING is answered; while the append-only file is read it is with an error (`-LOADING`). A server that
/// asks for a password is ready too.
fn answers(port: u16) -> bool {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let Ok(mut connection) = TcpStream::connect_timeout(&address.into(), Duration::from_secs(1))
    else {
        return false;
    };
    let mut answer = [0; 7];
    let asked = connection
        .set_read_timeout(Some(Duration::from_secs(1)))
        .and_then(|()| connection.write_all(b"PING\r\n"))
        .and_then(|()| connection.read_exact(&mut answer));
    asked.is_ok() && (answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH"))
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("redis.log")).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_killed_restarted_paused_and_goes_with_its_handle() {
        let mut server = RedisServer::start(RedisServerOptions::default());
        let other = RedisServer::start(RedisServerOptions::default());
        assert_ne!(server.port(), other.port());
        let first = server.pid();
        server.kill();
        assert!(!answers(server.port()));
        server.restart();
        assert!(answers(server.port()) && server.pid() != first);
        server.pause();
        assert!(!answers(server.port()));
        server.resume();
        assert!(answers(server.port()));
        let (port, folder) = (server.port(), server.folder().to_owned());
        drop(server);
        assert!(!answers(port) && !folder.exists());
    }
}
