//! Bytes between a browser and an upstream, both ways, until either ends or the session does.
//!
//! The tunnel reads frame headers only, to know where a frame of ours may stand: a close (M4), or a ping
//! to a browser that is silent (M6). What the browser answers goes on to the upstream, to which it is
//! unsolicited, as a pong may be (RFC 6455 §5.5.3).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::frames::{Close, Frames, PING, close_frame};
use crate::web::ending::Ending;

/// A quiet socket holds this much for each direction; a busy one grows to [`MOST_BUFFER`].
const FIRST_BUFFER: usize = 4 * 1024;
const MOST_BUFFER: usize = 64 * 1024;

/// How long the frame under way may still take once the end has come, and how long the other side
/// has to hang up after our close frame. Both together stay within M4's second.
const LAST_FRAME: Duration = Duration::from_millis(400);
const FAREWELL: Duration = Duration::from_millis(400);

/// Two connections that speak WebSocket with each other.
pub(super) struct Tunnel<B, U> {
    pub(super) browser: B,
    pub(super) upstream: U,
    /// What the upstream sent along with its 101.
    pub(super) early: Bytes,
    pub(super) mask: Mask,
    /// How long the browser may be silent before it is pinged, and again before it is let go.
    pub(super) ping: Option<Duration>,
}

/// The mask of our one frame towards the upstream. The browser drew it at random, no page can see
/// it, and nobody chooses what it covers: all that RFC 6455 §10.3 asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) const fn new(random: [u8; 4]) -> Self {
        Self(random)
    }
}

/// Runs until both ends have hung up, either has failed, or a close of ours was sent both ways.
pub(super) async fn run<B, U>(
    tunnel: Tunnel<B, U>,
    ending: Option<Ending>,
    shutdown: CancellationToken,
) where
    B: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let presence = Presence::default();
    let (close, closing) = tokio::sync::watch::channel(None);
    let (from_browser, to_browser) = tokio::io::split(tunnel.browser);
    let (from_upstream, to_upstream) = tokio::io::split(tunnel.upstream);
    let Mask(mask) = tunnel.mask;
    let mut up = Pump {
        reader: from_browser,
        writer: to_upstream,
        buffer: Buffer::default(),
        frames: Frames::default(),
        mask: Some(mask),
        presence: &presence,
        closing: closing.clone(),
    };
    let mut down = Pump {
        reader: from_upstream,
        writer: to_browser,
        buffer: Buffer::of(&tunnel.early),
        frames: Frames::default(),
        mask: None,
        presence: &presence,
        closing,
    };
    let pumps = async {
        // An error on one side breaks both off: what was lost there cannot be made good here.
        futures_util::future::try_join(up.run(), down.run())
            .await
            .is_ok()
    };
    let signal = async {
        let ended = async {
            match &ending {
                Some(ending) => ending.wait().await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            reason = ended => Close::Ended(reason),
            () = shutdown.cancelled() => Close::Shutdown,
            () = presence.ends(tunnel.ping) => Close::Silence,
        };
        close.send_replace(Some(reason));
        std::future::pending::<bool>().await
    };
    tokio::select! {
        // The signal first: nothing that comes after the end may slip through.
        biased;
        _never = signal => {}
        _clean = pumps => {}
    }
}

/// Whether the browser is still there.
#[derive(Default)]
struct Presence {
    /// Anything came since the last look.
    heard: AtomicBool,
    /// It is to be pinged.
    ping: Notify,
}

impl Presence {
    /// Ready once the browser was silent for so long, was pinged, and was silent for as long again.
    async fn ends(&self, silence: Option<Duration>) {
        let Some(silence) = silence else {
            return std::future::pending().await;
        };
        let mut pinged = false;
        loop {
            tokio::time::sleep(silence).await;
            if self.heard.swap(false, Ordering::Relaxed) {
                pinged = false;
            } else if pinged {
                return tracing::debug!("the browser of a WebSocket is silent");
            } else {
                pinged = true;
                self.ping.notify_one();
            }
        }
    }
}

/// One direction.
struct Pump<'a, R, W> {
    reader: R,
    writer: W,
    buffer: Buffer,
    frames: Frames,
    /// For frames of ours in this direction; those from clients are masked (RFC 6455 §5.1).
    mask: Option<[u8; 4]>,
    presence: &'a Presence,
    closing: tokio::sync::watch::Receiver<Option<Close>>,
}

