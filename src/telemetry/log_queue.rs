//! Log lines on their way out: whoever has one leaves it here, and a thread of its own writes them, many
//! at a time. Nobody who leaves one waits for the reader.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The target of the line that each request writes: by which filters name it.
pub(super) const REQUESTS: &str = "bff::access";

/// How long lines of requests are gathered, so that one write, and one waking of the thread, is for many.
const GATHERED: Duration = Duration::from_millis(20);

/// Octets that may wait for a slow reader; beyond them what is [`Worth::Little`] is dropped.
const ROOM: usize = 4 << 20;

/// Octets beyond which all is dropped: a reader that is gone for good must not cost the machine's memory.
const LAST_ROOM: usize = 64 << 20;

/// How long the end of the process waits for the reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where lines wait. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    /// Lines for which there was no room.
    dropped: u64,
    /// Whether one of them is to be read at once.
    urgent: bool,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    Closing,
    Closed,
}

/// What becomes of a line where the reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// An event or a warning: it is written at once, and kept.
    Much,
    /// One of very many: a request's, or one for debugging. It is written in a moment, and dropped where too
    /// many wait.
    Little,
}

impl LogQueue {
    /// Leaves a line, its end included.
    pub(super) fn put(&self, line: &[u8], worth: Worth) {
        let room = match worth {
            Worth::Much => LAST_ROOM,
            Worth::Little => ROOM,
        };
        let mut waiting = self.lock();
        if waiting.text.len().saturating_add(line.len()) > room {
            waiting.dropped += 1;
            return;
        }
        let is_first = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        let is_urgent = worth == Worth::Much && !waiting.urgent;
        waiting.urgent |= is_urgent;
        drop(waiting);
        if is_first || is_urgent {
            self.0.changed.notify_all();
        }
    }

    /// Starts the thread that writes what is left here, until the guard is dropped.
    pub(super) fn write_to(&self, out: impl Write + Send + 'static) -> io::Result<QueueGuard> {
        let queue = self.clone();
        std::thread::Builder::new()
            .name("bff-log".to_owned())
            .spawn(move || queue.run(out))?;
        Ok(QueueGuard(self.clone()))
    }

    fn run(&self, mut out: impl Write) {
        let mut block = Vec::new();
        while let Some(dropped) = self.take(&mut block) {
            // A reader that is gone is no reason to stop: another may take its place.
            drop(out.write_all(&block).and_then(|()| out.flush()));
            block.clear();
            if dropped > 0 {
                tracing::warn!(
                    event = "log.dropped",
                    lines = dropped,
                    "whoever reads the log is too slow: lines of requests were dropped"
                );
            }
        }
        self.lock().stage = Stage::Closed;
        self.0.changed.notify_all();
    }

    /// Waits for lines and takes all; tells how many were dropped meanwhile. `None` at the end.
    fn take(&self, block: &mut Vec<u8>) -> Option<u64> {
        let changed = &self.0.changed;
        let is_open = |waiting: &Waiting| waiting.stage == Stage::Open;
        let mut waiting = changed
            .wait_while(self.lock(), |waiting| {
                waiting.text.is_empty() && is_open(waiting)
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.text.is_empty() {
            return None;
        }
        waiting = changed
            .wait_timeout_while(waiting, GATHERED, |waiting| {
                !waiting.urgent && is_open(waiting)
            })
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        waiting.urgent = false;
        std::mem::swap(&mut waiting.text, block);
        Some(std::mem::take(&mut waiting.dropped))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes out what still waits, when it is dropped.
#[derive(Debug)]
pub(super) struct QueueGuard(LogQueue);

impl Drop for QueueGuard {
    fn drop(&mut self) {
        let Shared { changed, .. } = &*self.0.0;
        let mut waiting = self.0.lock();
        if waiting.stage == Stage::Open {
            waiting.stage = Stage::Closing;
        }
        changed.notify_all();
        let is_closing = |waiting: &mut Waiting| waiting.stage != Stage::Closed;
        drop(changed.wait_timeout_while(waiting, PATIENCE, is_closing));
    }
}

/// One line of `tracing`, which it writes whole.
#[derive(Debug)]
pub(super) struct Line<'a> {
    queue: &'a LogQueue,
    worth: Worth,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.put(line, self.worth);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            queue: self,
            worth: Worth::Much,
        }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Line<'a> {
        let is_one_of_many = line.target() == REQUESTS || *line.level() > Level::INFO;
        Line {
            queue: self,
            worth: if is_one_of_many {
                Worth::Little
            } else {
                Worth::Much
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes nothing until it is told to.
    struct Slow {
        begun: mpsc::Sender<()>,
        go_on: mpsc::Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).ok();
            self.go_on.recv().ok();
            self.read.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// N4: a slow reader costs lines of requests, which are counted, and no event; nobody waits for it. An
    /// event was dropped like any other line, and nothing told of it.
    #[test]
    fn a_slow_reader_costs_lines_of_requests_and_no_event() {
        let queue = LogQueue::default();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, told) = mpsc::channel();
        let read = Arc::new(Mutex::new(Vec::new()));
        let slow = Slow {
            begun,
            go_on: told,
            read: Arc::clone(&read),
        };
        let guard = queue.write_to(slow).unwrap();
        queue.put(b"first\n", Worth::Much);
        has_begun.recv().unwrap();
        let request = [&[b'r'; 1023][..], b"\n"].concat();
        for _ in 0..ROOM / request.len() + 7 {
            queue.put(&request, Worth::Little);
        }
        queue.put(b"event\n", Worth::Much);
        assert_eq!(queue.lock().dropped, 7);
        drop(go_on);
        drop(guard);
        let read = read.lock().unwrap();
        assert!(read.starts_with(b"first\nrrr") && read.ends_with(b"r\nevent\n"));
        assert_eq!(read.len(), "first\nevent\n".len() + ROOM);
    }

    /// N4: what is left is written in the order in which it came, events between requests too.
    #[test]
    fn lines_keep_their_order() {
        let queue = LogQueue::default();
        for (line, worth) in [
            (b"1\n", Worth::Little),
            (b"2\n", Worth::Much),
            (b"3\n", Worth::Little),
        ] {
            queue.put(line, worth);
        }
        let mut block = Vec::new();
        assert_eq!(queue.take(&mut block), Some(0));
        assert_eq!(block, b"1\n2\n3\n");
    }
}
