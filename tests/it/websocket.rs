//! WebSockets through the whole product (section M).

use futures_util::StreamExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::clock::soon;
use crate::support::upstream::{Answer, Seen};
use crate::support::wire::Tap;

pub(crate) type Socket = WebSocketStream<Tap<TcpStream>>;

/// An upstream that says back what is said on sockets, and `hello` to the rest.
pub(crate) fn echo(seen: &Seen) -> Answer {
    if seen.header("upgrade").is_some() {
        Answer::web_socket_echo()
    } else {
        Answer::text("hello")
    }
}

/// The code of the close that comes next; `None` where the connection just ends.
pub(crate) async fn closed_with(socket: &mut Socket) -> Option<u16> {
    match soon("a close", socket.next()).await {
        Some(Ok(Message::Close(frame))) => frame.map(|frame| u16::from(frame.code)),
        None | Some(Err(_)) => None,
        Some(Ok(other)) => panic!("{other:?} in place of a close"),
    }
}
