//! Runs workflows on this machine: the engine's actions become sandboxed processes, what becomes of them the engine's
//! facts.

pub mod control;
mod controller_config;
pub mod documents;
mod driver;
mod emissary;
mod file;
mod folder;
pub mod follow;
mod images;
mod locks;
mod logs;
mod memo;

mod name;
mod pod;
mod pods;
mod record;
mod repository;
mod settings;
mod stand_in;
mod substitute;
mod tail;
mod tasks;
mod view;

pub use driver::{Interrupt, Launch, RunError, WITHOUT, resume, retry, start};
pub use file::FileError;
pub use folder::{DataDir, RunFolder};
pub use name::{BadName, RunName};
pub use record::{RecordError, read};
pub use settings::{Runtime, Settings};
pub use view::{Happening, LogLine, NodeView, Observer, WorkflowView};