impl<R, W> Pump<'_, R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    async fn run(&mut self) -> io::Result<()> {
        let mut closing = self.closing.clone();
        let presence = self.presence;
        let mut until = Until::TheEnd;
        let close = loop {
            tokio::select! {
                biased;
                close = closing.wait_for(Option::is_some) => {
                    break close.ok().and_then(|close| *close);
                }
                () = presence.ping.notified(), if self.is_to_browser() => {
                    until = Until::TheFrame;
                }
                stop = self.pump(until) => match stop? {
                    Stop::End => return Ok(()),
                    Stop::Boundary => {
                        self.ping();
                        until = Until::TheEnd;
                    }
                },
            }
        };
        let Some(close) = close else {
            return Ok(());
        };
        self.say_farewell(close).await
    }

    const fn is_to_browser(&self) -> bool {
        self.mask.is_none()
    }

    /// Puts a ping before what comes next, between two frames; after a close nothing may come.
    fn ping(&mut self) {
        if !self.frames.closed() {
            self.buffer.put_first(&PING);
        }
    }

    /// Moves bytes until this direction ends, or the next frame boundary. May be dropped at any
    /// await and run again: all it has read is in the buffer, all it has written is counted.
    async fn pump(&mut self, until: Until) -> io::Result<Stop> {
        loop {
            while !self.buffer.unwritten().is_empty() {
                let bytes = match until {
                    Until::TheEnd => self.buffer.unwritten(),
                    Until::TheFrame if self.frames.at_boundary() => return Ok(Stop::Boundary),
                    Until::TheFrame => {
                        let rest = self.buffer.unwritten();
                        rest.get(..self.frames.left_in(rest)).unwrap_or(rest)
                    }
                };
                let written = self.writer.write(bytes).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.frames.pass(bytes.get(..written).unwrap_or_default());
                self.buffer.wrote(written);
            }
            if until == Until::TheFrame && self.frames.at_boundary() {
                return Ok(Stop::Boundary);
            }
            // A TLS stream may hold back what was written until it is flushed.
            self.writer.flush().await?;
            let read = self.reader.read(self.buffer.space()).await?;
            if read == 0 {
                // Half-close: the other direction goes on (M6).
                self.writer.shutdown().await?;
                return Ok(Stop::End);
            }
            if !self.is_to_browser() {
                self.presence.heard.store(true, Ordering::Relaxed);
            }
            self.buffer.read(read);
        }
    }

    /// Finishes the frame under way, says why no more will follow, and waits a little for the
    /// other side to hang up, so that our close frame is not lost with the connection.
    async fn say_farewell(&mut self, close: Close) -> io::Result<()> {
        let finished = tokio::time::timeout(LAST_FRAME, self.pump(Until::TheFrame)).await;
        if matches!(finished, Ok(Ok(Stop::Boundary))) && !self.frames.closed() {
            let frame = close_frame(close, self.mask);
            tokio::time::timeout(FAREWELL, self.writer.write_all(&frame)).await??;
        }
        let deadline = Instant::now() + FAREWELL;
        tokio::time::timeout_at(deadline, async {
            self.writer.shutdown().await?;
            // What still comes is nobody's any more.
            while self.reader.read(self.buffer.scratch()).await? > 0 {}
            io::Result::Ok(())
        })
        .await?
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    TheEnd,
    TheFrame,
}

/// Why a pump stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Between two frames.
    Boundary,
    /// This direction is over.
    End,
}

