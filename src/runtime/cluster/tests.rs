use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use timely::dataflow::operators::vec::{Input, Map};
use timely::dataflow::operators::{Exchange, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

use super::*;

/// Addresses on which nobody listens.
fn hosts(processes: usize) -> Hosts {
    let taken: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let line = |taken: &TcpListener| format!("{}\n", taken.local_addr().expect("an address"));
    Hosts::parse("hosts", &taken.iter().map(line).collect::<String>()).expect("valid")
}

fn patience(connect_ms: u64) -> ClusterConfig {
    ClusterConfig { connect: Duration::from_millis(connect_ms), silence: Duration::from_secs(10) }
}

fn cluster(hosts: &Hosts, process: usize, workers: usize) -> Cluster {
    Cluster::new(hosts.clone(), process, workers, patience(10_000)).expect("valid")
}

fn connect(cluster: &Cluster) -> Result<Connected, ClusterError> {
    cluster.connect("a test", &|| false)
}

/// Runs `work` on so many processes, each a thread here.
fn on_all<T: Send>(processes: usize, work: impl Fn(usize, &Hosts) -> T + Sync) -> Vec<T> {
    let hosts = hosts(processes);
    thread::scope(|scope| {
        let all: Vec<_> = (0..processes)
            .map(|process| {
                let (work, hosts) = (&work, &hosts);
                scope.spawn(move || work(process, hosts))
            })
            .collect();
        all.into_iter().map(|process| process.join().expect("no panic")).collect()
    })
}

/// Numbers go to the worker that their remainder names; each worker says how many it was sent.
fn count(worker: &mut Worker, links: &Links, numbers: u64) -> u64 {
    let mut input = InputHandle::new();
    let seen = std::rc::Rc::new(std::cell::Cell::new(0));
    let probe = ProbeHandle::new();
    worker.dataflow::<u64, _, _>(|scope| {
        let seen = std::rc::Rc::clone(&seen);
        let sent = scope.input_from(&mut input).map(|number: u64| number);
        sent.exchange(|number| *number).inspect(move |_| seen.set(seen.get() + 1)).probe_with(&probe);
    });
    (0..numbers).for_each(|number| input.send(number));
    input.advance_to(1);
    input.flush();
    while probe.less_than(&1) && !links.is_over() {
        worker.step_or_park(None);
    }
    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    seen.get()
}


#[test]
fn processes_that_are_of_one_run_work_together() {
    let counted = on_all(3, |process, hosts| {
        let connected = connect(&cluster(hosts, process, 2)).expect("connects");
        let links = Arc::clone(connected.links());
        let theirs = Arc::clone(&links);
        let team =
            connected.execute(timely::WorkerConfig::default(), move |worker| count(worker, &theirs, 600));
        let counted = team.expect("starts").join();
        assert!(!links.is_over() && links.traffic().2 > 0);
        counted.into_iter().map(|worker| worker.expect("no panic")).sum::<u64>()
    });
    assert_eq!(counted, [1200, 1200, 1200]);
}

#[test]
fn who_is_not_there_in_time_is_named() {
    let hosts = hosts(3);
    let late = Cluster::new(hosts.clone(), 2, 1, patience(300)).expect("valid");
    let started = Instant::now();
    let error = connect(&late).err().expect("nobody there").to_string();
    assert!(error.starts_with("process 0 can't be reached at 127.0.0.1:"), "{error}");
    assert!(error.contains("within 0.3 s"), "{error}");
    let first = Cluster::new(hosts, 0, 1, patience(300)).expect("valid");
    let error = connect(&first).err().expect("nobody there").to_string();
    assert!(error.starts_with("processes 1, 2 did not connect to 127.0.0.1:"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_process_of_another_run_is_refused_by_both() {
    let errors = on_all(2, |process, hosts| {
        connect(&cluster(hosts, process, 1 + process)).err().expect("refused").to_string()
    });
    assert!(errors[0].contains("it has 2 workers where this one has 1"), "{errors:?}");
    assert!(errors[1].contains("it has 1 workers where this one has 2"), "{errors:?}");
    let errors = on_all(2, |process, hosts| {
        let purpose = ["replay of may", "replay of june"][process];
        cluster(hosts, process, 1).connect(purpose, &|| false).err().expect("refused").to_string()
    });
    assert!(errors.iter().all(|error| error.contains("its command or configuration differs")), "{errors:?}");
}

#[test]
fn a_stranger_at_the_port_does_no_harm() {
    let hosts = hosts(2);
    thread::scope(|scope| {
        let first = scope.spawn(|| connect(&cluster(&hosts, 0, 1)).map(drop));
        let stranger = loop {
            match TcpStream::connect(hosts.address(0)) {
                Ok(mut stranger) => {
                    stranger.write_all(&[b'x'; 100]).expect("sends");
                    break stranger;
                }
                Err(_) => thread::yield_now(),
            }
        };
        let second = scope.spawn(|| connect(&cluster(&hosts, 1, 1)).map(drop));
        assert!(first.join().expect("no panic").is_ok() && second.join().expect("no panic").is_ok());
        drop(stranger);
    });
}

#[test]
fn waiting_ends_when_the_run_is_stopped() {
    let started = Instant::now();
    let stopped = || started.elapsed() > Duration::from_millis(100);
    let done = cluster(&hosts(2), 0, 1).connect("a test", &stopped);
    assert!(matches!(done, Err(ClusterError::Stopped)) && started.elapsed() < Duration::from_secs(5));
}

#[test]
fn when_one_parts_the_others_lose_it_and_leave() {
    let lost = on_all(3, |process, hosts| {
        let connected = connect(&cluster(hosts, process, 2)).expect("connects");
        let links = Arc::clone(connected.links());
        let theirs = Arc::clone(&links);
        let team = connected.execute(timely::WorkerConfig::default(), move |worker| {
            if worker.index() == 2 {
                theirs.abandon();
            }
            count(worker, &theirs, 100_000)
        });
        assert!(team.expect("starts").join().iter().all(Result::is_ok));
        links.lost().map(|lost| lost.to_string())
    });
    assert!(lost[1].is_none(), "it has lost nobody: {lost:?}");
    // Who hears of it from another has lost that one first, maybe.
    for lost in [&lost[0], &lost[2]] {
        let lost = lost.as_ref().expect("a loss");
        assert!(lost.starts_with("lost the connection to process "), "{lost}");
    }
}

#[test]
fn a_worker_that_panics_ends_the_run_for_all() {
    let ended = on_all(2, |process, hosts| {
        let connected = connect(&cluster(hosts, process, 1)).expect("connects");
        let links = Arc::clone(connected.links());
        let theirs = Arc::clone(&links);
        let team = connected.execute(timely::WorkerConfig::default(), move |worker| {
            assert!(worker.index() == 0, "this panic belongs to the test");
            count(worker, &theirs, 1_000)
        });
        let ended = team.expect("starts").join();
        (ended[0].is_ok(), links.lost().is_some())
    });
    assert_eq!(ended, [(true, true), (false, false)]);
}
