//! The `bff` command.

use std::process::ExitCode;

use bff::cli::{self, Terminal};
use bff::config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
    };
    cli::run(std::env::args_os(), &config::environment(), &mut terminal).into()
}
