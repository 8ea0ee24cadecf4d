//! Runs every committed input through its target, without libFuzzer: seeds, and inputs that once found a bug.

use std::path::Path;

use colloque_fuzz::TARGETS;

#[test]
fn every_target_survives_its_committed_inputs() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let mut inputs = 0;
        for entry in folder.read_dir().unwrap_or_else(|error| panic!("{name} has no corpus: {error}")) {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no seed");
    }
}

#[test]
fn every_corpus_folder_has_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in corpus.read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(colloque_fuzz::target(&name).is_some(), "{name} is no target");
    }
}