/// What was read and is not written yet.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn of(early: &[u8]) -> Self {
        Self {
            bytes: early.to_vec(),
            from: 0,
            to: early.len(),
        }
    }

    fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// Puts bytes before those that are not written yet.
    fn put_first(&mut self, bytes: &[u8]) {
        let all = [bytes, self.unwritten()].concat();
        if self.bytes.len() < all.len() {
            self.bytes.resize(all.len(), 0);
        }
        for (to, from) in self.bytes.iter_mut().zip(&all) {
            *to = *from;
        }
        self.from = 0;
        self.to = all.len();
    }

    fn wrote(&mut self, count: usize) {
        self.from += count;
    }

    fn read(&mut self, count: usize) {
        self.from = 0;
        self.to = count;
    }

    /// Room to read into; called only when all is written. Grows while reads fill it.
    fn space(&mut self) -> &mut [u8] {
        let filled = self.to == self.bytes.len();
        if self.bytes.len() < FIRST_BUFFER {
            self.bytes.resize(FIRST_BUFFER, 0);
        } else if filled && self.bytes.len() < MOST_BUFFER {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        self.from = 0;
        self.to = 0;
        &mut self.bytes
    }

    fn scratch(&mut self) -> &mut [u8] {
        self.from = 0;
        self.to = 0;
        self.bytes.resize(FIRST_BUFFER, 0);
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::web::ending::EndReason;

    struct Ends {
        browser: DuplexStream,
        upstream: DuplexStream,
        ending: Ending,
        shutdown: CancellationToken,
        running: tokio::task::JoinHandle<()>,
    }

    fn open(early: &'static [u8]) -> Ends {
        open_with(early, None)
    }

    fn open_with(early: &'static [u8], ping: Option<Duration>) -> Ends {
        let (browser, ours_of_browser) = duplex(64);
        let (upstream, ours_of_upstream) = duplex(64);
        let ending = Ending::new();
        let shutdown = CancellationToken::new();
        let tunnel = Tunnel {
            browser: ours_of_browser,
            upstream: ours_of_upstream,
            early: Bytes::from_static(early),
            mask: Mask::new([1, 2, 3, 4]),
            ping,
        };
        let running = tokio::spawn(run(tunnel, Some(ending.clone()), shutdown.clone()));
        Ends {
            browser,
            upstream,
            ending,
            shutdown,
            running,
        }
    }

    async fn read<const N: usize>(stream: &mut DuplexStream) -> [u8; N] {
        let mut bytes = [0; N];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    const HELLO: [u8; 7] = *b"\x81\x05hello";

    /// M6: bytes go both ways, early ones included, and one side may finish before the other.
    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let mut ends = open(b"\x81\x05early");
        assert_eq!(read(&mut ends.browser).await, *b"\x81\x05early");
        ends.browser.write_all(&HELLO).await.unwrap();
        ends.browser.shutdown().await.unwrap();
        assert_eq!(rest(&mut ends.upstream).await, HELLO);
        ends.upstream.write_all(&HELLO).await.unwrap();
        assert_eq!(read(&mut ends.browser).await, HELLO);
        ends.upstream.shutdown().await.unwrap();
        assert!(rest(&mut ends.browser).await.is_empty());
        ends.running.await.unwrap();
    }

    /// M4: the end of the session closes both sides with 1008 and the reason, masked towards the
    /// upstream.
    #[tokio::test(start_paused = true)]
    async fn the_sessions_end_closes_both_sides() {
        let mut ends = open(b"");
        ends.ending.come(EndReason::Logout);
        assert_eq!(rest(&mut ends.browser).await, *b"\x88\x08\x03\xf0logout");
        let mut masked = rest(&mut ends.upstream).await;
        assert_eq!(masked[..6], [0x88, 0x88, 1, 2, 3, 4]);
        for (at, byte) in masked[6..].iter_mut().enumerate() {
            *byte ^= [1, 2, 3, 4][at % 4];
        }
        assert_eq!(masked[6..], *b"\x03\xf0logout");
        drop((ends.browser, ends.upstream));
        ends.running.await.unwrap();
    }

    /// M4: a stop of `bff` closes with 1001.
    #[tokio::test(start_paused = true)]
    async fn a_shutdown_closes_with_going_away() {
        let mut ends = open(b"");
        ends.shutdown.cancel();
        assert_eq!(rest(&mut ends.browser).await, [0x88, 2, 0x03, 0xe9]);
    }

    /// M4: our close frame never lands inside a frame; what is under way is finished first, and
    /// nothing after it is sent.
    #[tokio::test(start_paused = true)]
    async fn a_close_waits_for_the_frame_under_way() {
        let mut ends = open(b"");
        ends.upstream.write_all(b"\x81\x05he").await.unwrap();
        assert_eq!(read(&mut ends.browser).await, *b"\x81\x05he");
        ends.ending.come(EndReason::Logout);
        ends.upstream.write_all(b"llo\x81\x05after").await.unwrap();
        assert_eq!(rest(&mut ends.browser).await, *b"llo\x88\x08\x03\xf0logout");
    }

    /// M4: a frame that never ends holds up the close for less than a second.
    #[tokio::test(start_paused = true)]
    async fn a_stuck_frame_does_not_hold_the_socket_open() {
        let mut ends = open(b"");
        ends.upstream.write_all(b"\x81\x05he").await.unwrap();
        assert_eq!(read(&mut ends.browser).await, *b"\x81\x05he");
        let began = Instant::now();
        ends.ending.come(EndReason::Revoked);
        assert!(rest(&mut ends.browser).await.is_empty());
        ends.running.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    const SILENCE: Duration = Duration::from_secs(30);
    const PONG: [u8; 6] = [0x8a, 0x80, 9, 9, 9, 9];

    /// M6: a browser that is silent is pinged, and lives as long as it answers; its upstream may say
    /// nothing.
    #[tokio::test(start_paused = true)]
    async fn a_browser_that_answers_pings_lives() {
        let mut ends = open_with(b"", Some(SILENCE));
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(read(&mut ends.browser).await, PING);
            assert!(began.elapsed() >= SILENCE, "{:?}", began.elapsed());
            ends.browser.write_all(&PONG).await.unwrap();
            assert_eq!(read(&mut ends.upstream).await, PONG);
        }
        ends.upstream.write_all(&HELLO).await.unwrap();
        assert_eq!(read(&mut ends.browser).await, HELLO);
    }

    /// M6: one that answers nothing is let go, and the upstream hears why. (It was kept for ever.)
    #[tokio::test(start_paused = true)]
    async fn a_browser_that_stays_silent_is_let_go() {
        let mut ends = open_with(b"", Some(SILENCE));
        let began = Instant::now();
        let said = rest(&mut ends.browser).await;
        assert_eq!(said, [0x89, 0, 0x88, 2, 0x03, 0xe9]);
        let masked = rest(&mut ends.upstream).await;
        assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]);
        ends.running.await.unwrap();
        assert!(began.elapsed() < SILENCE * 3, "{:?}", began.elapsed());
    }

    /// M6: a browser that speaks is not pinged, and neither is one whose socket never is to be.
    #[tokio::test(start_paused = true)]
    async fn who_speaks_is_not_pinged() {
        for (ping, pause) in [(Some(SILENCE), SILENCE / 2), (None, SILENCE * 10)] {
            let mut ends = open_with(b"", ping);
            for _ in 0..8 {
                tokio::time::sleep(pause).await;
                ends.browser.write_all(&HELLO).await.unwrap();
                assert_eq!(read(&mut ends.upstream).await, HELLO);
            }
            ends.upstream.shutdown().await.unwrap();
            assert!(rest(&mut ends.browser).await.is_empty());
        }
    }

    /// M6: our ping never lands inside a frame, whatever lies ready behind it, and never after a close.
    #[tokio::test(start_paused = true)]
    async fn a_ping_waits_for_the_frame_under_way() {
        let mut ends = open_with(b"", Some(SILENCE));
        ends.upstream.write_all(b"\x81\x05he").await.unwrap();
        assert_eq!(read(&mut ends.browser).await, *b"\x81\x05he");
        tokio::time::sleep(SILENCE + Duration::from_secs(1)).await;
        ends.upstream.write_all(b"llo\x81\x05after").await.unwrap();
        assert_eq!(read(&mut ends.browser).await, *b"llo\x89\x00\x81\x05after");
        ends.browser.write_all(&PONG).await.unwrap();
        ends.upstream.write_all(b"\x88\x00").await.unwrap();
        assert_eq!(rest(&mut ends.browser).await, b"\x88\x00");
        ends.running.await.unwrap();
    }

    /// M4: a browser that takes nothing does not keep its socket.
    #[tokio::test(start_paused = true)]
    async fn a_browser_that_reads_nothing_is_cut_off() {
        let mut ends = open(b"");
        ends.upstream.write_all(b"\x82\x7e\x01\x00").await.unwrap();
        let flood = tokio::spawn(async move {
            ends.upstream.write_all(&[7; 256]).await.ok();
            ends.upstream
        });
        tokio::task::yield_now().await;
        ends.ending.come(EndReason::Revoked);
        ends.running.await.unwrap();
        drop(flood.await.unwrap());
        drop(ends.browser);
    }
}
