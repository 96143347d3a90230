//! TLS for one connection, with or without a check of the certificate, and the probe that tells a TLS port.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::roots::roots;

/// Whether the gateway's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Chain and name, against the Mozilla roots and those of the system.
    Checked,
    /// Anything is taken (`allow_insecure_tls`); the handshake's signatures are still verified.
    Unchecked,
}

/// Opens a TLS session on the connection.
///
/// # Errors
/// Whatever TLS says; its text holds no secret.
pub async fn open(tcp: TcpStream, host: &str, certificate: Certificate) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config(certificate)?)).connect(name, tcp).await
}

fn config(certificate: Certificate) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(match certificate {
        Certificate::Checked => builder.with_root_certificates(roots()).with_no_client_auth(),
        Certificate::Unchecked => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
    })
}

/// Whether what listens there answers a TLS hello with TLS.
pub async fn speaks_tls(mut tcp: TcpStream, limit: Duration) -> bool {
    let hello = async {
        let name = ServerName::try_from("gateway").map_err(io::Error::other)?;
        let config = Arc::new(config(Certificate::Unchecked)?);
        let mut client = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes)?;
        tcp.write_all(&bytes).await?;
        let mut head = [0_u8; 2];
        tcp.read_exact(&mut head).await?;
        Ok::<bool, io::Error>(is_tls_record(&head))
    };
    matches!(timeout(limit, hello).await, Ok(Ok(true)))
}

/// Whether these bytes begin a TLS alert or handshake record.
#[must_use]
pub fn is_tls_record(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, ..])
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
