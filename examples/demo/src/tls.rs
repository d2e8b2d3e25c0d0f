//! Https on loopback, with a certificate of the demo's own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertifiedKey, PublicKeyData, generate_simple_self_signed};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

/// A certificate for `localhost`, made when the demo starts.
#[derive(Clone)]
pub struct Certificate {
    acceptor: TlsAcceptor,
    spki: String,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// If the operating system has no random bytes.
    pub fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()])?;
        let spki = Sha256::digest(signing_key.subject_public_key_info());
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            spki: STANDARD.encode(spki),
        })
    }

    /// What Chromium needs on its command line to trust this certificate, and to bind sessions on a
    /// machine without the right hardware.
    pub fn flags(&self) -> [String; 2] {
        let features =
            "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting";
        [
            format!("--ignore-certificate-errors-spki-list={}", self.spki),
            format!("--enable-features={features}"),
        ]
    }

    /// Accepts connections with this certificate.
    pub fn over(&self, listener: TcpListener) -> Https {
        Https {
            listener,
            acceptor: self.acceptor.clone(),
        }
    }
}

/// Accepts connections over TLS.
pub struct Https {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Https {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = Listener::accept(&mut self.listener).await;
            // A browser that does not trust the certificate hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
