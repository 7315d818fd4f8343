//! Names of servers become addresses.
//!
//! Both families are asked for at once, each by itself. Asked for both in one question, the resolver of musl, with which the
//! executor's programs are linked, finds nothing where a server tells the IPv4 addresses and refuses to tell of IPv6, as small
//! DNS servers do; and it takes seconds to say so.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use dns_lookup::{AddrFamily, AddrInfoHints, SockType, getaddrinfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
#[cfg(feature = "git")]
use tokio::net::TcpStream;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::oneshot::{self, Receiver};
use tokio::time::timeout;

/// How long the family that has answered waits for the other (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Of a thread that asks.
const STACK: usize = 256 << 10;

/// The resolver of every client here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is the URL's.
            let found = addresses(name.as_str()).await?.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as Addrs)
        })
    }
}

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move { addresses(name).await.map_err(ResolveDnsError::new) })
    }
}

/// The addresses of a host, IPv4 first.
///
/// # Errors
/// That of the first family when neither is known.
pub async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    either(ask(host, AddrFamily::Inet)?, ask(host, AddrFamily::Inet6)?).await
}

#[cfg(feature = "git")]
/// A connection to the first address that takes it.
///
/// # Errors
/// The name is not known, or no address takes the connection: that of the last.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let found: Vec<SocketAddr> = addresses(host).await?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    TcpStream::connect(&found[..]).await
}

type Answer = io::Result<Vec<IpAddr>>;

/// Asks on a thread that nobody has to wait for: the system's resolver cannot be interrupted.
fn ask(host: &str, family: AddrFamily) -> io::Result<Receiver<Answer>> {
    let (tell, told) = oneshot::channel();
    let host = host.to_owned();
    let ask = move || {
        let hints =
            AddrInfoHints { address: family.into(), socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
        let found = getaddrinfo(Some(&host), None, Some(hints)).map_err(io::Error::from);
        let found = found.and_then(|found| found.map(|one| Ok(one?.sockaddr.ip())).collect());
        let _ = tell.send(found);
    };
    thread::Builder::new().stack_size(STACK).spawn(ask)?;
    Ok(told)
}

async fn either(mut v4: Receiver<Answer>, mut v6: Receiver<Answer>) -> Answer {
    let (first, second) = tokio::select! {
        answer = &mut v4 => {
            let first = heard(answer);
            let second = other(&first, v6).await;
            (Some(first), second)
        }
        answer = &mut v6 => {
            let second = heard(answer);
            let first = other(&second, v4).await;
            (first, Some(second))
        }
    };
    match (first, second) {
        (Some(Err(error)), None | Some(Err(_))) | (None, Some(Err(error))) => Err(error),
        (first, second) => Ok([first, second].into_iter().flatten().flatten().flatten().collect()),
    }
}

/// What the second family says: waited for only a moment where the first was found.
async fn other(first: &Answer, second: Receiver<Answer>) -> Option<Answer> {
    match first {
        Ok(_) => timeout(RESOLUTION_DELAY, second).await.map(heard).ok(),
        Err(_) => Some(heard(second.await)),
    }
}

/// An answer that will never come is an error, too.
fn heard(answer: Result<Answer, RecvError>) -> Answer {
    answer.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "192.0.2.1";
    const V6: &str = "2001:db8::1";

    fn known(address: &str) -> Answer {
        Ok(vec![address.parse().unwrap()])
    }

    fn unknown(why: &str) -> Answer {
        Err(io::Error::other(why.to_owned()))
    }

    /// What comes of the two answers; one that is `None` never comes.
    async fn of(v4: Option<Answer>, v6: Option<Answer>) -> Result<Vec<String>, String> {
        let ((tell4, told4), (tell6, told6)) = (oneshot::channel(), oneshot::channel());
        let (mut tell4, mut tell6) = (Some(tell4), Some(tell6));
        for (tell, answer) in [(&mut tell4, v4), (&mut tell6, v6)] {
            if let Some(answer) = answer {
                tell.take().unwrap().send(answer).unwrap();
            }
        }
        let found = either(told4, told6).await.map_err(|error| error.to_string())?;
        Ok(found.iter().map(IpAddr::to_string).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn one_family_is_enough() {
        assert_eq!(of(Some(known(V4)), Some(unknown("refused"))).await.unwrap(), [V4]);
        assert_eq!(of(Some(unknown("none")), Some(known(V6))).await.unwrap(), [V6]);
        assert_eq!(of(Some(known(V4)), Some(known(V6))).await.unwrap(), [V4, V6]);
        assert_eq!(of(Some(unknown("no such name")), Some(unknown("refused"))).await.unwrap_err(), "no such name");
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_is_silent_holds_up_nobody() {
        let begun = tokio::time::Instant::now();
        assert_eq!(of(Some(known(V4)), None).await.unwrap(), [V4]);
        assert_eq!(of(None, Some(known(V6))).await.unwrap(), [V6]);
        assert_eq!(begun.elapsed().as_millis() / 50, 2);
    }

    #[tokio::test]
    async fn this_machine_is_known() {
        assert!(addresses("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        assert_eq!(addresses(V6).await.unwrap(), [V6.parse::<IpAddr>().unwrap()]);
        assert!(addresses("no-such-host.invalid").await.is_err());
    }
}
