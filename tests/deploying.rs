//! What `deploy/` tells an administrator to do, held against the program: who reads which file, and `colloque check` before and beside the
//! server.
//!
//! The program runs in a process of its own. Not here: names of figures in alerts and board (`telephone_seen`), the sample's keys (`config`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// An operator that registers everybody, and remembers what it was asked: the method, and the port it came from.
struct Registrar {
    port: u16,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

impl Registrar {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (port, asked) = (socket.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&asked);
        // It ends with the process.
        std::thread::spawn(move || {
            let mut buffer = [0; 8_192];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
                let Some(method) = text.split(' ').next().filter(|method| !method.starts_with("SIP/")) else {
                    continue;
                };
                heard.lock().unwrap().push((method.to_owned(), from.port()));
                let kept = |line: &&str| {
                    ["Via", "From", "To", "Call-ID", "CSeq", "Contact"].iter().any(|name| line.starts_with(name))
                };
                let lines: Vec<&str> = text.lines().filter(kept).collect();
                let answer = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"));
                socket.send_to(answer.as_bytes(), from).unwrap();
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A configuration with a line that registers, in a folder of its own.
struct Site {
    folder: PathBuf,
    sip: u16,
}

impl Site {
    fn new(operator: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("colloque-deploying-{:x}", rand::random::<u64>()));
        fs::create_dir_all(&folder).unwrap();
        // The kernel has just given them out: nobody else gets them for a while.
        let udp = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let tcp = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (sip, folder_text) = (udp(), folder.display());
        let text = format!(
            "http_addr = \"127.0.0.1:{}\"\nadmin_addr = \"127.0.0.1:{}\"\nmedia_addr = [\"127.0.0.1\"]\nmedia_port = {}\nworkers = 1\n\
             data_dir = \"{folder_text}/data\"\n[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:{sip}\"\n\
             rtp_ports = \"53000-53400\"\n[[telephone.trunk]]\nname = \"line\"\nuri = \"sip:127.0.0.1:{operator}\"\n\
             register = true\nusername = \"us\"\npassword_file = \"{folder_text}/line.password\"\nallow = [\"127.0.0.1\"]\noptions_s = 0\n",
            tcp(),
            tcp(),
            udp(),
        );
        fs::write(folder.join("colloque.toml"), text).unwrap();
        fs::write(folder.join("line.password"), "secret\n").unwrap();
        Self { folder, sip }
    }

    fn colloque(&self, command: &str) -> Command {
        let program = env!("CARGO_BIN_EXE_colloque");
        let mut colloque = if rustix::process::geteuid().is_root() {
            // As root without the right to read what is not its own.
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--bounding-set", "-dac_override,-dac_read_search", program]);
            setpriv
        } else {
            Command::new(program)
        };
        colloque.env("NO_COLOR", "1").arg(command).arg("--config").arg(self.folder.join("colloque.toml"));
        colloque
    }

    fn check(&self) -> Output {
        self.colloque("check").output().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Ends with the test, however that ends.
struct Serving(Child);

impl Serving {
    fn start(site: &Site) -> Self {
        let mut child = site.colloque("serve").stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(log.any(|line| line.contains("serving")), "it does not start");
        std::thread::spawn(move || log.for_each(drop));
        Self(child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn check_beside_the_server_warns_of_what_is_in_use_and_leaves_its_registration_alone() {
    let registrar = Registrar::start();
    let site = Site::new(registrar.port);

    let alone = site.check();
    let told = String::from_utf8_lossy(&alone.stdout).into_owned();
    assert!(alone.status.success() && told.contains("ok     telephone trunk line\n"), "{told}");
    let asked: Vec<String> = registrar.asked().into_iter().map(|(method, _)| method).collect();
    assert_eq!(asked, ["REGISTER", "REGISTER"], "there, and back");

    let serving = Serving::start(&site);
    while registrar.asked.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(registrar.asked(), [("REGISTER".to_owned(), site.sip)]);
    let beside = site.check();
    let told = String::from_utf8_lossy(&beside.stdout).into_owned();
    for what in ["HTTP address", "admin address", "media address", "telephone trunk line: it answers"] {
        assert!(told.contains(&format!("warn   {what}")), "{what}: {told}");
    }
    assert!(beside.status.success() && !told.contains("failed"), "{told}");
    let asked: Vec<String> = registrar.asked().into_iter().map(|(method, _)| method).collect();
    assert_eq!(asked, ["OPTIONS"], "the server's registration stands");
    drop(serving);
}

#[test]
fn a_password_that_the_server_s_user_cannot_read_is_an_error_in_check_and_at_the_start() {
    let site = Site::new(Registrar::start().port);
    let password = site.folder.join("line.password");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o000)).unwrap();
    let blamed = format!("{}: the user ", password.display());
    let check = site.check();
    let told = String::from_utf8_lossy(&check.stdout);
    assert!(!check.status.success() && told.contains(&format!("failed telephone trunk line: {blamed}")), "{told}");

    for wrong in ["unreadable", "empty", "missing"] {
        match wrong {
            "empty" => {
                fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
                fs::write(&password, "\n").unwrap();
            }
            "missing" => fs::remove_file(&password).unwrap(),
            _ => {}
        }
        // It ends by itself.
        let serve = site.colloque("serve").output().unwrap();
        let told = String::from_utf8_lossy(&serve.stderr);
        let named = told.contains(&format!("the password of the telephone trunk line: {}: ", password.display()));
        assert!(!serve.status.success() && named && !told.contains("secret"), "{wrong}: {told}");
    }
}

#[test]
fn the_guide_gives_each_file_that_the_unit_reads_to_the_unit_s_group() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let text = |file: &str| fs::read_to_string(deploy.join(file)).unwrap();
    let unit = text("colloque.service");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let (user, group) = (setting("User="), setting("Group="));
    assert!(!user.is_empty() && user == group && setting("DynamicUser=").is_empty(), "{user} {group}");

    let guide = text("README.md") + &text("telephone.md");
    let useradd = guide.lines().find(|line| line.trim_start().starts_with("useradd --system")).unwrap();
    assert!(useradd.ends_with(&format!(" {user}")), "{useradd}");
    assert!(guide.contains(&format!("--reuid={user} --regid={group}")), "check runs as the server does");

    // Named by the unit itself, by the examples of lines, and the two of HTTPS.
    let mut read = unit + &text("telephone.md");
    for example in fs::read_dir(deploy.join("telephone")).unwrap().flatten() {
        read += &fs::read_to_string(example.path()).unwrap();
    }
    let sample = text("colloque.toml");
    read.extend(sample.lines().filter(|line| line.starts_with("#= tls_")));
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let mut files: Vec<String> =
        read.match_indices("/etc/colloque/").map(|(at, start)| name(&read[at + start.len()..])).collect();
    files.retain(|file| !file.is_empty());
    files.sort();
    files.dedup();
    assert!(files.len() >= 8, "{files:?}");
    let given = format!("install -g {group} -m 640 ");
    for file in files {
        let named = |line: &str| line.contains(&given) && line.split([' ', '/']).any(|word| word == file);
        assert!(guide.lines().any(named), "the guide does not say how {file} is installed");
    }
}
