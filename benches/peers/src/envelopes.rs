//! Sealing and opening alone, of the same JSON text.

use std::time::Instant;

use biscotti::config::{CryptoAlgorithm, CryptoRule};
use biscotti::{Processor, ProcessorConfig, RequestCookie, ResponseCookie};
use cookie::{Cookie, CookieJar};
use sealed_session::{AppKey, Sealer};

use crate::data::Data;
use crate::requests::Job;
use crate::round::Contestant;

const NAME: &str = "session";

pub(crate) fn contestants(data: &Data, job: Job) -> Vec<Contestant> {
    let text = serde_json::to_string(data).unwrap();
    vec![
        sealer(&text, job),
        private_jar(&text, job),
        biscotti(&text, job),
    ]
}

fn contestant(
    name: &'static str,
    job: Job,
    sealed: String,
    mut seal: impl FnMut() -> String + 'static,
    mut open: impl FnMut(&str) -> usize + 'static,
) -> Contestant {
    let size = sealed.len();
    let length = open(&sealed);
    assert!(length > 0, "{name}");
    let work = move |times| {
        let start = Instant::now();
        for _ in 0..times {
            match job {
                Job::Write => assert_eq!(std::hint::black_box(seal()).len(), size),
                #[cfg(feature = "tower-sessions")]
                Job::Nothing => {}
                Job::Read => assert_eq!(open(std::hint::black_box(&sealed)), length),
            }
        }
        start.elapsed()
    };
    Contestant {
        name,
        work: Box::new(work),
        cookie: Some(size),
    }
}

fn sealer(text: &str, job: Job) -> Contestant {
    let sealer = Sealer::new(AppKey::generate().unwrap(), NAME).unwrap();
    let opener = sealer.clone();
    let text = text.to_owned();
    let seal = move || sealer.seal(text.as_bytes()).unwrap();
    let open = move |token: &str| opener.open(token).unwrap().len();
    contestant("sealed-session Sealer", job, seal(), seal, open)
}

fn private_jar(text: &str, job: Job) -> Contestant {
    let key = cookie::Key::generate();
    let opening_key = key.clone();
    let text = text.to_owned();
    let seal = move || {
        let mut jar = CookieJar::new();
        jar.private_mut(&key).add(Cookie::new(NAME, text.clone()));
        jar.get(NAME).unwrap().value().to_owned()
    };
    let open = move |token: &str| {
        let jar = CookieJar::new();
        let cookie = Cookie::new(NAME, token.to_owned());
        jar.private(&opening_key)
            .decrypt(cookie)
            .unwrap()
            .value()
            .len()
    };
    contestant("cookie PrivateJar", job, seal(), seal, open)
}

fn biscotti(text: &str, job: Job) -> Contestant {
    let rule = CryptoRule {
        cookie_names: vec![NAME.to_owned()],
        algorithm: CryptoAlgorithm::Encryption,
        key: biscotti::Key::generate(),
        fallbacks: Vec::new(),
    };
    let processor = || {
        let mut config = ProcessorConfig::default();
        config.crypto_rules.push(rule.clone());
        Processor::from(config)
    };
    let (sealing, opening) = (processor(), processor());
    let text = text.to_owned();
    let seal = move || {
        sealing
            .process_outgoing(ResponseCookie::new(NAME, text.as_str()))
            .value()
            .to_owned()
    };
    let open = move |token: &str| {
        let cookie: RequestCookie<'_> = opening.process_incoming(NAME, token).unwrap();
        cookie.value().len()
    };
    contestant("biscotti", job, seal(), seal, open)
}
