//! Builds the pages before the server that embeds them: `npm ci` when the lock file changed, `npm run build` always
//! when a source did. Renders the telephone's prompts whose words changed (`build/prompts.rs`). Cargo runs this only when
//! something it watches changed.
//!
//! A source tree whose pages are built already (a release archive) needs no Node: `COLLOQUE_PAGES=prebuilt` says so.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

#[path = "build/prompts.rs"]
mod prompts;

const CLIENT: &str = "web-client";
/// Where the rendered prompts lie, for every build of this source tree.
const VOICE: &str = "src/telephone/prompts/voice";
/// What the pages are made from; `dist` and `node_modules` are not.
const SOURCES: [&str; 10] = [
    "src",
    "examples",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
    "vite.library.config.ts",
    "vite.templates.ts",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/store/migrations");
    println!("cargo::rerun-if-env-changed=COLLOQUE_PAGES");
    render_prompts();
    let client = Path::new(CLIENT);
    for source in SOURCES.map(|name| client.join(name)) {
        if source.exists() {
            println!("cargo::rerun-if-changed={}", source.display());
        }
    }
    // The embedding macro needs the folder to exist, whatever happens below.
    fs::create_dir_all(client.join("dist")).expect("web-client/dist can be made");
    let is_built = client.join("dist/index.html").exists();
    if !client.join("package.json").exists() || (is_built && env::var("COLLOQUE_PAGES").is_ok_and(|v| v == "prebuilt"))
    {
        return;
    }
    if let Err(why) = build(client) {
        println!("cargo::error=the pages in web-client cannot be built: {why}");
        println!("cargo::error=they need Node 20 or newer: apt-get install -y nodejs npm");
        std::process::exit(1);
    }
}

fn render_prompts() {
    for source in prompts::SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let index =
        Path::new(&env::var_os("OUT_DIR").expect("cargo names a folder for what is generated")).join("prompts.rs");
    if let Err(why) = prompts::render(Path::new(VOICE), &index) {
        println!("cargo::error=the telephone's prompts cannot be rendered: {why}");
        println!("cargo::error=they need espeak-ng: apt-get install -y espeak-ng");
        std::process::exit(1);
    }
}

fn build(client: &Path) -> io::Result<()> {
    let lock = fs::read(client.join("package-lock.json"))?;
    let stamp = client.join("node_modules/.colloque-lock");
    if fs::read(&stamp).ok().as_deref() != Some(&lock) {
        npm(client, &["ci", "--no-audit", "--no-fund"])?;
        fs::write(&stamp, &lock)?;
    }
    npm(client, &["run", "build"])
}

fn npm(client: &Path, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("npm").args(arguments).current_dir(client).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = text.lines().rev().take(20).collect();
    for line in tail.iter().rev() {
        println!("cargo::warning={line}");
    }
    Err(io::Error::other(format!("npm {} failed", arguments.join(" "))))
}
