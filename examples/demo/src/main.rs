//! Serves the demo on loopback and prints its address: `cargo demo`, `cargo demo -- 8080`, or
//! `cargo demo -- --https` for a browser that binds sessions to its device.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use sealed_session_demo::Certificate;
use tokio::net::TcpListener;

const DEFAULT_PORT: u16 = 3000;

const USAGE: &str = "usage: cargo demo [-- [--https] [PORT]]; PORT is a number, 0 for any free one";

#[tokio::main]
async fn main() -> ExitCode {
    let (mut port, mut https) = (DEFAULT_PORT, false);
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), argument.parse()) {
            ("--https", _) => https = true,
            (_, Ok(number)) => port = number,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match serve(port, https).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo cannot listen on port {port}: {error}; try `cargo demo -- 0`");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16, https: bool) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = listener.local_addr()?.port();
    if !https {
        println!("Open this link in Chrome or Firefox. Ctrl+C ends the demo.\n");
        println!("    http://localhost:{port}/\n");
        axum::serve(listener, sealed_session_demo::app()?).await?;
        return Ok(());
    }
    let certificate = Certificate::new()?;
    let [trust, bind] = certificate.flags();
    println!(
        "Start Chromium with this command: it trusts the demo's certificate, and binds sessions"
    );
    println!("to a key in software. Ctrl+C ends the demo.\n");
    println!(
        "    chromium --user-data-dir=/tmp/demo-profile {trust} {bind} https://localhost:{port}/\n"
    );
    println!("Any other browser warns of the certificate: https://localhost:{port}/\n");
    let app = sealed_session_demo::app_over("https")?;
    axum::serve(certificate.over(listener), app).await?;
    Ok(())
}
