//! The story of the page "where you are logged in": one visitor, several devices.

use ureq::Agent;

use crate::{Answer, Visitor, agent};

/// Another device of somebody, with a jar of its own.
struct Device<'v> {
    visitor: &'v Visitor,
    agent: Agent,
}

impl<'v> Device<'v> {
    /// Logs somebody in on a new device.
    fn of(visitor: &'v Visitor, name: &str, label: &str) -> Self {
        let device = Self {
            visitor,
            agent: agent(),
        };
        let answer = device.post("/login", &[("name", name), ("device", label)]);
        assert_eq!(answer.status, 303, "{answer:?}");
        device
    }

    fn get(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.visitor.site.url);
        self.agent.get(url).call().unwrap().into()
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}{path}", self.visitor.site.url);
        let form = form.iter().copied();
        self.agent.post(url).send_form(form).unwrap().into()
    }

    /// The page's text.
    fn page(&self) -> String {
        let answer = self.get("/devices");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text
    }

    fn is_in(&self) -> bool {
        self.get("/devices").status == 200
    }
}

/// The ids of the page's buttons.
fn ids(page: &str) -> Vec<String> {
    let after = page.split("name=id value=").skip(1);
    after
        .map(|rest| rest.split('>').next().unwrap().to_owned())
        .collect()
}

/// # Panics
///
/// If the page shows something else, or a button does something else.
pub fn are_listed_and_end(visitor: &Visitor) {
    let phone = Device::of(visitor, "ada", "phone");
    let laptop = Device::of(visitor, "ada", "<laptop>");
    let tablet = Device::of(visitor, "ada", "tablet");
    let eve = Device::of(visitor, "eve", "eve's");

    let page = phone.page();
    assert!(page.contains("phone: this device"), "{page}");
    assert!(
        page.contains("&lt;laptop&gt;: last seen 0 hours ago"),
        "{page}"
    );
    assert!(page.contains("tablet: last seen"), "{page}");
    assert!(!page.contains("eve"), "{page}");
    assert_eq!(ids(&page).len(), 2);

    // Nobody ends another's session, whatever the form says.
    for id in ids(&page).iter().map(String::as_str).chain(["junk", ""]) {
        assert_eq!(eve.post("/devices/end", &[("id", id)]).status, 404);
    }
    let laptops = {
        let page = tablet.page();
        let row = page
            .split("<li>")
            .find(|row| row.contains("laptop"))
            .unwrap();
        ids(row).remove(0)
    };
    assert_eq!(phone.post("/devices/end", &[("id", &laptops)]).status, 303);
    assert_eq!(phone.post("/devices/end", &[("id", &laptops)]).status, 404);
    assert!(!laptop.is_in() && phone.is_in() && tablet.is_in() && eve.is_in());

    let answer = tablet.post("/devices/end-others", &[]);
    assert_eq!(answer.location.as_deref(), Some("/devices"), "{answer:?}");
    assert!(tablet.is_in() && eve.is_in() && !phone.is_in());
    assert_eq!(ids(&tablet.page()), Vec::<String>::new());
    assert_eq!(
        phone.post("/devices/end-others", &[]).location.as_deref(),
        Some("/login")
    );
}

/// # Panics
///
/// If the page shows something.
pub fn are_unknown(visitor: &Visitor) {
    let phone = Device::of(visitor, "ada", "phone");
    let answer = phone.get("/devices");
    assert_eq!(answer.status, 501, "{answer:?}");
    assert!(answer.text.contains("in cookies"), "{answer:?}");
}
