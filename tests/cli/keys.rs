//! `sealed-session keys` on a file, beside processes that use it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sealed_session::keys::KeyFile;
use sealed_session::{AppKey, ManagedKeys};

use super::{fails, keygen, ok};

struct Ring {
    _folder: tempfile::TempDir,
    path: String,
}

impl Ring {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").to_str().unwrap().to_owned();
        Self {
            _folder: folder,
            path,
        }
    }

    fn made() -> (Self, ManagedKeys) {
        let ring = Self::new();
        let keys = ManagedKeys::file(&ring.path).unwrap();
        (ring, keys)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        ok(&self.with(arguments), &[], "")
    }

    fn fails(&self, status: i32, arguments: &[&str]) -> String {
        fails(status, &self.with(arguments), &[], "")
    }

    fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["keys", "--file", &self.path], arguments].concat()
    }
}

fn lines(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().skip_while(|line| !line.starts_with("KEY"));
    rows.skip(1)
        .map(|row| row.split_whitespace().collect())
        .collect()
}

#[test]
fn a_ring_is_made_once_and_its_next_key_once() {
    let ring = Ring::new();
    for action in ["list", "check", "rewrap"] {
        let told = ring.fails(2, &[action]);
        assert!(told.contains("there is no ring of keys"), "{told}");
    }
    let made = ring.ok(&["add"]);
    assert!(made.starts_with("a ring was made\n"), "{made}");
    assert_eq!(lines(&made).len(), 1);
    assert_eq!(lines(&made)[0][1], "sealing");
    assert!(
        ring.ok(&["add", "--every", "90d"])
            .starts_with("nothing is due before 2")
    );
    let added = ring.ok(&["add"]);
    let id = lines(&added)[1][0];
    assert!(added.starts_with(&format!("{id} was made\n")), "{added}");
    assert_eq!(lines(&added)[1][1], "coming");
    let again = ring.ok(&["add"]);
    assert!(again.starts_with("nothing was done"), "{again}");
    assert_eq!(lines(&again), lines(&ring.ok(&["list"])));
    assert_eq!(lines(&again), lines(&ring.ok(&[])));
    let ids: Vec<_> = ManagedKeys::file(&ring.path).unwrap().opens();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_waiting_key_is_promoted_and_an_old_one_is_disabled_and_dropped() {
    let (ring, keys) = Ring::made();
    let added = ring.ok(&["add", "--waiting"]);
    let (old, new) = (
        keys.seals().unwrap().to_string(),
        lines(&added)[1][0].to_owned(),
    );
    assert_eq!(lines(&added)[1][1], "waiting");
    let told = ring.ok(&["promote", &new]);
    assert!(told.starts_with(&format!("{new} seals from 2")), "{told}");
    assert_eq!(ring.ok(&["promote", &new]), told);
    assert!(
        ring.fails(2, &["disable", &old])
            .contains("revoke this one")
    );
    assert!(ring.fails(2, &["drop", &old]).contains("disable it first"));
    assert!(
        ring.fails(2, &["drop", "00000000"])
            .contains("`keys list` shows")
    );
    assert!(
        ring.ok(&["check"])
            .starts_with(&format!("in order: {old} seals"))
    );
}

#[test]
fn a_revocation_says_what_dies_what_survives_and_by_when() {
    let (ring, keys) = Ring::made();
    let leaked = keys.seals().unwrap().to_string();
    let told = ring.ok(&["revoke", &leaked]);
    assert!(
        told.starts_with(&format!("revoked: {leaked}\ngoes on to open: none\n")),
        "{told}"
    );
    assert!(told.contains("knows it by 2"), "{told}");
    let states: Vec<_> = lines(&told)
        .iter()
        .map(|row| row[1])
        .map(str::to_owned)
        .collect();
    assert!(states.contains(&"revoked".to_owned()), "{told}");
    keys.refresh().unwrap();
    let fresh = keys.seals().unwrap().to_string();
    assert!(
        told.contains(&format!("seals from now on: {fresh}")),
        "{told}"
    );
    assert!(ring.ok(&["revoke", &leaked]).starts_with("revoked: none\n"));
    let only = ring.ok(&["revoke", "--only", &fresh]);
    assert!(only.starts_with(&format!("revoked: {fresh}\n")), "{only}");
}

#[test]
fn more_is_allowed_and_the_root_key_exchanged() {
    let (ring, keys) = Ring::made();
    let allow = ["allow", "--lifetime", "30d", "--poll", "1m"];
    assert_eq!(ring.ok(&allow), "the ring allows it");
    assert!(ring.ok(&allow).starts_with("nothing was done"));
    keys.refresh().unwrap();
    assert_eq!(keys.allowed().poll.as_secs(), 60);
    assert!(
        ring.fails(2, &["allow", "--poll", "soon"])
            .starts_with("--poll: it must be")
    );
    assert!(ring.fails(2, &["rewrap"]).contains("no root key"));

    let (ring, old, new) = (Ring::new(), keygen(), keygen());
    let with = |arguments: &[&str], present: &str, previous: &str| {
        let variables = [("APP_KEY", present), ("APP_PREVIOUS_KEYS", previous)];
        let arguments = [&["--root"], arguments].concat();
        ok(&ring.with(&arguments), &variables, "")
    };
    with(&["add"], &old, "");
    assert_eq!(
        with(&["rewrap"], &new, &old),
        "the ring is sealed under APP_KEY"
    );
    assert!(with(&["rewrap"], &new, "").starts_with("nothing was done"));
    let token = fs::read_to_string(&ring.path).unwrap();
    let under = sealed_session::Token::parse(token.trim_end())
        .unwrap()
        .key_id();
    assert_eq!(under, new.parse::<AppKey>().unwrap().id());
    let told = ring.fails(2, &["list"]);
    assert!(told.contains("sealed under a root key"), "{told}");
}

#[test]
fn a_length_of_time_that_cannot_be_is_refused_before_anything_is_made() {
    let ring = Ring::new();
    for every in ["soon", "", "90D"] {
        let told = ring.fails(2, &["add", "--every", every]);
        assert!(told.starts_with("--every: it must be"), "{told}");
        assert!(!fs::exists(&ring.path).unwrap());
    }
    ring.ok(&["add", "--every", "90d"]);
    for every in ["281474976711", "18446744073709551615"] {
        let told = ring.ok(&["add", "--every", every]);
        assert_eq!(told, "nothing is ever due", "{every}");
    }
    assert_eq!(lines(&ring.ok(&["list"])).len(), 1);
}

#[test]
fn without_a_place_only_the_ring_of_the_environment_is_listed() {
    let told = fails(2, &["keys", "list"], &[], "");
    assert_eq!(told, "say where the keys are, with --file or --redis");
}

#[test]
fn no_output_shows_a_key() {
    let (ring, _keys) = Ring::made();
    let text = fs::read_to_string(&ring.path).unwrap();
    let key = text.split("base64:").nth(1).unwrap().get(..12).unwrap();
    for arguments in [&["list"][..], &["check"], &["add"]] {
        assert!(!ring.ok(arguments).contains(key));
    }
    fs::write(&ring.path, text.replace("made", "mode")).unwrap();
    assert!(!ring.fails(2, &["list"]).contains(key));
}

#[test]
fn the_recipe_for_a_shared_file_that_must_exist_works() {
    let ring = Ring::new();
    let keys = || {
        ManagedKeys::builder(KeyFile::owned(&ring.path))
            .propagation(Duration::from_secs(60))
            .must_exist()
            .build()
    };
    let told = keys().unwrap_err().to_string();
    assert!(told.contains("`sealed-session keys add`"), "{told}");
    ring.ok(&["add"]);
    let keys = [keys().unwrap(), keys().unwrap()];
    assert_eq!(keys[0].seals(), keys[1].seals());
    assert_eq!(keys[0].allowed().propagation.as_secs(), 60);
}

#[test]
fn the_recipe_for_a_mounted_secret_works() {
    let ring = Ring::new();
    ring.ok(&["add"]);
    ring.ok(&["allow", "--propagation", "3m"]);
    let mount = tempfile::tempdir().unwrap();
    let path = mount.path().join("session.keys");
    let publish = || {
        let new = mount.path().join("new");
        fs::copy(&ring.path, &new).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o440)).unwrap();
        fs::rename(new, &path).unwrap();
    };
    publish();
    let keys = ManagedKeys::mounted(&path).unwrap();
    assert_eq!(keys.opens().len(), 1);
    let told = ring.ok(&["add", "--every", "90d"]);
    assert!(told.starts_with("nothing is due before"), "{told}");
    ring.ok(&["add"]);
    publish();
    keys.refresh().unwrap();
    assert_eq!(keys.opens().len(), 2);
}
