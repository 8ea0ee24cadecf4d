//! `colloque check`: what would keep a server from starting is said, file by file, before it is started.
//!
//! The program runs in a process of its own. Not here: certificates (`tests/https.rs`), each key of the configuration (`config`).

use std::fs;
use std::process::Command;

/// A recording that no start took was no fault of `check`: the restart behind it brought everything down.
#[test]
fn a_recording_that_no_start_would_take_is_named() {
    let directory = std::env::temp_dir().join(format!("colloque-check-{:x}", rand::random::<u64>()));
    let prompts = directory.join("prompts");
    fs::create_dir_all(prompts.join("fr")).unwrap();
    let text = format!(
        "http_addr = \"127.0.0.1:0\"\nadmin_addr = \"127.0.0.1:0\"\nmedia_addr = [\"127.0.0.1\"]\nmedia_port = 0\nworkers = 1\n\
         data_dir = \"{}\"\n[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:0\"\nrtp_ports = \"52000-52400\"\nprompts_dir = \"{}\"\n\
         [[telephone.trunk]]\nname = \"operator\"\nuri = \"sip:127.0.0.1:9\"\nallow = [\"127.0.0.1\"]\noptions_s = 0\n",
        directory.join("data").display(),
        prompts.display()
    );
    fs::write(directory.join("colloque.toml"), text).unwrap();
    let checked = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_colloque"));
        let output = command.arg("check").arg("--config").arg(directory.join("colloque.toml")).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let told = lines.lines().find(|line| line.contains("prompts")).unwrap_or_else(|| panic!("{lines}"));
        (output.status.code(), told.to_owned())
    };
    assert!(checked().1.starts_with("ok "), "{:?}", checked());
    fs::write(prompts.join("fr/wrong.wav"), b"hello").unwrap();
    let (code, told) = checked();
    assert_eq!(code, Some(1));
    assert!(told.starts_with("failed ") && told.ends_with("wrong.wav: is no prompt's name"), "{told}");
    fs::remove_dir_all(&directory).unwrap();
}
