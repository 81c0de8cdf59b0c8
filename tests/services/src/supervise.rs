//! `services supervise`: the other end of the pipe that `Process` of the library holds.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often it is looked whether the service has ended by itself.
const GLANCE: Duration = Duration::from_millis(20);

enum Order {
    Kill,
    Stop,
    /// The pipe is closed: nobody is there any more, or nobody cares.
    Abandon,
}

/// Runs the command until it ends, or an order ends it.
pub(crate) fn run(
    log: &Path,
    remove: Option<&Path>,
    command: &[OsString],
) -> Result<ExitCode, Box<dyn Error>> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let output = OpenOptions::new().create(true).append(true).open(log)?;
    let mut service = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .map_err(|error| format!("starting {}: {error}", program.display()))?;
    let (sender, orders) = mpsc::channel();
    thread::spawn(move || listen(&sender));
    // The other side may be gone already; the end of the pipe tells in the next step.
    let _ = writeln!(io::stdout(), "services {} {}", services::PROTOCOL, service.id());
    let abandoned = attend(&mut service, &orders)?;
    if let Some(dir) = remove.filter(|_| abandoned) {
        fs::remove_dir_all(dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listen(orders: &Sender<Order>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let order = if line == "stop" { Order::Stop } else { Order::Kill };
        if orders.send(order).is_err() {
            return;
        }
    }
    let _ = orders.send(Order::Abandon);
}

/// Returns when the service has ended: whether it was abandoned.
fn attend(service: &mut Child, orders: &Receiver<Order>) -> io::Result<bool> {
    loop {
        match orders.recv_timeout(GLANCE) {
            Ok(Order::Stop) => kill_process(Pid::from_child(service), Signal::TERM)?,
            Ok(Order::Kill) => return end(service).map(|()| false),
            Ok(Order::Abandon) | Err(RecvTimeoutError::Disconnected) => return end(service).map(|()| true),
            Err(RecvTimeoutError::Timeout) => {
                if service.try_wait()?.is_some() {
                    return Ok(false);
                }
            }
        }
    }
}

fn end(service: &mut Child) -> io::Result<()> {
    service.kill()?;
    service.wait().map(drop)
}
