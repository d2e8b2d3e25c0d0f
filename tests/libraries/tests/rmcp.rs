//! Tools of an MCP server. rmcp sends the headers with a tool's first message.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{SET_COOKIE, VARY};
use axum::http::request::Parts;
use axum::{Router, routing};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock,
    ProgressNotificationParam, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use sealed_session::frameworks::axum::RequireSession;
use sealed_session::{PendingSession, Session, SessionError};
use sealed_session_libraries::{Site, cookie, count, text};
use serde_json::json;
use tokio::sync::Notify;

/// Holds what a tool waits for after its first message: that the headers have left.
#[derive(Clone, Default)]
struct Tools(Arc<Notify>);

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    /// Says what it reads in the session, and what comes of a change.
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "slow" {
            let token = context.meta.get_progress_token().unwrap();
            let progress = ProgressNotificationParam::new(token, 50.0);
            context.peer.notify_progress(progress).await.unwrap();
            self.0.notified().await;
        }
        let parts: &Parts = context.extensions.get().unwrap();
        let pending: &PendingSession = parts.extensions.get().unwrap();
        let said = match pending.session().await {
            Ok(session) => {
                let visits = session.get::<u32>("visits").unwrap();
                let changed = session.insert("visits", 9).map_err(|error| error.kind());
                format!("{visits:?} {changed:?}")
            }
            Err(error) => format!("too late: {}", error.is_too_late()),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(said)]).into())
    }
}

fn call(tool: &str) -> String {
    let call = json!({
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": {},
            "_meta": {
                "progressToken": "slow",
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1.0" },
                "io.modelcontextprotocol/clientCapabilities": {}
            }
        }
    });
    call.to_string()
}

fn site(tools: &Tools) -> Site {
    async fn counted(session: Session) -> Result<String, SessionError> {
        count(&session)
    }
    let service = || {
        let config = StreamableHttpServerConfig::default().with_sse_keep_alive(None);
        let sessions = LocalSessionManager::default().into();
        let tools = tools.clone();
        StreamableHttpService::new(move || Ok(tools.clone()), sessions, config)
    };
    let guarded = Router::new()
        .route_service("/guarded", service())
        .route_layer(RequireSession::new());
    let router = Router::new()
        .route("/", routing::get(counted))
        .route_service("/mcp", service())
        .merge(guarded);
    Site::new(router)
}

async fn ask(site: &mut Site, path: &str, cookie: &str, tool: &str) -> Response<Body> {
    let json = call(tool);
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
    ];
    site.post(path, cookie, &json, &headers).await
}

#[tokio::test]
async fn a_tool_changes_the_session_before_its_first_message() {
    let mut site = site(&Tools::default());
    let before = cookie(&site.get("/", "").await);
    let answer = ask(&mut site, "/mcp", &before, "quick").await;
    let after = cookie(&answer);
    let said = text(answer).await;
    assert!(said.contains("Some(1) Ok(())"), "{said}");
    let counted = site.get("/", &after).await;
    assert_eq!(text(counted).await, "visits: Some(10)");
}

#[tokio::test]
async fn a_tool_that_asks_first_after_a_message_is_too_late() {
    let tools = Tools::default();
    let mut site = site(&tools);
    let cookie = cookie(&site.get("/", "").await);
    let answer = ask(&mut site, "/mcp", &cookie, "slow").await;
    assert!(!answer.headers().contains_key(VARY));
    tools.0.notify_one();
    let said = text(answer).await;
    assert!(said.contains("too late: true"), "{said}");
}

#[tokio::test]
async fn a_tool_behind_a_guard_reads_the_session_after_a_message_and_finds_it_closed() {
    let tools = Tools::default();
    let mut site = site(&tools);
    let cookie = cookie(&site.get("/", "").await);
    let answer = ask(&mut site, "/guarded", &cookie, "slow").await;
    assert_eq!(answer.headers()[VARY], "Cookie");
    assert!(!answer.headers().contains_key(SET_COOKIE));
    tools.0.notify_one();
    let said = text(answer).await;
    assert!(said.contains("Some(1) Err(Closed)"), "{said}");
    let stranger = ask(&mut site, "/guarded", "", "slow").await;
    assert_eq!(stranger.status(), 401);
}
