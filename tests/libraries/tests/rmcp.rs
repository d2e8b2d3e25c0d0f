//! Tools of an MCP server, which rmcp answers with a stream: its headers leave before the tool runs.

use axum::http::header::{SET_COOKIE, VARY};
use axum::http::request::Parts;
use axum::{Router, routing};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use sealed_session::frameworks::axum::RequireSession;
use sealed_session::{PendingSession, Session, SessionError};
use sealed_session_libraries::{Site, cookie, count, text};

struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    /// Says what it reads in the session, and what comes of a change.
    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
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

const CALL: &str = r#"{
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {
        "name": "visits",
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1.0" },
            "io.modelcontextprotocol/clientCapabilities": {}
        }
    }
}"#;

fn site() -> Site {
    async fn counted(session: Session) -> Result<String, SessionError> {
        count(&session)
    }
    let service = || {
        let config = StreamableHttpServerConfig::default().with_sse_keep_alive(None);
        let sessions = LocalSessionManager::default().into();
        StreamableHttpService::new(|| Ok(Tools), sessions, config)
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

#[tokio::test]
async fn a_tool_that_asks_first_when_the_answer_streams_is_too_late() {
    let mut site = site();
    let cookie = cookie(&site.send("/", "", None).await);
    let answer = site.send("/mcp", &cookie, Some(CALL)).await;
    assert!(!answer.headers().contains_key(VARY));
    let said = text(answer).await;
    assert!(said.contains("too late: true"), "{said}");
}

#[tokio::test]
async fn a_tool_behind_a_guard_reads_the_session_and_finds_it_closed() {
    let mut site = site();
    let cookie = cookie(&site.send("/", "", None).await);
    let answer = site.send("/guarded", &cookie, Some(CALL)).await;
    assert_eq!(answer.headers()[VARY], "Cookie");
    assert!(!answer.headers().contains_key(SET_COOKIE));
    let said = text(answer).await;
    assert!(said.contains("Some(1) Err(Closed)"), "{said}");
    assert_eq!(site.send("/guarded", "", Some(CALL)).await.status(), 401);
}
