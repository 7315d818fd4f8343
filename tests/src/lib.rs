//! The corpus: real workflows, and what came of them on a real cluster. Shared by the tests that replay them, as is what drives
//! a run.

pub mod corpus;
pub mod difference;
pub mod normalise;
pub mod recorded;
pub mod settle;
