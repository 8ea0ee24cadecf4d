//! A real PostgreSQL server for tests: a cluster of its own in a temporary directory, on a Unix socket, with its syncs on.
//!
//! Run by a shell that holds the end of a pipe: when the test process ends, however it ends, the server is stopped and the
//! directory removed. Needs Debian's `postgresql` (scripts/setup.sh test); without it tests fail and say so. PostgreSQL refuses
//! to run as root, so root runs it as the user `postgres`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// A running server.
pub struct PostgresServer {
    /// Socket and data are below it.
    dir: String,
    bin: PathBuf,
    databases: AtomicU64,
    keeper: Child,
    leash: Option<ChildStdin>,
}

impl PostgresServer {
    /// Makes a cluster and waits until it answers.
    pub fn start() -> Self {
        let bin = binaries();
        let mut keeper = as_postgres("sh")
            .args(["-c", KEEPER, "postgres-keeper"])
            .arg(&bin)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let dir = line.trim().to_owned();
        assert!(dir.starts_with('/'), "PostgreSQL did not start");
        let leash = keeper.stdin.take();
        Self { dir, bin, databases: AtomicU64::new(0), keeper, leash }
    }

    /// Makes an empty database and gives its URL.
    pub fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = Command::new(self.bin.join("createdb")).args(["-h", &self.dir, "-U", "postgres", &name]).status();
        assert!(made.is_ok_and(|status| status.success()), "createdb failed");
        self.url(&name)
    }

    /// Panics when PostgreSQL's own checker finds a table or an index of this database damaged.
    pub fn check(&self, url: &str) {
        let name = url.split(['/', '?']).nth(3).expect("a URL of ours");
        let checked = Command::new(self.bin.join("pg_amcheck"))
            .args(["--install-missing", "--heapallindexed", "-h", &self.dir, "-U", "postgres", "-d", name])
            .output()
            .expect("it is beside the server");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir)
    }

    /// Runs a statement as the server's owner.
    #[allow(dead_code)] // Of the tests that share this file, those of the store need no statement.
    pub fn run_sql(&self, sql: &str) {
        let told = Command::new(self.bin.join("psql")).args(["-qXh", &self.dir, "-U", "postgres", "-c", sql]).status();
        assert!(told.is_ok_and(|status| status.success()), "psql failed");
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`) to every process of the server. Killed, it is started again.
    pub fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(format!("{}/data/postmaster.pid", self.dir)).unwrap_or_default();
        let Some(postmaster) = pid.lines().next() else { return };
        let children = Command::new("pgrep").args(["-P", postmaster]).output().expect("procps");
        // The parent first: it would start others in place of its children.
        let children = String::from_utf8_lossy(&children.stdout);
        let all = [postmaster].into_iter().chain(children.lines());
        Command::new("kill").arg(format!("-{signal}")).args(all).status().expect("procps");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.leash.take());
        self.keeper.wait().ok();
    }
}

/// Debian keeps each version's programs in a folder of its own.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    installed.max().expect("PostgreSQL is not installed, and these tests need it: scripts/setup.sh test")
}

fn as_postgres(program: &str) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
    }
}

/// Prints the directory once the server answers; ends, with the server, when its input ends. A server that dies is started again,
/// as an operator's system would.
const KEEPER: &str = r#"
dir=$(mktemp -d /tmp/colloque-postgres-XXXXXX) || exit 1
chmod 755 "$dir"
"$1/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
(
  trap 'kill -INT $server 2>/dev/null; wait; exit' TERM
  while true; do
    "$1/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c max_connections=400 >>"$dir/log" 2>&1 </dev/null &
    server=$!
    wait $server
    sleep 0.1
  done
) >/dev/null 2>&1 &
loop=$!
for try in $(seq 600); do
  "$1/pg_isready" -q -h "$dir" -U postgres && break
  sleep 0.1
done
"$1/pg_isready" -q -h "$dir" -U postgres || { cat "$dir/log" >&2; kill $loop; exit 1; }
echo "$dir"
exec >/dev/null
cat >/dev/null
kill -TERM $loop
wait $loop
rm -rf "$dir"
"#;
