//! A real Postfix in a folder of its own, run as its users run it but for the ports.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::broker::until_listens;
use crate::world_bridge::free_port;

/// A Postfix that is running.
pub(crate) struct Postfix {
    running: Child,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
}

/// Whether a Postfix can be run here: it is installed, and we are root.
pub(crate) fn is_here() -> bool {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    is_root && Path::new("/usr/sbin/postfix").exists()
}

impl Postfix {
    /// Starts one with these lines of main.cf more, which are told its folder; `None` where there is none.
    pub(crate) async fn start(more: impl FnOnce(&str) -> String) -> Option<Self> {
        if !is_here() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("mailspan-postfix").tempdir_in("/var/tmp").unwrap();
        let (at, port) = (folder.path().to_str().unwrap().to_owned(), free_port().port());
        assert!(Command::new("chmod").args(["755", &at]).status().unwrap().success());
        for name in ["etc", "queue", "lib", "mail"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["lib", "mail"] {
            assert!(Command::new("chown").args(["postfix", &format!("{at}/{name}")]).status().unwrap().success());
        }
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/lib\nmyhostname = relay.example\n\
             mydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nalias_maps =\nalias_database =\n\
             maillog_file = {at}/lib/log\nmaillog_file_prefixes = /var/tmp\n{}",
            more(&at)
        );
        std::fs::write(folder.path().join("etc/main.cf"), main).unwrap();
        let master = std::fs::read_to_string("/usr/share/postfix/master.cf.dist").unwrap();
        let lines = master.lines().map(|it| match it {
            _ if it.starts_with("smtp      inet") => format!("127.0.0.1:{port} inet n - n - - smtpd"),
            // Not shut into its queue, where it would find no names and no ways of logging in.
            _ if it.starts_with("smtp      unix") => "smtp unix - - n - - smtp".to_owned(),
            _ => it.to_owned(),
        });
        std::fs::write(folder.path().join("etc/master.cf"), lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        let running = Command::new("/usr/sbin/postfix")
            .args(["-c", &format!("{at}/etc"), "start-fg"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postfix = Self { running, folder, port };
        until_listens(([127, 0, 0, 1], port).into()).await;
        Some(postfix)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tries at once what waits in its queue.
    pub(crate) fn flush(&self) {
        let etc = self.folder.path().join("etc");
        assert!(Command::new("/usr/sbin/postqueue").arg("-c").arg(etc).arg("-f").status().unwrap().success());
    }

    /// What it wrote into its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("lib/log")).unwrap_or_default()
    }
}

/// The number of Postfix's own user.
pub(crate) fn user_id() -> String {
    let id = Command::new("id").args(["-u", "postfix"]).output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let etc = self.folder.path().join("etc");
        let _ = Command::new("/usr/sbin/postfix").arg("-c").arg(etc).arg("stop").stderr(Stdio::null()).status();
        let _ = self.running.wait();
    }
}
