//! A private Postgres.
//!
//! What fails here panics and says why: only tests call it, and without their server they mean nothing.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::guard::{Guard, User, children_of};
use crate::process::{free_port, program};

/// The role that owns everything; trusted without a password.
const ROLE: &str = "postgres";

/// In its data folder.
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";

/// What the guard runs in the server's folder: SIGQUIT ends all processes at once, after SIGCONT the paused ones too.
const AT_THE_END: &str = r#"
    pid=$(head -n 1 data/postmaster.pid 2>/dev/null)
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = postgres ]; then
      kill -QUIT "$pid"
      kill -CONT "$pid"
      tries=0
      while [ -e data/postmaster.pid ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    fi
"#;

/// How long a server may take until it answers, recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Another process may take the port between its choice and its use.
const START_ATTEMPTS: u32 = 5;

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct PostgresServerOptions {
    /// Sync what is committed. Off by default: it is slower, and matters only where the machine may die, not the process.
    pub fsync: bool,
    /// Take encrypted connections too, with a certificate that nobody vouches for.
    pub tls: bool,
    /// More settings of `postgresql.conf`, such as `("max_connections", "10")`.
    pub settings: Vec<(String, String)>,
}

/// A server that stops, and whose folder goes, with this handle; when the process of the tests dies, too.
#[derive(Debug)]
pub struct PostgresServer {
    programs: Programs,
    user: Option<User>,
    options: PostgresServerOptions,
    port: u16,
    postmaster: Mutex<Option<Child>>,
    databases: AtomicU32,
    // Before the folder: a guard that still waits would remove it a second time.
    guard: Guard,
    folder: TempDir,
}

impl PostgresServer {
    /// Starts a server with the defaults.
    pub fn start() -> Self {
        Self::start_with(PostgresServerOptions::default())
    }

    /// Starts a server.
    pub fn start_with(options: PostgresServerOptions) -> Self {
        let programs = Programs::find();
        let user = User::other_than_root(ROLE);
        let folder = tempfile::Builder::new()
            .prefix("logmill-postgres-")
            .tempdir()
            .expect("a temporary folder for Postgres");
        if let Some(user) = user {
            chown(folder.path(), Some(user.uid), Some(user.gid))
                .expect("giving Postgres its folder");
        }
        let mut server = Self {
            guard: Guard::of(folder.path(), AT_THE_END),
            programs,
            user,
            options,
            port: 0,
            postmaster: Mutex::new(None),
            databases: AtomicU32::new(0),
            folder,
        };
        server.initialise();
        if server.options.tls {
            server.make_certificate();
        }
        for attempt in 1.. {
            server.port = free_port();
            match server.launch() {
                Ok(()) => break,
                Err(log) if attempt < START_ATTEMPTS && log.contains("Address already in use") => {}
                Err(log) => panic!("Postgres does not start:\n{log}"),
            }
        }
        server
    }

    /// One server for all tests of this process. Those that kill or pause it need one of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL of a new and empty database. Blocks for some tens of milliseconds.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(&self.url(ROLE), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of the database of this name.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements with `psql`; returns what they print, one row a line, columns separated by `|`.
    pub fn sql(&self, url: &str, statements: &str) -> String {
        let output = Command::new(&self.programs.psql)
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", statements, url])
            .output()
            .expect("running psql");
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {complaint}");
        printed
    }

    /// The port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server's first process; none while it is killed.
    pub fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(Child::id)
    }

    /// Kills all of its processes with SIGKILL.
    pub fn kill(&self) {
        self.signal_all(Signal::KILL);
        if let Some(mut postmaster) = self.lock().take() {
            postmaster.wait().expect("waiting for the killed Postgres");
        }
    }

    /// Stops all of its processes with SIGSTOP, until [`Self::resume`].
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets paused processes go on.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Kills the server where it runs, and starts it again with the same port and data.
    pub fn restart(&self) {
        self.kill();
        if let Err(log) = self.launch() {
            panic!("Postgres does not start again:\n{log}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn initialise(&self) {
        let output = self
            .command(&self.programs.initdb)
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .args(["--no-instructions", "--username", ROLE, "--pgdata"])
            .arg(self.data())
            .output()
            .expect("running initdb");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {complaint}");
    }

    fn make_certificate(&self) {
        let output = self
            .command(&program("openssl", "openssl"))
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-out", CERTIFICATE, "-keyout", KEY])
            .current_dir(self.data())
            .output()
            .expect("running openssl");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl: {complaint}");
    }

    /// Starts the server and waits until it answers; what it logged, where it ends instead.
    fn launch(&self) -> Result<(), String> {
        let mut running = self.lock();
        let log = self.folder.path().join("log");
        let mut command = self.command(&self.programs.postgres);
        command.arg("-D").arg(self.data());
        let port = self.port.to_string();
        let fsync = if self.options.fsync { "on" } else { "off" };
        let own = [
            ("listen_addresses", "127.0.0.1"),
            ("port", port.as_str()),
            ("unix_socket_directories", ""),
            ("fsync", fsync),
            ("shared_buffers", "32MB"),
            ("ssl", if self.options.tls { "on" } else { "off" }),
            ("ssl_cert_file", CERTIFICATE),
            ("ssl_key_file", KEY),
        ];
        let more = &self.options.settings;
        let more = more.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in own.into_iter().chain(more) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut postmaster = command
            .stderr(File::create(&log).expect("making Postgres's log"))
            .spawn()
            .expect("starting Postgres");
        let until = Instant::now() + START_TIMEOUT;
        while !self.is_ready(postmaster.id()) {
            let ended = postmaster.try_wait().expect("looking after Postgres");
            if ended.is_some() || Instant::now() > until {
                // It has ended already, or will not be waited for.
                let _ = postmaster.kill();
                let _ = postmaster.wait();
                return Err(fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        *running = Some(postmaster);
        Ok(())
    }

    /// The file that the server keeps has its process id in the first line and its state in the last.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines();
        lines.next() == Some(&pid.to_string()) && lines.last().map(str::trim) == Some("ready")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// Its first process, and one for each connection and task. The first one goes first, so that it starts no others.
    fn signal_all(&self, signal: Signal) {
        let Some(postmaster) = self.pid() else { return };
        for pid in std::iter::once(postmaster).chain(children_of(postmaster)) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // A process that ended meanwhile is as good as one that was told.
                let _ = kill_process(pid, signal);
            }
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.guard.dismiss();
        self.kill();
    }
}

/// The programs of a Postgres installation.
#[derive(Debug)]
struct Programs {
    initdb: PathBuf,
    postgres: PathBuf,
    psql: PathBuf,
}

impl Programs {
    /// Debian keeps the server's programs out of the PATH, in a folder for each version; the newest is taken.
    fn find() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let numbers = versions
            .flatten()
            .filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok());
        let newest = numbers
            .max()
            .map(|version| format!("/usr/lib/postgresql/{version}/bin"));
        let find = |name: &str| {
            let installed = newest.as_deref().map(|folder| Path::new(folder).join(name));
            let installed = installed.filter(|program| program.is_file());
            installed.unwrap_or_else(|| program(name, "postgresql"))
        };
        Self {
            initdb: find("initdb"),
            postgres: find("postgres"),
            psql: find("psql"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn databases_are_apart_and_outlive_a_kill() {
        let server = PostgresServer::start();
        let (one, other) = (server.database(), server.database());
        server.sql(
            &one,
            "CREATE TABLE t (n INT); INSERT INTO t VALUES (1), (2)",
        );
        assert_eq!(server.sql(&one, "SELECT sum(n), count(*) FROM t"), "3|2");
        let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 't'";
        assert_eq!(server.sql(&other, tables), "0");
        let pid = server.pid();
        server.kill();
        assert_eq!(server.pid(), None);
        server.restart();
        assert_ne!(server.pid(), pid);
        assert_eq!(server.sql(&one, "SELECT sum(n) FROM t"), "3");
    }

    #[test]
    fn a_paused_server_does_not_answer_until_it_goes_on() {
        let server = PostgresServer::start();
        let url = server.database();
        server.pause();
        let mut psql = Command::new(&server.programs.psql)
            .args(["-c", "SELECT 1", &url])
            .stdout(Stdio::null())
            .spawn()
            .expect("running psql");
        std::thread::sleep(Duration::from_millis(300));
        let ended = psql.try_wait().expect("looking after psql");
        server.resume();
        assert!(ended.is_none());
        assert!(psql.wait().expect("waiting for psql").success());
    }

    #[test]
    fn a_server_goes_with_its_handle() {
        let server = PostgresServer::start();
        let (folder, port) = (server.folder.path().to_owned(), server.port());
        drop(server);
        assert!(!folder.exists());
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_server_goes_with_the_process_of_the_tests() {
        let mut server = PostgresServer::start();
        let folder = server.folder.path().to_owned();
        // What the kernel does when this process ends.
        server.guard.let_go();
        assert!(!folder.exists());
        let postmaster = server.lock().take();
        let mut postmaster = postmaster.expect("it was started");
        assert!(postmaster.try_wait().expect("looking after it").is_some());
    }
}
