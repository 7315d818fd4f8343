//! A gate in front of a server on loopback, one request a connection, that does to requests what a test asks for.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It waits until the gate is opened.
    Stall,
    /// It is carried out, but the answer stands still after so many bytes until the gate is opened.
    StallAnswer(u64),
    /// It is answered with this status.
    Answer(u16),
}

type Plan = Box<dyn FnMut(&str) -> Fate + Send>;

pub struct Gate {
    address: String,
    state: Arc<State>,
}

struct State {
    upstream: String,
    plan: Mutex<Plan>,
    /// First lines of requests, and whether those that stall may go on.
    seen: Mutex<(Vec<String>, bool)>,
    heads: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Gate {
    pub fn before(upstream: &str, plan: impl FnMut(&str) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            plan: Mutex::new(Box::new(plan)),
            seen: Mutex::default(),
            heads: Mutex::default(),
            changed: Condvar::new(),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let state = shared.clone();
                // A client that goes away is part of the tests.
                std::thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets all pass from here on.
    pub fn open(&self) {
        *self.state.plan.lock().unwrap() = Box::new(|_| Fate::Pass);
        self.state.seen.lock().unwrap().1 = true;
        self.state.changed.notify_all();
    }

    /// Waits until a request has come whose first line holds the text.
    pub fn until(&self, text: &str) {
        let seen = self.state.seen.lock().unwrap();
        let waited = self.state.changed.wait_timeout_while(seen, std::time::Duration::from_secs(30), |(lines, _)| {
            !lines.iter().any(|line| line.contains(text))
        });
        assert!(!waited.unwrap().1.timed_out(), "no request with {text}");
    }

    /// The heads of all requests, in lower case.
    pub fn heads(&self) -> Vec<String> {
        self.state.heads.lock().unwrap().clone()
    }

    /// How many requests have come whose first line holds the text.
    pub fn count(&self, text: &str) -> usize {
        self.state.seen.lock().unwrap().0.iter().filter(|line| line.contains(text)).count()
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if client.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let first = text.lines().next().unwrap_or_default().to_owned();
        let fate = (self.plan.lock().unwrap())(&first);
        self.seen.lock().unwrap().0.push(first);
        self.changed.notify_all();
        let lower = text.to_ascii_lowercase();
        self.heads.lock().unwrap().push(lower.clone());
        if lower.contains("expect: 100-continue") {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        client.read_exact(&mut body)?;
        match fate {
            Fate::Pass | Fate::StallAnswer(_) => {}
            Fate::Stall => self.until_open(),
            Fate::Answer(status) => {
                let answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                return client.write_all(answer.as_bytes());
            }
        }
        let mut server = TcpStream::connect(&self.upstream)?;
        let kept = text.trim_end().split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("expect:"));
        server
            .write_all(format!("{}\r\nconnection: close\r\n\r\n", kept.collect::<Vec<_>>().join("\r\n")).as_bytes())?;
        server.write_all(&body)?;
        if let Fate::StallAnswer(bytes) = fate {
            io::copy(&mut (&mut server).take(bytes), &mut client)?;
            self.until_open();
        }
        io::copy(&mut server, &mut client).map(drop)
    }

    fn until_open(&self) {
        drop(self.changed.wait_while(self.seen.lock().unwrap(), |(_, open)| !*open).unwrap());
    }
}
