//! A PostgreSQL of a test's own, to be stopped, started again, hung and hidden behind a pooler or TLS.
//!
//! Where its programs are not installed, or a pooler is not, the tests that need them say that they were left out.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What has not come up by then does not.
const UP_WITHIN: Duration = Duration::from_secs(300);

/// A server with a folder of its own. It goes with the test.
pub(crate) struct OwnPostgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    settings: Vec<String>,
    pub(crate) port: u16,
}

impl OwnPostgres {
    /// A running server with these settings, such as `max_connections=20`. `None`, said aloud, where it cannot be had.
    #[expect(clippy::print_stdout, reason = "what was left out is said")]
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("SKIPPED: PostgreSQL's programs are not installed");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("mailspan-postgres").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let settings = settings.iter().map(|it| (*it).to_owned()).collect();
        let held = free_port();
        let own = Self { folder, programs, settings, port: port_of(&held) };
        let data = own.path("data");
        let mut made = own.as_postgres(&own.programs.join("initdb"));
        run(made.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]));
        drop(held);
        own.start_again();
        Some(own)
    }

    /// A place in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that the server may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&path));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it after [`Self::stop`].
    pub(crate) fn start_again(&self) {
        let settings: String = self.settings.iter().map(|it| format!(" -c {it}")).collect();
        let folder = self.folder.path().display();
        let options = format!(
            "-p {} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off{settings}",
            self.port
        );
        let mut start = self.as_postgres(&self.programs.join("pg_ctl"));
        run(start
            .arg("-D")
            .arg(self.path("data"))
            .args(["-w", "-s", "-t", &UP_WITHIN.as_secs().to_string(), "-l"])
            .arg(self.path("log"))
            .args(["start", "-o", &options]));
    }

    /// Stops it: `fast` cuts every connection, `immediate` is a crash.
    pub(crate) fn stop(&self, mode: &str) {
        let mut stop = self.as_postgres(&self.programs.join("pg_ctl"));
        let within = UP_WITHIN.as_secs().to_string();
        run(stop.arg("-D").arg(self.path("data")).args(["-w", "-s", "-t", &within, "-m", mode, "stop"]));
    }

    /// A program run as a user that PostgreSQL accepts, in its folder.
    pub(crate) fn as_postgres(&self, program: &Path) -> Command {
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        command.current_dir(self.folder.path());
        command
    }

    /// A pooler in this mode before the server. `None`, said aloud, where there is none.
    #[expect(clippy::print_stdout, reason = "what was left out is said")]
    pub(crate) fn pooler(&self, mode: &str) -> Option<Pooler> {
        let Some(program) =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(Path::new).into_iter().find(|it| it.exists())
        else {
            println!("SKIPPED: pgbouncer is not installed");
            return None;
        };
        let held = free_port();
        let port = port_of(&held);
        // Where a session belongs to one client as long as it likes, there must be one for each.
        let sessions = if mode == "session" { 60 } else { 6 };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {sessions}\nmax_client_conn = 500\n",
            self.port
        );
        // `auth_type = any` needs one user for all.
        let text = text.replace(&format!("port={}", self.port), &format!("port={} user=postgres", self.port));
        let config = self.write("pgbouncer.ini", &text);
        let log = std::fs::File::create(self.path("pgbouncer.log")).unwrap();
        let mut command = self.as_postgres(program);
        drop(held);
        let child = command.arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let pooler = Pooler { child, port };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < UP_WITHIN, "{}", std::fs::read_to_string(self.path("pgbouncer.log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pooler)
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        let mut stop = self.as_postgres(&self.programs.join("pg_ctl"));
        // It may be stopped already, which is what is wanted.
        let _ = stop.arg("-D").arg(self.path("data")).args(["-w", "-s", "-m", "immediate", "stop"]).output();
        if is_root() {
            // What the server wrote is not ours to remove where the folder's owner differs.
            let _ = Command::new("rm").arg("-rf").arg(self.path("data")).status();
        }
    }
}

/// A running pgbouncer.
pub(crate) struct Pooler {
    child: Child,
    port: u16,
}

impl Pooler {
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // `runuser` passes this one on.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// The folder of the newest PostgreSQL's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<PathBuf> = versions.flatten().map(|it| it.path().join("bin")).collect();
    folders.retain(|it| it.join("initdb").exists());
    folders.sort_by_key(|it| {
        it.parent().and_then(Path::file_name).and_then(OsStr::to_str).and_then(|it| it.parse::<u32>().ok())
    });
    folders.pop()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

/// A port, held until it is needed. It lies below those that the system hands out: one of those could go to somebody else
/// while its server is stopped, even to whoever tries to reach that server there.
fn free_port() -> TcpListener {
    const FIRST: u32 = 30_000;
    const SPAN: u32 = 2_700;
    let own = std::process::id().wrapping_mul(4);
    let mut ports = (0..SPAN).map(|n| FIRST + own.wrapping_add(n) % SPAN);
    ports.find_map(|port| TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).ok()).unwrap()
}

fn port_of(held: &TcpListener) -> u16 {
    held.local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    // What a server leaves running must not hold our pipes.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
