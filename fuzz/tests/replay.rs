//! Gives every target its committed corpus: what the fuzzers once found interesting stays right,
//! on stable Rust and without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use sealed_session::AppKey;
use sealed_session_fuzz::TARGETS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = root().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_survives_its_corpus() {
    for (name, target) in TARGETS {
        let files = files(&format!("corpus/{name}"));
        assert!(!files.is_empty(), "{name} has no corpus");
        assert!(files.len() < 300, "{name}: keep what reaches new code");
        for file in files {
            println!("{}", file.display()); // shown with a failure: which input it was
            target(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_a_dictionary() {
    let stems = |folder, extension: &str| -> Vec<String> {
        let files = files(folder).into_iter();
        let files = files.filter(|file| file.extension().is_some_and(|ext| ext == extension));
        files
            .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(stems("fuzz_targets", "rs"), names);
    assert_eq!(stems("dictionaries", "dict"), names);
}

#[test]
fn no_key_in_the_corpus_is_of_use_to_anyone() {
    for file in files("corpus/app_key") {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(
            text.parse::<AppKey>().is_err(),
            "{file:?} is an app key: remove it"
        );
    }
}
