//! The corpus: real workflows, and what came of them on a real cluster. Shared by the tests that replay them.

pub mod corpus;
pub mod difference;
pub mod normalise;
pub mod recorded;
