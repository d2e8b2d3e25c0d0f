//! A picture of times: for each group a bar for each contestant.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 250.0;
const BAR: f64 = 16.0;
const GAP: f64 = 6.0;
const TITLE: f64 = 34.0;

pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) is_ours: bool,
    pub(crate) micros: f64,
    /// What another program takes besides, drawn after it.
    pub(crate) beside: f64,
}

/// `beside` names what the bars' second part is.
pub(crate) fn draw(label: &str, beside: Option<&str>, groups: &[(String, Vec<Bar>)]) -> String {
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let legend = if beside.is_some() { TITLE } else { 0.0 };
    let height = legend + groups.len() as f64 * TITLE + rows as f64 * (BAR + GAP) + 20.0;
    let bars = groups.iter().flat_map(|(_, bars)| bars);
    let longest = bars.map(|bar| bar.micros + bar.beside).fold(1.0, f64::max);
    let scale = (WIDTH - LABEL - 90.0) / longest;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{label}\">\n\
         <style>text{{font:13px system-ui,sans-serif;fill:#24292f}}.t{{font-weight:600}}\
         .o{{fill:#0b6b58}}.p{{fill:#9aa4b0}}.b{{fill:#c98a2b}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.o{{fill:#5cc7ae}}.p{{fill:#57606a}}\
         .b{{fill:#e3b25c}}}}</style>\n"
    );
    if let Some(beside) = beside {
        for (class, x, what) in [
            ("o", LABEL, "server with sealed-session"),
            ("p", LABEL + 210.0, "server without"),
            ("b", LABEL + 345.0, beside),
        ] {
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"6\" width=\"{BAR}\" height=\"{BAR}\" rx=\"2\"/>\
                 <text x=\"{}\" y=\"18.5\">{what}</text>",
                x + BAR + 6.0
            );
        }
    }
    let mut y = legend;
    for (title, bars) in groups {
        y += TITLE;
        let _ = writeln!(
            svg,
            "<text class=\"t\" x=\"0\" y=\"{}\">{title}</text>",
            y - 10.0
        );
        for bar in bars {
            let class = if bar.is_ours { "o" } else { "p" };
            let (middle, width) = (y + BAR - 3.5, bar.micros * scale);
            let _ = write!(
                svg,
                "<text x=\"12\" y=\"{middle}\">{}</text>\
                 <rect class=\"{class}\" x=\"{LABEL}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>",
                bar.name
            );
            let further = bar.beside * scale;
            if further >= 1.0 {
                let _ = write!(
                    svg,
                    "<rect class=\"b\" x=\"{:.1}\" y=\"{y}\" width=\"{further:.1}\" height=\"{BAR}\" rx=\"2\"/>",
                    LABEL + width
                );
            }
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{middle}\">{:.2} µs</text>",
                LABEL + width + further + 6.0,
                bar.micros + bar.beside
            );
            y += BAR + GAP;
        }
    }
    svg.push_str("</svg>\n");
    svg
}
