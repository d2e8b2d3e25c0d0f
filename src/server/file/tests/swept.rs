//! Tests with a directory that is swept away while it is in use, by a cleaner of temporary files or
//! an operator.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::sync::{Barrier, Mutex};

use http::HeaderMap;
use pollster::block_on;

use super::super::super::FileStore;
use super::*;
use crate::envelope::AppKey;
use crate::error::{Origin, Refusal};
use crate::event::Event;

/// A store in a directory whose parent is not swept, and the events it has reported.
struct Shop {
    above: TempDir,
    store: FileStore,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Shop {
    fn open() -> Self {
        Self::at(private(), |above| above.join("sessions"))
    }

    fn at(above: TempDir, path: impl FnOnce(&Path) -> PathBuf) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (file, hook) = (File::open(path(above.path())).unwrap(), Arc::clone(&told));
        let store = FileStore::builder(AppKey::generate().unwrap(), file)
            .on_event(move |event| hook.lock().unwrap().push(event))
            .build()
            .unwrap();
        Self { above, store, told }
    }

    fn path(&self) -> PathBuf {
        self.above.path().join("sessions")
    }

    /// Logs in, and returns the cookie.
    fn log_in(&self, subject: &str) -> String {
        let session = block_on(self.store.load(&HeaderMap::new())).unwrap();
        session.insert("name", subject).unwrap();
        session.set_subject(subject).unwrap();
        let outgoing = block_on(self.store.respond(&session)).unwrap();
        let cookie = outgoing.set_cookies().next().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    fn name(&self, cookie: &str) -> Option<String> {
        let session = block_on(self.store.load_from([cookie])).unwrap();
        session.get("name").unwrap()
    }

    fn told(&self) -> Vec<Event> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// Makes every call of the backend, and returns the error that all of them give.
    fn problem(&self) -> String {
        let file = self.store.backend();
        let (key, tag) = (key(1), tag(1));
        let mut problems = BTreeSet::from([
            block_on(file.load(&key)).unwrap_err().to_string(),
            block_on(file.put(&key, &tagged("a", 1)))
                .unwrap_err()
                .to_string(),
            block_on(file.touch(&key, Duration::from_secs(1)))
                .unwrap_err()
                .to_string(),
            block_on(file.remove(&key)).unwrap_err().to_string(),
            block_on(file.scan(None)).unwrap_err().to_string(),
            block_on(file.tagged(&tag)).unwrap_err().to_string(),
            file.clean_up().unwrap_err().to_string(),
        ]);
        let problem = problems.pop_first().unwrap();
        assert_eq!(problems, BTreeSet::new(), "they differ from {problem}");
        problem
    }
}

fn make_private(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_directory_that_was_swept_away_is_made_anew_and_that_is_told_once() {
    let shop = Shop::open();
    let before = shop.log_in("alice");
    let held = block_on(shop.store.load_from([&before])).unwrap();
    assert_eq!(shop.told(), []);

    fs::remove_dir_all(shop.path()).unwrap();
    let after = shop.log_in("bob");
    assert_eq!(shop.told(), [Event::DirectoryRemade]);
    assert_eq!(mode(&shop.path()), 0o700);
    assert_eq!(shop.name(&after).as_deref(), Some("bob"));
    let gone = block_on(shop.store.load_from([&before])).unwrap();
    assert_eq!(gone.origin(), Origin::Refused(Refusal::Gone));
    // A request that still has the session does not bring it back.
    held.insert("late", true).unwrap();
    let _ = block_on(shop.store.respond(&held)).unwrap();
    let gone = Event::Expired(Refusal::Gone);
    assert_eq!(shop.told(), [gone, Event::Lost]);
    assert_eq!(block_on(shop.store.end_all_of("bob")), Ok(1));
    assert_eq!(shop.name(&after), None);
}

#[test]
fn every_call_makes_it_anew_and_so_does_the_clean_up() {
    type Call = fn(&File);
    let calls: [Call; 7] = [
        |file| assert!(block_on(file.load(&key(1))).unwrap().is_none()),
        |file| {
            let outcome = block_on(file.put(&key(1), &tagged("a", 1)));
            assert_eq!(outcome, Ok(Outcome::Stored));
        },
        |file| block_on(file.touch(&key(1), Duration::from_secs(1))).unwrap(),
        |file| assert_eq!(block_on(file.remove(&key(1))), Ok(None)),
        |file| assert_eq!(block_on(file.scan(None)).unwrap().0, []),
        |file| assert_eq!(block_on(file.tagged(&tag(1))), Ok(vec![])),
        |file| assert_eq!(file.clean_up(), Ok(0)),
    ];
    let shop = Shop::open();
    for call in calls {
        block_on(shop.store.backend().put(&key(1), &tagged("a", 1))).unwrap();
        shop.told();
        fs::remove_dir_all(shop.path()).unwrap();
        call(shop.store.backend());
        assert_eq!(shop.told(), [Event::DirectoryRemade]);
        assert_eq!(mode(&shop.path()), 0o700);
    }
}

#[test]
fn the_thread_that_cleans_up_makes_it_anew() {
    let (told, hears) = mpsc::channel();
    let dir = private();
    let path = dir.path().join("sessions");
    let file = File::builder(&path)
        .clean_up_every(Duration::from_millis(1))
        .build()
        .unwrap();
    file.report_to(Arc::new(move |event| told.send(event).unwrap()));
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(hears.recv(), Ok(Event::DirectoryRemade));
    assert!(path.is_dir());
    file.stop();
}

#[test]
fn one_that_another_process_has_made_meanwhile_is_used_with_what_is_in_it() {
    let shop = Shop::open();
    let before = shop.log_in("alice");
    // Another process notices first, makes the directory, and puts a session of its own there.
    fs::remove_dir_all(shop.path()).unwrap();
    let other = Directory::open(&shop.path()).unwrap();
    let now = SystemTime::now().into();
    let theirs = entry("theirs", When::Absent);
    other.put(&key(9), &theirs, now).unwrap();
    assert_eq!(shop.name(&before), None);
    assert_eq!(shop.told()[0], Event::DirectoryRemade);
    let stored = block_on(shop.store.backend().scan(None)).unwrap().0;
    assert_eq!(stored, [key(9)]);
}

#[test]
fn one_that_was_moved_away_is_left_where_it_went() {
    let shop = Shop::open();
    let before = shop.log_in("alice");
    let away = shop.above.path().join("away");
    fs::rename(shop.path(), &away).unwrap();
    let kept = tree(&away);
    let after = shop.log_in("bob");
    assert_eq!(shop.told(), [Event::DirectoryRemade]);
    assert_eq!(shop.name(&before), None);
    assert_eq!(tree(&away), kept);
    // If somebody moves the directory back, its sessions are back too.
    fs::remove_dir_all(shop.path()).unwrap();
    fs::rename(&away, shop.path()).unwrap();
    assert_eq!(shop.name(&before).as_deref(), Some("alice"));
    assert_eq!(shop.name(&after), None);
}

#[test]
fn what_has_come_in_its_place_is_refused_and_left_alone_until_it_is_gone() {
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 5] = [
        ("cannot be opened", |outside, path| {
            symlink(outside, path).unwrap();
        }),
        ("cannot be opened", |_, path| {
            symlink("nothing", path).unwrap();
        }),
        ("cannot be opened", |_, path| fs::write(path, "").unwrap()),
        ("others may enter it, its mode is 755", |_, path| {
            make_private(path);
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }),
        ("others may enter it, its mode is 770", |_, path| {
            make_private(path);
            fs::set_permissions(path, PermissionsExt::from_mode(0o770)).unwrap();
        }),
    ];
    for (what, plant) in plants {
        let (shop, outside) = (Shop::open(), private());
        let before = shop.log_in("alice");
        fs::remove_dir_all(shop.path()).unwrap();
        plant(outside.path(), &shop.path());
        let planted = tree(shop.above.path());
        let problem = shop.problem();
        assert!(problem.starts_with("the directory of sessions: "));
        assert!(problem.contains(what), "{problem}");
        assert_eq!(tree(outside.path()), BTreeSet::new());
        assert_eq!(tree(shop.above.path()), planted);
        assert_eq!(shop.told(), [], "nothing was made");

        if shop.path().is_symlink() || shop.path().is_file() {
            fs::remove_file(shop.path()).unwrap();
        } else {
            fs::remove_dir(shop.path()).unwrap();
        }
        let after = shop.log_in("bob");
        assert_eq!(shop.name(&after).as_deref(), Some("bob"));
        assert_eq!(shop.name(&before), None);
    }
}

/// Only a superuser can give a directory away. As another user, the test checks only that the
/// system refuses it.
#[test]
fn a_directory_of_another_user_is_refused() {
    let shop = Shop::open();
    fs::remove_dir_all(shop.path()).unwrap();
    make_private(&shop.path());
    let given = chown(shop.path(), Some(65534), None);
    if rustix::process::geteuid().is_root() {
        given.unwrap();
        let problem = shop.problem();
        assert!(problem.contains("another user than this process runs as; `chown` it"));
        assert_eq!(tree(&shop.path()), BTreeSet::new());
    } else {
        given.unwrap_err();
    }
}

#[test]
fn a_link_that_led_to_it_from_the_start_is_no_obstacle_and_one_that_comes_later_leads_nowhere() {
    let (above, elsewhere) = (private(), private());
    let real = elsewhere.path().join("real");
    make_private(&real);
    let shop = Shop::at(above, |above| {
        symlink(&real, above.join("sessions")).unwrap();
        above.join("sessions")
    });
    let before = shop.log_in("alice");
    fs::remove_dir_all(&real).unwrap();
    let after = shop.log_in("bob");
    assert_eq!(shop.told(), [Event::DirectoryRemade]);
    assert_eq!((mode(&real), shop.name(&before)), (0o700, None));
    // The store ignores later changes of the link.
    let trap = private();
    fs::remove_file(shop.path()).unwrap();
    symlink(trap.path(), shop.path()).unwrap();
    assert_eq!(shop.name(&after).as_deref(), Some("bob"));
    shop.log_in("carol");
    assert_eq!(tree(trap.path()), BTreeSet::new());
}

#[test]
fn without_the_directory_above_every_call_is_an_error_until_that_is_back() {
    let shop = Shop::at(private(), |above| {
        make_private(&above.join("app"));
        above.join("app/sessions")
    });
    let app = shop.above.path().join("app");
    fs::remove_dir_all(&app).unwrap();
    let problem = shop.problem();
    assert!(problem.contains("it cannot be made"), "{problem}");
    make_private(&app);
    let after = shop.log_in("bob");
    assert_eq!(shop.name(&after).as_deref(), Some("bob"));
}

#[test]
fn a_part_that_was_swept_away_is_made_anew() {
    let (dir, directory) = open();
    for n in 1..=2 {
        directory.put(&key(n), &tagged("a", 7), at(0)).unwrap();
    }
    fs::remove_dir_all(dir.path().join("01")).unwrap();
    assert_eq!(text(&directory, &key(1)), None);
    directory.touch(&key(1), Duration::ZERO, at(0)).unwrap();
    let late = directory.put(&key(1), &entry("b", over("a")), at(0));
    assert_eq!(late.unwrap(), Outcome::Absent, "it stays away");
    let anew = directory.put(&key(1), &tagged("b", 7), at(0));
    assert_eq!(anew.unwrap(), Outcome::Stored);
    assert_eq!(text(&directory, &key(1)).as_deref(), Some("b"));
    assert_eq!(text(&directory, &key(2)).as_deref(), Some("a"));
}

/// Sweeps away a subject's index, in parts and as a whole, and checks that it is rebuilt.
#[test]
fn a_subjects_sessions_are_found_again_whatever_was_swept_of_their_tags() {
    let (dir, directory) = open();
    let tags = dir.path().join("tags");
    let of_seven = tags.join("07").join(tag(7).to_string());
    let swept = [
        of_seven.join(key(1).to_string()),
        of_seven.clone(),
        tags.join("07"),
        tags.clone(),
    ];
    let sweep = |path: &Path| {
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    };
    let found = || directory.tagged(&tag(7)).unwrap();
    directory.put(&key(1), &tagged("0", 7), at(0)).unwrap();
    for (n, path) in swept.iter().enumerate() {
        sweep(path);
        let mut again = tagged(&(n + 1).to_string(), 7);
        again.when = over(&n.to_string());
        directory.put(&key(1), &again, at(0)).unwrap();
        assert_eq!(found(), [key(1)], "with the next save: {path:?}");

        sweep(path);
        directory.clean_up(1, at(0)).unwrap();
        assert_eq!(found(), [key(1)], "with a clean-up: {path:?}");
    }
    sweep(&tags);
    assert_eq!(found(), [key(1)], "before they are needed, if all are gone");
    sweep(&tags);
    assert_eq!(directory.tagged(&tag(8)).unwrap(), []);
    assert_eq!(found(), [key(1)]);
}

#[test]
fn no_save_fails_because_it_is_swept_in_the_middle() {
    let shop = Shop::open();
    let begin = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                begin.wait();
                // A file written at the same time may keep the directory from being removed.
                let _ = fs::remove_dir_all(shop.path());
                begin.wait();
            }
        });
        for n in 0..200 {
            begin.wait();
            let entry = tagged(&n.to_string(), 7);
            let saved = block_on(shop.store.backend().put(&key(1), &entry));
            begin.wait();
            saved.unwrap();
            block_on(shop.store.backend().remove(&key(1))).unwrap();
        }
    });
}
