//! The timer, the signal and its handler. The crate's only unsafe code.
#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]

use std::ffi::{c_int, c_void};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{itimerval, timeval, ucontext_t};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::stack::{DEPTH, Registers, walk};
use crate::{FREQUENCY, ProfileError};

/// Room for samples until somebody takes them: a thousand of the deepest stacks, 1 MiB.
const ROOM: usize = 1000 * (DEPTH + 1);
/// The timer that counts the processor time of the whole process. linux: include/uapi/linux/time.h
const ITIMER_PROF: c_int = 2;

/// What the handler writes to, while there is a profile. The handler tries it and never waits for it.
static SAMPLES: Mutex<Option<Samples>> = Mutex::new(None);
/// Samples for which there was no room, or no turn.
static MISSED: AtomicU64 = AtomicU64::new(0);

struct Samples {
    /// For each sample how many addresses follow, and the addresses. Never grows beyond its capacity.
    words: Vec<u64>,
    memory: Memory,
}

/// The process is sampled for as long as this is kept.
pub struct Sampling(());

impl Sampling {
    /// Begins, unless somebody else has.
    pub fn begin() -> Result<Sampling, ProfileError> {
        if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            return Err(ProfileError::Processor);
        }
        let memory = Memory::new().map_err(ProfileError::Sample)?;
        let mut samples = samples();
        if samples.is_some() {
            return Err(ProfileError::Busy);
        }
        *samples = Some(Samples { words: Vec::with_capacity(ROOM), memory });
        drop(samples);
        MISSED.store(0, Ordering::Relaxed);
        let sampling = Sampling(());
        listen().and_then(|()| tick(FREQUENCY)).map_err(ProfileError::Sample)?;
        Ok(sampling)
    }

    /// What was sampled since the last time; see [`stacks`].
    pub fn take(&mut self) -> Vec<u64> {
        let mut samples = samples();
        let Some(samples) = samples.as_mut() else { return Vec::new() };
        let taken = samples.words.clone();
        samples.words.clear();
        taken
    }

    /// How many samples were missed.
    pub fn missed(&self) -> u64 {
        MISSED.load(Ordering::Relaxed)
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        // It cannot fail: the arguments are good. The handler stays, for a signal that is on its way, and finds nothing to do.
        let _ = tick(0);
        *samples() = None;
    }
}

/// The stacks in what was taken.
pub fn stacks(words: &[u64]) -> impl Iterator<Item = &[u64]> {
    let mut rest = words;
    std::iter::from_fn(move || {
        let (length, more) = rest.split_first()?;
        let (stack, more) = more.split_at_checked(*length as usize)?;
        rest = more;
        Some(stack)
    })
}

fn samples() -> MutexGuard<'static, Option<Samples>> {
    SAMPLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the handler called for SIGPROF. What is interrupted goes on by itself where the kernel can do that.
fn listen() -> io::Result<()> {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_RESTART;
    let action = SigAction::new(SigHandler::SigAction(on_tick), flags, SigSet::empty());
    // SAFETY: the handler does what a signal handler may do (see there), and nobody else in this process uses the signal.
    unsafe { sigaction(Signal::SIGPROF, &action) }?;
    Ok(())
}

/// Has SIGPROF raised so often in a second of the process's processor time; 0 for never.
fn tick(frequency: u32) -> io::Result<()> {
    let every = 1_000_000_u32.checked_div(frequency).unwrap_or_default();
    let every = timeval { tv_sec: 0, tv_usec: every.into() };
    let timer = itimerval { it_interval: every, it_value: every };
    // SAFETY: the kernel reads one value and writes none.
    match unsafe { libc::setitimer(ITIMER_PROF, &raw const timer, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Notes where the thread is that the signal interrupts.
///
/// It calls nothing that a signal handler may not: a lock is tried and not waited for, and read and write are system calls.
/// It does not allocate, as there is room for what it notes, and cannot panic.
extern "C" fn on_tick(_signal: c_int, _information: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: with SA_SIGINFO the third argument is the interrupted thread's context, which lasts as long as the handler.
    if let Some(context) = unsafe { context.cast::<ucontext_t>().as_ref() } {
        note(registers(context));
    }
    Errno::set_raw(errno);
}

fn note(registers: Registers) {
    let Ok(mut samples) = SAMPLES.try_lock() else {
        MISSED.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let Some(Samples { words, memory }) = samples.as_mut() else { return };
    let stack = walk(registers, |address| memory.read(address));
    let addresses = stack.addresses();
    if words.capacity() - words.len() <= addresses.len() {
        MISSED.fetch_add(1, Ordering::Relaxed);
        return;
    }
    words.push(addresses.len() as u64);
    words.extend_from_slice(addresses);
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &ucontext_t) -> Registers {
    let registers = &context.uc_mcontext.gregs;
    let of = |register: c_int| registers.get(register as usize).map_or(0, |value| *value as u64);
    Registers { instruction: of(libc::REG_RIP), stack: of(libc::REG_RSP), frame: of(libc::REG_RBP) }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &ucontext_t) -> Registers {
    let context = &context.uc_mcontext;
    Registers { instruction: context.pc, stack: context.sp, frame: context.regs[29] }
}

/// Never asked for: see [`Sampling::begin`].
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn registers(_context: &ucontext_t) -> Registers {
    Registers::default()
}

/// Memory of this process of which nobody knows whether it can be read. The kernel is asked to write it to a pipe: it refuses
/// where reading would end the process.
struct Memory {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Memory {
    fn new() -> io::Result<Memory> {
        let (reader, writer) = io::pipe()?;
        Ok(Memory { reader, writer })
    }

    /// The two words at an address.
    fn read(&self, address: u64) -> Option<[u64; 2]> {
        let mut bytes = [0; 16];
        // SAFETY: nothing is read by this process. The kernel reads, and answers EFAULT where it cannot.
        let written = unsafe { libc::write(self.writer.as_raw_fd(), address as *const c_void, bytes.len()) };
        // Whatever went into the pipe has to come out again. It is there already, so nothing is waited for.
        let written = bytes.get_mut(..usize::try_from(written).ok()?)?;
        if written.is_empty() || (&self.reader).read(written).ok()? != 16 {
            return None;
        }
        let (first, second) = bytes.split_first_chunk()?;
        Some([u64::from_ne_bytes(*first), u64::from_ne_bytes(*second.first_chunk()?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_it_can_be() {
        let memory = Memory::new().unwrap();
        let words = [7_u64, 9, 11];
        assert_eq!(memory.read((&raw const words) as u64), Some([7, 9]));
        for nowhere in [0, 8, u64::MAX - 15] {
            assert_eq!(memory.read(nowhere), None);
        }
        assert_eq!(memory.read((&raw const words[1]) as u64), Some([9, 11]), "nothing is left in the pipe");
    }

    #[test]
    fn stacks_are_told_apart() {
        let words = [2, 10, 11, 0, 1, 12];
        assert_eq!(stacks(&words).collect::<Vec<_>>(), [&[10, 11][..], &[], &[12]]);
        assert_eq!(stacks(&[3, 1]).count(), 0, "a stack that is not whole is none");
    }
}
