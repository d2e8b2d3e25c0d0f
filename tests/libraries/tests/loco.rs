//! A controller of loco.

use axum::Router;
use loco_rs::app::Hooks;
use loco_rs::boot::{BootResult, StartMode, create_app};
use loco_rs::config::Config;
use loco_rs::controller::AppRoutes;
use loco_rs::environment::Environment;
use loco_rs::prelude::{AppContext, Queue, Result, Routes, async_trait, get};
use loco_rs::task::Tasks;
use sealed_session::{Session, SessionError, SessionLayer};
use sealed_session_libraries::{Site, cookie, store, text};
use serde_json::json;

struct App;

#[async_trait]
impl Hooks for App {
    fn app_name() -> &'static str {
        "visits"
    }

    async fn boot(
        mode: StartMode,
        environment: &Environment,
        config: Config,
    ) -> Result<BootResult> {
        create_app::<Self>(mode, environment, config).await
    }

    fn routes(_: &AppContext) -> AppRoutes {
        let visits = Routes::new()
            .prefix("visits")
            .add("/", get(count))
            .add("/fails", get(fails));
        AppRoutes::with_default_routes().add_route(visits)
    }

    async fn after_routes(router: Router, _: &AppContext) -> Result<Router> {
        Ok(router.layer(SessionLayer::new(store())))
    }

    async fn connect_workers(_: &AppContext, _: &Queue) -> Result<()> {
        Ok(())
    }

    fn register_tasks(_: &mut Tasks) {}
}

async fn count(session: Session) -> Result<String, SessionError> {
    sealed_session_libraries::count(&session)
}

async fn fails(session: Session) -> Result<()> {
    session.insert("visits", 41).unwrap();
    Err(loco_rs::Error::NotFound)
}

async fn site() -> Site {
    let config = json!({
        "logger": { "enable": false, "level": "off", "format": "compact" },
        "server": { "port": 0, "host": "http://localhost" },
        "workers": { "mode": "ForegroundBlocking" },
    });
    let config = serde_json::from_value(config).unwrap();
    let booted = App::boot(StartMode::ServerOnly, &Environment::Test, config).await;
    Site(booted.unwrap().router.unwrap())
}

#[tokio::test]
async fn a_controller_takes_the_session_of_the_layer_from_after_routes() {
    let mut site = site().await;
    let first = site.get("/visits", "").await;
    let second = site.get("/visits", &cookie(&first)).await;
    assert_eq!(text(second).await, "visits: Some(2)");
}

#[tokio::test]
async fn an_error_that_loco_answers_keeps_the_session() {
    let mut site = site().await;
    let failed = site.get("/visits/fails", "").await;
    assert_eq!(failed.status(), 404);
    let after = site.get("/visits", &cookie(&failed)).await;
    assert_eq!(text(after).await, "visits: Some(42)");
}
