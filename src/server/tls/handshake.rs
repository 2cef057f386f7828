//! A TLS handshake: the browser names the host that it wants, and gets that host's certificate.

use std::io;
use std::sync::Arc;

use rustls::AlertDescription;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{CertificateNames, Certificates};

/// Shakes hands. Beside the connection, what its certificate is for, where there are several.
pub(in crate::server) async fn shake_hands<S>(
    certificates: &Certificates,
    socket: S,
) -> io::Result<(TlsStream<S>, Option<Arc<CertificateNames>>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    let (chosen, is_named) = {
        let hello = hello.client_hello();
        let server_name = hello.server_name();
        (certificates.choose(server_name), server_name.is_some())
    };
    let Some(chosen) = chosen else {
        return Err(refuse(&mut hello.io, is_named).await);
    };
    let socket = hello.into_stream(chosen.config).await?;
    Ok((socket, chosen.names))
}

/// Says why nothing comes of it: no site has this name (RFC 6066 §3), or none was given and none can do
/// without (RFC 8446 §9.2).
async fn refuse<S: AsyncWrite + Unpin>(socket: &mut S, is_named: bool) -> io::Error {
    let (alert, why) = if is_named {
        (
            AlertDescription::UnrecognisedName,
            "no certificate is for the name that it asks for",
        )
    } else {
        (
            AlertDescription::MissingExtension,
            "it asks for no name, and every certificate is for one",
        )
    };
    match tell(socket, alert).await {
        Ok(()) => io::Error::new(io::ErrorKind::InvalidData, why),
        Err(error) => error,
    }
}

/// Writes a fatal alert as the record that it is before any key is agreed on (RFC 8446 §5.1, §6).
async fn tell<S: AsyncWrite + Unpin>(socket: &mut S, alert: AlertDescription) -> io::Result<()> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    let record = [ALERT, 3, 3, 0, 2, FATAL, alert.into()];
    socket.write_all(&record).await?;
    socket.shutdown().await
}
