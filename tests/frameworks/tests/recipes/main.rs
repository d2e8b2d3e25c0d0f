//! The recipes of docs/recipes.md: the page prints the files of `code`, and these tests run them.

mod browser;
mod connections;
mod events;
mod sites;

/// The code of each recipe, and what it leaves to the application.
mod recipes {
    pub mod cross_site {
        include!("code/cross_site.rs");

        fn is_signed(answer: &Answer) -> bool {
            answer.signature == format!("signed {}", answer.order)
        }
    }

    pub mod two_tabs {
        include!("code/two_tabs.rs");

        /// What the provider answers: who it is, if code and verifier belong together.
        fn exchange(code: &str, verifier: &str) -> Result<String, StatusCode> {
            let is_long_enough = (43..=128).contains(&verifier.len());
            let user = code.strip_prefix("code of ").filter(|_| is_long_enough);
            user.map(str::to_owned).ok_or(StatusCode::BAD_GATEWAY)
        }
    }

    pub mod rename {
        use sealed_session::MemoryStore;

        include!("code/rename.rs");

        /// The same with stores that have a backend.
        pub fn in_backend(routes: Router, present: MemoryStore, former: MemoryStore) -> Router {
            routes
                .layer(middleware::from_fn(move_over))
                .layer(SessionLayer::new(former).named::<Former>())
                .layer(SessionLayer::new(present))
        }
    }

    pub mod changed_type {
        include!("code/changed_type.rs");
    }

    pub mod web_socket {
        include!("code/web_socket.rs");
    }

    pub mod server_sent {
        include!("code/server_sent.rs");
    }

    pub mod csrf {
        include!("code/csrf.rs");
    }

    pub mod login {
        use std::sync::{Arc, Mutex};

        include!("code/login.rs");

        /// The table of users.
        #[derive(Clone, Default)]
        pub struct Users(pub Arc<Mutex<Vec<User>>>);

        impl Users {
            async fn named(&self, name: &str) -> Option<User> {
                self.first(|user| user.name == name)
            }

            async fn with_id(&self, id: u64) -> Option<User> {
                self.first(|user| user.id == id)
            }

            fn first(&self, is_it: impl Fn(&User) -> bool) -> Option<User> {
                let users = self.0.lock().unwrap();
                users.iter().find(|user| is_it(user)).cloned()
            }
        }
    }

    pub mod logout {
        include!("code/logout.rs");
    }

    pub mod ports {
        include!("code/ports.rs");
    }

    pub mod counted {
        include!("code/metrics.rs");
    }

    pub mod measured {
        include!("code/opentelemetry.rs");
    }

    pub mod cdn {
        include!("code/cdn.rs");
    }
}

#[test]
fn the_page_prints_the_code_that_these_tests_run() {
    let page = include_str!("../../../../docs/recipes.md");
    for code in [
        include_str!("code/cdn.rs"),
        include_str!("code/changed_type.rs"),
        include_str!("code/cross_site.rs"),
        include_str!("code/csrf.rs"),
        include_str!("code/login.rs"),
        include_str!("code/logout.rs"),
        include_str!("code/metrics.rs"),
        include_str!("code/opentelemetry.rs"),
        include_str!("code/ports.rs"),
        include_str!("code/rename.rs"),
        include_str!("code/server_sent.rs"),
        include_str!("code/two_tabs.rs"),
        include_str!("code/web_socket.rs"),
    ] {
        assert!(page.contains(&format!("```rs\n{code}```\n")), "{code}");
    }
}
