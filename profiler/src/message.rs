//! The message of a profile. pprof: proto/profile.proto

use prost::Message;

/// A profile. Texts are places in `string_table`, whose first is empty.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    /// What a sample's values are.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// Different stacks.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// What is loaded where.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// Addresses of stacks.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// Functions in which they are.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// Texts.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// When it began, in nanoseconds since 1970.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// How long it lasted.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What is between two samples.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// How much of that.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// For the reader; texts.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
}

/// A kind of value and its unit; texts.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ValueType {
    /// The kind.
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    /// The unit.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack and how often it was seen.
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// Locations by their ids, the innermost first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// As `sample_type` says.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
}

/// A part of a file in memory, where the program's instructions are.
#[derive(Clone, PartialEq, Message)]
pub struct Mapping {
    /// Counted from 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its first address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// The first address behind it.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// Where in the file it begins.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// The file; a text.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// The file's build id; a text.
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// Functions have been looked up.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
}

/// An address.
#[derive(Clone, PartialEq, Message)]
pub struct Location {
    /// Counted from 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The mapping's id.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// The address.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// The function.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A function at an address.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Line {
    /// The function's id.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Function {
    /// Counted from 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name for people; a text.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// Its name for the linker; a text.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
}
