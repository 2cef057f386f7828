//! The cast of the scripts in `benches`: all that stands around `bff` when it is measured, in one
//! binary.

mod bare_proxy;
mod fleet;
mod flood;
mod logins;
mod provider;
mod requests;
mod sessions;
mod stored;
mod stores;
mod upstream;

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

// The allocator of `bff` itself, so that what is compared is what the two programs do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: bench_cast port
       bench_cast upstream
       bench_cast proxy UPSTREAM_PORT
       bench_cast provider PUBLIC_URL
       bench_cast sessions COUNT TOKEN_BYTES
       bench_cast store KIND URL COUNT
       bench_cast stored PORT REDIS_URL COUNT ISSUER CLIENT_ID
       bench_cast fleet fill KIND URL COUNT
       bench_cast fleet play KIND URL RATE SECONDS EARS NODE_PIDS STORE_PIDS
       bench_cast fleet say KIND URL OCTETS RATE SECONDS EARS NODE_PIDS STORE_PIDS
       bench_cast logins PORT COUNT
       bench_cast idle PORT COUNT
       bench_cast flood KIND PORT SECONDS COOKIE
       bench_cast requests PORT COUNT METHOD PATH BODY_OCTETS COOKIES";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["port"] => free_port(),
        ["upstream"] => upstream::run(),
        ["proxy", upstream] => bare_proxy::run(upstream),
        ["provider", public_url] => provider::run(public_url),
        ["sessions", count, token_bytes] => sessions::fill(count, token_bytes),
        ["logins", port, count] => logins::run(port, count),
        ["store", kind, url, count] => stores::run(kind, url, count),
        ["stored", port, url, count, issuer, client_id] => {
            stored::run(port, url, count, issuer, client_id)
        }
        ["requests", port, count, method, path, body, cookies] => {
            requests::run(port, count, method, path, body, cookies)
        }
        ["flood", kind, port, seconds, cookie] => flood::run(kind, port, seconds, cookie),
        ["fleet", "fill", kind, url, count] => fleet::fill(kind, url, count),
        ["fleet", "play", kind, url, run @ ..] => fleet::play(kind, url, run),
        ["fleet", "say", kind, url, octets, run @ ..] => fleet::say(kind, url, octets, run),
        ["idle", port, count] => sessions::hold_connections(port, count),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench_cast: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a port that nobody listens on.
fn free_port() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell(listener.local_addr()?.port());
    Ok(())
}

/// Tells the script that waits on standard output.
#[expect(clippy::print_stdout, reason = "the script reads it")]
fn tell(word: impl std::fmt::Display) {
    println!("{word}");
}

#[expect(clippy::print_stderr, reason = "a person reads it")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Waits until whoever started this process closes its standard input.
fn until_left_alone() -> Outcome {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// The plainest runtime: one thread.
fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
