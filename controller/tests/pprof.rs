//! Profiles over HTTP, as `go tool pprof` asks for them.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use flate2::read::GzDecoder;
use prost::Message as _;
use tiphys_controller::pprof;
use tiphys_profiler::Profile;
use tokio::runtime::Runtime;

/// A server, which ends with the runtime.
fn server() -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let (address, _) = runtime.block_on(pprof::serve((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
    (runtime, address)
}

/// A request for a path, whose answer is not waited for.
fn ask(address: SocketAddr, method: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

/// The whole answer.
fn bytes(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn text(stream: TcpStream) -> String {
    String::from_utf8_lossy(&bytes(stream)).into_owned()
}

/// Head and body of the answer.
fn answer(stream: TcpStream) -> (String, Vec<u8>) {
    let bytes = bytes(stream);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes[end..].to_vec())
}

/// Works until it is told to end. It calls next to nothing, so that samples are in it whether there are frame pointers or not.
#[inline(never)]
fn burns_processor_time(end: &AtomicBool) -> u64 {
    let mut number = 9_u64;
    while !end.load(Ordering::Relaxed) {
        let mut left = 100_000_u64;
        while left > 0 {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            left -= 1;
        }
    }
    number
}

#[test]
fn what_cannot_be_answered_is_refused_in_words() {
    let (_runtime, address) = server();
    for seconds in ["0", "301", "soon", ""] {
        let answer = text(ask(address, "GET", &format!("{}?seconds={seconds}", pprof::PATH)));
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        let words = format!("seconds is {seconds:?}: expected a whole number from 1 to 300, as {}", pprof::PATH);
        assert!(answer.contains(&words), "{answer}");
    }
    let other = text(ask(address, "GET", "/debug/pprof/heap"));
    assert!(other.starts_with("HTTP/1.1 404 Not Found\r\n") && other.contains(pprof::PATH), "{other}");
    let post = text(ask(address, "POST", pprof::PATH));
    assert!(post.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{post}");
}

/// A profile of one second: what the innermost functions are called.
fn leaves(address: SocketAddr) -> Vec<String> {
    let (head, body) = loop {
        let (head, body) = answer(ask(address, "GET", &format!("{}?seconds=1", pprof::PATH)));
        // The one before ends as soon as the server sees that nobody waits for it.
        if !head.starts_with("HTTP/1.1 409 ") {
            break (head, body);
        }
    };
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("application/octet-stream"), "{head}");
    let mut plain = Vec::new();
    GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
    let profile = Profile::decode(plain.as_slice()).unwrap();
    assert!(profile.duration_nanos >= 1_000_000_000, "{}", profile.duration_nanos);
    let name = |id: u64| profile.string_table[profile.function[id as usize - 1].name as usize].clone();
    let functions = |location: &u64| profile.location[*location as usize - 1].line.iter();
    let leaves = profile.sample.iter().filter_map(|sample| sample.location_id.first()).flat_map(functions);
    leaves.map(|line| name(line.function_id)).collect()
}

#[test]
fn one_profile_at_a_time_names_what_is_at_work() {
    let (_runtime, address) = server();
    let (tell, told) = mpsc::channel();
    let both = [0, 1].map(|number| {
        let stream = ask(address, "GET", &format!("{}?seconds=300", pprof::PATH));
        let (kept, tell) = (stream.try_clone().unwrap(), tell.clone());
        thread::spawn(move || tell.send((number, text(stream))));
        kept
    });
    let (refused, words): (usize, String) = told.recv().unwrap();
    assert!(words.starts_with("HTTP/1.1 409 Conflict\r\n") && words.contains("x-go-pprof: 1\r\n"), "{words}");
    assert!(words.contains("\r\n\r\na profile is being taken already: ask again"), "{words}");
    // The other one would go on for minutes, but for its client who is gone.
    both[1 - refused].shutdown(Shutdown::Both).unwrap();

    let end = Arc::new(AtomicBool::new(false));
    let burning = thread::spawn({
        let end = end.clone();
        move || black_box(burns_processor_time(&end))
    });
    // On a machine that does much else a second may pass without it.
    let found = (0..20).any(|_| leaves(address).iter().any(|name| name == "pprof::burns_processor_time"));
    end.store(true, Ordering::Relaxed);
    burning.join().unwrap();
    assert!(found);
}
