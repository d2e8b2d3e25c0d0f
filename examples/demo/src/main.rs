//! Serves the demo on loopback and prints its address: `cargo demo`, or `cargo demo -- 8080`.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use tokio::net::TcpListener;

const DEFAULT_PORT: u16 = 3000;

#[tokio::main]
async fn main() -> ExitCode {
    let port = match std::env::args().nth(1).map(|port| port.parse()) {
        None => DEFAULT_PORT,
        Some(Ok(port)) => port,
        Some(Err(_)) => {
            eprintln!("usage: cargo demo [-- PORT]; PORT is a number, 0 for any free one");
            return ExitCode::from(2);
        }
    };
    match serve(port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo cannot listen on port {port}: {error}; try `cargo demo -- 0`");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    // `localhost`, not 127.0.0.1: browsers take Secure cookies over plain http only from there.
    println!("http://localhost:{}/", listener.local_addr()?.port());
    axum::serve(listener, sealed_session_demo::app()?).await?;
    Ok(())
}
