//! What reviewers cannot keep by eye: the module order, the purity of the media core, headers, and clean text.
//!
//! Not here: lengths and names, which are for judgement.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module may use only itself and those before it (`crate::` paths).
const MODULE_ORDER: [&str; 14] = [
    "ids",
    "units",
    "drops",
    "pii",
    "acts",
    "config",
    "rtp",
    "transport",
    "sfu",
    "worker",
    "store",
    "control",
    "telephone",
    "web",
];

/// Two front doors onto `control`: neither knows the other.
const DOORS: [&str; 2] = ["telephone", "web"];

/// What may not stand in `rtp`, `transport` and `sfu`: clocks, sockets, async, locks, unseeded randomness.
const IMPURE: [&str; 17] = [
    "Instant::now",
    "SystemTime",
    "UNIX_EPOCH",
    "std::net::UdpSocket",
    "std::net::Tcp",
    "std::thread",
    "tokio",
    "async fn",
    ".await",
    "Mutex",
    "RwLock",
    "thread_rng",
    "rand::rng()",
    "rand::random",
    "OsRng",
    "from_entropy",
    "from_os_rng",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            // Cargo's own stands beside a manifest; a module may be called so too.
            let built = path.ends_with("target") && directory.join("Cargo.toml").exists();
            if !built && !matches!(entry.file_name().to_str(), Some("node_modules" | "dist" | ".git" | "corpus")) {
                files(&path, extension, into);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            into.push(path);
        }
    }
}

fn rust_files(under: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(&root().join(under), "rs", &mut all);
    assert!(!all.is_empty(), "no Rust files under {under}");
    all
}

/// The file's code: without its tests and without comments.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("readable file");
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.trim().starts_with("#[cfg(test)]"))
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default().to_owned()))
        .collect()
}

fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).expect("below src");
    let first = relative.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn rank(module: &str) -> Option<usize> {
    MODULE_ORDER.iter().position(|&name| name == module)
}

/// Whether the file, or a folder above it, is declared under `#[cfg(test)]` by its parent module.
fn is_test_file(path: &Path) -> bool {
    let source = root().join("src");
    path.ancestors().take_while(|ancestor| *ancestor != source).any(|module| {
        let name = module.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = module.parent().expect("below src");
        let parents = [folder.join("mod.rs"), folder.join("lib.rs"), folder.with_extension("rs")];
        parents.iter().filter_map(|file| fs::read_to_string(file).ok()).any(|parent| {
            let declares = |line: &str| line.trim_start_matches("pub(crate) ") == format!("mod {name};");
            let lines: Vec<&str> = parent.lines().map(str::trim).collect();
            lines.windows(2).any(|pair| pair[0] == "#[cfg(test)]" && declares(pair[1]))
        })
    })
}

/// Modules of the program itself: wiring, which stands below everything.
fn wiring() -> Vec<String> {
    let main = fs::read_to_string(root().join("src/main.rs")).expect("readable file");
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned);
    ["main", "lib"].map(str::to_owned).into_iter().chain(modules).collect()
}

#[test]
fn each_module_uses_only_those_above_it() {
    let mut faults = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| !is_test_file(path)) {
        let module = module_of(&path);
        if wiring().contains(&module) {
            continue;
        }
        let own = rank(&module).unwrap_or_else(|| panic!("src/{module} is not in the module order"));
        for (number, line) in code(&path) {
            for used in line.split("crate::").skip(1) {
                let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let doors = DOORS.contains(&module.as_str()) && DOORS.contains(&name.as_str()) && module != name;
                if doors || rank(&name).is_some_and(|other| other > own) {
                    faults.push(format!("{}:{number}: {module} uses {name}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_media_core_has_no_clock_socket_async_lock_or_unseeded_randomness() {
    let mut faults = Vec::new();
    for module in ["src/rtp", "src/transport", "src/sfu"] {
        for path in rust_files(module).into_iter().filter(|path| !is_test_file(path)) {
            for (number, line) in code(&path) {
                for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                    faults.push(format!("{}:{number}: {word}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn unsafe_stands_only_in_its_places() {
    let mut faults = Vec::new();
    let places = [
        "src/worker/socket.rs",
        "src/transport/boring_dtls.rs",
        // The probe calls the kernel as barely as it can be called: that is what it is for.
        "benches/limit-probe/src/kernel.rs",
        // A name that the instruction counter knows, in an attribute.
        "benches/media/instructions.rs",
    ];
    for under in ["src", "signaling/src", "loadtest/src", "benches"] {
        for path in rust_files(under) {
            if places.iter().any(|place| path.ends_with(place)) {
                continue;
            }
            for (number, line) in code(&path) {
                if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                    faults.push(format!("{}:{number}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "unsafe outside its places:\n{}", faults.join("\n"));
}

#[test]
fn every_rust_file_says_what_it_is() {
    let mut faults = Vec::new();
    for under in ["src", "signaling/src", "loadtest/src", "tests", "fuzz", "benches"] {
        for path in rust_files(under) {
            let text = fs::read_to_string(&path).expect("readable file");
            if !text.starts_with("//!") {
                faults.push(path.display().to_string());
            }
        }
    }
    assert!(faults.is_empty(), "files without a header:\n{}", faults.join("\n"));
}

#[test]
fn nothing_is_unfinished_and_no_machine_path_is_named() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["/ro", "ot/"].concat(), ["/wo", "rk/"].concat()];
    let mut all = Vec::new();
    for extension in ["rs", "ts", "mjs", "md", "sh", "py", "toml", "css", "html"] {
        files(&root(), extension, &mut all);
    }
    let mut faults = Vec::new();
    for path in all {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                faults.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
