//! The README's picture: for each job and size a bar for each contestant.

use std::fmt::Write;

use crate::OURS;
use crate::round::Outcome;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 230.0;
const BAR: f64 = 16.0;
const GAP: f64 = 6.0;
const TITLE: f64 = 34.0;

pub(crate) fn draw(groups: &[(String, Vec<Outcome>)]) -> String {
    let rows: usize = groups.iter().map(|(_, outcomes)| outcomes.len()).sum();
    let height = groups.len() as f64 * TITLE + rows as f64 * (BAR + GAP) + 20.0;
    let longest = groups
        .iter()
        .flat_map(|(_, outcomes)| outcomes)
        .map(Outcome::median);
    let scale = (WIDTH - LABEL - 90.0) / longest.fold(1.0, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Microseconds for a whole request, by session library\">\n\
         <style>text{{font:13px system-ui,sans-serif;fill:#24292f}}.t{{font-weight:600}}\
         .o{{fill:#0b6b58}}.p{{fill:#9aa4b0}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.o{{fill:#5cc7ae}}.p{{fill:#57606a}}}}</style>\n"
    );
    let mut y = 0.0;
    for (title, outcomes) in groups {
        y += TITLE;
        let _ = writeln!(
            svg,
            "<text class=\"t\" x=\"0\" y=\"{}\">{title}</text>",
            y - 10.0
        );
        for outcome in outcomes {
            let median = outcome.median();
            let class = if outcome.name == OURS { "o" } else { "p" };
            let (middle, width) = (y + BAR - 3.5, median * scale);
            let _ = writeln!(
                svg,
                "<text x=\"12\" y=\"{middle}\">{}</text>\
                 <rect class=\"{class}\" x=\"{LABEL}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{middle}\">{:.2} µs</text>",
                outcome.name,
                LABEL + width + 6.0,
                median / 1000.0
            );
            y += BAR + GAP;
        }
    }
    svg.push_str("</svg>\n");
    svg
}
