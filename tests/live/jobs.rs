//! The program, run on a stage: as one process or as several.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::thread;
use std::time::{Duration, Instant};

use super::Stage;

/// A running job, which ends with this value.
pub struct Job(Child);

impl Job {
    pub fn of(child: Child) -> Self {
        Self(child)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let done = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(done.expect("kill is there").success());
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self, patience: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            assert!(began.elapsed() < patience, "it goes on");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stage {
    /// Runs the program in the stage's directory.
    pub fn program(&self, arguments: &[&str]) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_advertisex"));
        program.args(arguments).current_dir(self.root.path()).output().expect("the program starts")
    }

    /// Starts the job.
    pub fn start(&self, more: &[&str]) -> Job {
        let workers: &[&str] = if more.contains(&"--workers") { &[] } else { &["--workers", "2"] };
        let job = Command::new(env!("CARGO_BIN_EXE_advertisex"))
            .args(["run", "--config", "live.toml"])
            .args(workers)
            .args(["--epoch-ms", &self.pace.0.to_string()])
            .args(more)
            .env("ADVERTISEX_LOG", "warn")
            .current_dir(self.root.path())
            .spawn();
        Job(job.expect("the program starts"))
    }

    /// Starts the job on so many processes of so many workers; each logs to `process-N.log`.
    pub fn start_cluster(&self, processes: usize, workers: usize, more: &[&str]) -> Vec<Job> {
        let epoch_ms = self.pace.0.to_string();
        let run = ["run", "--config", "live.toml", "--epoch-ms", &epoch_ms];
        self.start_processes(processes, workers, &[&run, more].concat(), "warn")
    }

    /// Starts a command on so many processes; each logs to `process-N.log` from this level on.
    pub fn start_processes(
        &self,
        processes: usize,
        workers: usize,
        command: &[&str],
        level: &str,
    ) -> Vec<Job> {
        // Held together, so that they differ.
        let ports: Vec<_> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let hosts = ports.iter().map(|port| format!("{}\n", port.local_addr().expect("bound")));
        fs::write(self.root.path().join("hosts"), hosts.collect::<String>()).expect("written");
        drop(ports);
        (0..processes).map(|process| self.start_process(process, workers, command, level)).collect()
    }

    /// Starts one of the processes that `hosts` names.
    fn start_process(&self, process: usize, workers: usize, command: &[&str], level: &str) -> Job {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log(process)).expect("a log");
        let job = Command::new(env!("CARGO_BIN_EXE_advertisex"))
            .args(command)
            .args(["--hosts", "hosts", "--process", &process.to_string()])
            .args(["--workers", &workers.to_string()])
            .env("ADVERTISEX_LOG", level)
            .current_dir(self.root.path())
            .stderr(log)
            .spawn();
        Job(job.expect("the program starts"))
    }

    pub fn log(&self, process: usize) -> PathBuf {
        self.root.path().join(format!("process-{process}.log"))
    }

    /// What the processes of clusters have logged.
    pub fn logs(&self, processes: usize) -> Vec<String> {
        (0..processes).map(|process| fs::read_to_string(self.log(process)).unwrap_or_default()).collect()
    }

    /// Runs a cluster until all that was produced is published.
    pub fn run_cluster_until_idle(&self, processes: usize, workers: usize) {
        self.run_cluster_until_idle_with(processes, workers, &[]);
    }

    /// The same with more arguments.
    pub fn run_cluster_until_idle_with(&self, processes: usize, workers: usize, more: &[&str]) {
        let more = [&["--until-idle-ms", "1500"], more].concat();
        for mut job in self.start_cluster(processes, workers, &more) {
            let status = job.ended(Duration::from_secs(180));
            assert!(status.success(), "{status}: {:#?}", self.logs(processes));
        }
    }

    /// Runs the job until all that was produced is published.
    pub fn run_until_idle(&self) {
        self.run_until_idle_with(2);
    }

    /// The same with so many workers.
    pub fn run_until_idle_with(&self, workers: usize) {
        let workers = workers.to_string();
        let done = self.start(&["--workers", &workers, "--until-idle-ms", "1500"]).0.wait().expect("it ends");
        assert!(done.success(), "{done}");
    }
}
