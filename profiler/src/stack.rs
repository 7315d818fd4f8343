//! Who called whom, by frame pointers. Runs in the signal handler: nothing here allocates or can fail.

/// Functions of a stack that are kept, from the innermost on. As Go's profiles.
pub const DEPTH: usize = 128;
/// No stack is larger; a frame that is further away from the innermost one is none.
const REACH: u64 = 64 << 20;
/// A frame pointer points to the caller's frame pointer, above which is the address to which the function returns.
const FRAME: u64 = 16;

/// Where a thread is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// The next instruction.
    pub instruction: u64,
    /// The end of the stack.
    pub stack: u64,
    /// The frame of the function, if it has one.
    pub frame: u64,
}

/// Addresses within functions, the innermost first.
pub struct Stack {
    addresses: [u64; DEPTH],
    length: usize,
}

impl Stack {
    /// The addresses.
    pub fn addresses(&self) -> &[u64] {
        self.addresses.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, address: u64) -> bool {
        let Some(place) = self.addresses.get_mut(self.length) else { return false };
        *place = address;
        self.length += 1;
        true
    }
}

/// The stack of a thread. `read` has the two words at an address, where it can be read.
///
/// Of a caller it has the last byte of the call, not the address to return to, which can belong to the next function already.
pub fn walk(registers: Registers, read: impl Fn(u64) -> Option<[u64; 2]>) -> Stack {
    let mut stack = Stack { addresses: [0; DEPTH], length: 0 };
    stack.push(registers.instruction);
    let (mut frame, mut lowest) = (registers.frame, registers.stack);
    // Callers are further up. Whatever is not, a function without frame pointers has left in the register.
    while frame >= lowest && frame - registers.stack < REACH && frame.is_multiple_of(8) {
        let Some([caller, returns_to]) = read(frame) else { break };
        if returns_to == 0 || !stack.push(returns_to - 1) {
            break;
        }
        lowest = frame.saturating_add(FRAME);
        frame = caller;
    }
    stack
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Registers = Registers { instruction: 0x1000, stack: 0x7000, frame: 0x7010 };

    /// The stack of a thread at [`START`], whose frames are at the addresses.
    fn walked(frames: &[(u64, [u64; 2])]) -> Vec<u64> {
        let read = |address| frames.iter().find(|(at, _)| *at == address).map(|(_, words)| *words);
        walk(START, read).addresses().to_vec()
    }

    #[test]
    fn callers_are_followed_to_the_first() {
        let frames = [(0x7010, [0x7040, 0x2005]), (0x7040, [0x7100, 0x3005]), (0x7100, [0, 0x4005])];
        assert_eq!(walked(&frames), [0x1000, 0x2004, 0x3004, 0x4004]);
    }

    #[test]
    fn what_is_no_frame_ends_the_stack() {
        assert_eq!(walked(&[]), [0x1000], "memory that cannot be read");
        assert_eq!(walked(&[(0x7010, [0x7040, 0])]), [0x1000], "the first function has nowhere to return to");
        for (what, next) in [("itself", 0x7010), ("below", 0x6000), ("crooked", 0x7043), ("far away", 0x7000 + REACH)] {
            let frames = [(0x7010, [next, 0x2005]), (next, [0x7f00, 0x3005])];
            assert_eq!(walked(&frames), [0x1000, 0x2004], "{what}");
        }
    }

    #[test]
    fn a_deep_stack_is_cut_at_its_far_end() {
        let frames: Vec<_> = (0..1000).map(|n| (0x7010 + n * 16, [0x7020 + n * 16, 0x2000 + n])).collect();
        let addresses = walked(&frames);
        assert_eq!((addresses.len(), addresses[0], addresses[DEPTH - 1]), (DEPTH, 0x1000, 0x2000 + 125));
    }
}
