//! Contestants in turn, again and again, so that all of them see the same machine.

use std::time::Duration;

/// Does its work this many times and says how long that took.
pub(crate) type Work = Box<dyn FnMut(u32) -> Duration>;

pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    /// Characters of the cookie's value; none where there is no cookie of the session's size.
    pub(crate) cookie: Option<usize>,
}

/// What one contestant needed for one piece of work, over all rounds.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) cookie: Option<usize>,
    /// Nanoseconds, one a round, in the order of the rounds.
    samples: Vec<f64>,
}

impl Outcome {
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.samples, 0.5)
    }

    /// Median and the middle half of the ratios to `other`, round by round.
    pub(crate) fn ratio_to(&self, other: &Self) -> [f64; 3] {
        let ratios: Vec<f64> = self
            .samples
            .iter()
            .zip(&other.samples)
            .map(|(a, b)| a / b)
            .collect();
        [0.25, 0.5, 0.75].map(|q| quantile(&ratios, q))
    }
}

fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted[(last as f64 * q).round() as usize]
}

/// `rounds` rounds of `times` pieces of work each, after one round that does not count.
pub(crate) fn run(contestants: Vec<Contestant>, rounds: u32, times: u32) -> Vec<Outcome> {
    let mut contestants = contestants;
    let mut samples = vec![Vec::new(); contestants.len()];
    for round in 0..=rounds {
        for (contestant, samples) in contestants.iter_mut().zip(&mut samples) {
            let nanoseconds = (contestant.work)(times).as_nanos() as f64 / f64::from(times);
            if round > 0 {
                samples.push(nanoseconds);
            }
        }
    }
    contestants
        .into_iter()
        .zip(samples)
        .map(|(Contestant { name, cookie, .. }, samples)| Outcome {
            name,
            cookie,
            samples,
        })
        .collect()
}
