//! The rules by which a Pod is made, one by one: those that recorded Pods do not show.

#![allow(clippy::unwrap_used)] // Helpers of tests are not seen as tests.

mod artifacts;
mod commands;
mod executor;
mod layout;
mod patches;
mod plugins;
mod scheduling;
mod support;
