//! The trace of a workflow: which span is whose, by ids that follow from names alone.
//!
//! Whoever tells of a span, before a restart or after it, in the controller or in the Pod, comes to the same ids. The context is handed
//! on as W3C's Trace Context says (`00-<trace>-<span>-<flags>`), in the variables that Argo sets (argo: workflowpod.go, build).

use std::fmt;

/// A trace: a workflow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// The trace of the workflow with this uid. Not the uid itself: samplers take a trace's last bits for random, and some of a
    /// uid's are always the same.
    pub fn of(uid: &str) -> TraceId {
        let (high, low) = (hash(&["trace", uid]), hash(&["trace", uid, ""]));
        TraceId((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    /// Most significant byte first.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it is among the given part of all traces, as samplers by ratio decide.
    pub fn is_within(&self, ratio: f64) -> bool {
        let low = u128::from_be_bytes(self.0) as u64;
        ratio >= 1.0 || ((low >> 1) as f64) < ratio * (1u64 << 63) as f64
    }
}

impl SpanId {
    /// The span that these names lead to.
    pub fn of(names: &[&str]) -> SpanId {
        SpanId(hash(names).to_be_bytes())
    }

    /// The span of this name below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> SpanId {
        SpanId::of(&[&self.to_string(), name])
    }

    /// Most significant byte first.
    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// FNV-1a of all names with a zero byte behind each, its bits mixed (SplitMix64); never zero, which stands for no span.
fn hash(names: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in names.iter().flat_map(|name| name.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)).max(1)
}

/// What is handed on to whoever goes on with a trace: the span below which its own come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether spans of this trace are told at all.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the text form; none where it is not one of W3C's, which says to begin anew then.
    pub fn parse(text: &str) -> Option<TraceParent> {
        let mut parts = text.trim().split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            is_hex.then(|| u128::from_str_radix(part, 16).ok()).flatten()
        };
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        // A later version may have more parts.
        if version == 0xff || trace == 0 || span == 0 || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span) = (TraceId(trace.to_be_bytes()), SpanId((span as u64).to_be_bytes()));
        Some(TraceParent { trace, span, sampled: flags & 1 == 1 })
    }

    /// The same with the span of this name below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> TraceParent {
        TraceParent { span: self.span.child(name), ..*self }
    }

    /// What the user's process in this container finds: the span of the container.
    #[must_use]
    pub fn of_main(&self, container: &str) -> TraceParent {
        TraceParent { span: SpanId::of(&[&self.span.to_string(), "runMainContainer", container]), ..*self }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// All that is handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The span.
    pub parent: TraceParent,
    /// W3C's `tracestate`; empty for none.
    pub state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_text_form_is_w3cs() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert_eq!((parent.to_string().as_str(), parent.sampled), (EXAMPLE, true));
        assert_eq!(parent.span.bytes()[7], 0xb7);
        // A later version, with what we do not know.
        assert_eq!(TraceParent::parse(&format!("01{}-more", &EXAMPLE[2..])), Some(parent));
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_follow_from_names_and_names_are_kept_apart() {
        let trace = TraceId::of("6c4b8fe1-3a63-4b0e-9c2b-6a4f3c1f6f10");
        assert_eq!(trace, TraceId::of("6c4b8fe1-3a63-4b0e-9c2b-6a4f3c1f6f10"));
        assert_ne!(SpanId::of(&["ab", "c"]), SpanId::of(&["a", "bc"]));
        assert_ne!(SpanId::of(&["a"]), SpanId::of(&["a", ""]));
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert_ne!(parent.of_main("main").span, parent.of_main("other").span);
    }

    #[test]
    fn ratios_hold_for_uids() {
        let uids = (0..2000).map(|n| format!("6c4b8fe1-3a63-4b0e-9c2b-{n:012x}"));
        let within = uids.filter(|uid| TraceId::of(uid).is_within(0.25)).count();
        assert!((400..600).contains(&within), "{within}");
        assert!(TraceId::of("x").is_within(1.0) && !TraceId::of("x").is_within(0.0));
    }
}
