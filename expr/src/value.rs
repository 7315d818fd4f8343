//! The values of expressions: what Go's `any` holds in Argo's environments, with the Go type it has there.
//!
//! Go types matter: `%` refuses floats, `string(1.0)` prints `1`, sprig's functions refuse an `int64` for an `int`.
//! Copies are cheap: texts, lists and maps are shared.

use crate::go::{Time, Zone};
use crate::lang::Func;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// nil.
    Nil,
    /// bool.
    Bool(bool),
    /// int.
    Int(i64),
    /// int64 (results of sprig's arithmetic).
    Int64(i64),
    /// uint8 (an element of a text or of bytes).
    Byte(u8),
    /// float64. Numbers that come from JSON are floats, as in Go.
    Float(f64),
    /// string.
    Str(Arc<str>),
    /// []byte.
    Bytes(Arc<[u8]>),
    /// A slice or array.
    Array(Arc<Array>),
    /// A map, or a struct.
    Map(Arc<Map>),
    /// A function.
    Func(Func),
    /// time.Time.
    Time(Arc<Time>),
    /// time.Duration in nanoseconds.
    Duration(i64),
    /// time.Month or time.Weekday.
    Enum(GoEnum, i64),
    /// *time.Location.
    Location(Arc<Zone>),
}

/// Named integer types of Go's time package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoEnum {
    /// time.Month, 1 to 12.
    Month,
    /// time.Weekday, 0 (Sunday) to 6.
    Weekday,
}

impl GoEnum {
    pub(crate) fn go_type(self) -> &'static str {
        match self {
            Self::Month => "time.Month",
            Self::Weekday => "time.Weekday",
        }
    }

    pub(crate) fn name(self, value: i64) -> String {
        let name = match self {
            Self::Month => crate::go::month_name(value),
            Self::Weekday => crate::go::weekday_name(value),
        };
        name.map_or_else(|| format!("%!{}({value})", self.go_type().trim_start_matches("time.")), str::to_owned)
    }
}

/// The element type of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Elem {
    /// []interface {}
    Any,
    /// []int
    Int,
    /// []string
    Str,
    /// [2]interface {} (the pairs themselves)
    PairItem,
    /// [][2]interface {}
    Pair,
    /// [][]interface {}
    Anys,
}

impl Elem {
    /// The Go type of a slice of these.
    pub fn slice_type(self) -> &'static str {
        match self {
            Self::Any => "[]interface {}",
            Self::Int => "[]int",
            Self::Str => "[]string",
            Self::PairItem => "[2]interface {}",
            Self::Pair => "[][2]interface {}",
            Self::Anys => "[][]interface {}",
        }
    }
}

/// A slice: its items and the type Go has for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The element type.
    pub elem: Elem,
    /// The items.
    pub items: Vec<Value>,
    /// A nil slice: prints as `null` in JSON and counts as nil for `??` and `== nil`.
    pub is_nil: bool,
    extent: Extent,
}

impl Array {
    pub(crate) fn new(elem: Elem, items: Vec<Value>) -> Self {
        let mut extent = Extent::default();
        items.iter().for_each(|item| extent.hold(item));
        Self { elem, items, is_nil: false, extent }
    }

    /// A slice of the same type with some of the items.
    pub(crate) fn part(&self, items: &[Value]) -> Self {
        Self { is_nil: self.is_nil, ..Self::new(self.elem, items.to_vec()) }
    }
}

/// How deep a value nests and how much it would print, parts that occur twice counted twice: expressions may share parts
/// so often that nothing could walk the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    pub depth: u16,
    pub size: u32,
}

impl Extent {
    fn hold(&mut self, value: &Value) {
        let inner = value.extent();
        self.depth = self.depth.max(inner.depth.saturating_add(1));
        self.size = self.size.saturating_add(inner.size);
    }
}

/// The type Go has for a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// map[string]interface {}
    StrAny,
    /// map[string]string
    StrStr,
    /// map[interface {}]interface {}
    AnyAny,
    /// map[interface {}][]interface {} (the result of groupBy)
    Groups,
    /// A struct of this type name: its fields are fixed, another name is a compile error.
    Struct(&'static str),
}

/// A map. Go's order is random; here it is sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// The Go type.
    pub kind: MapKind,
    /// Entries with text keys.
    pub entries: BTreeMap<Arc<str>, Value>,
    /// Entries with other keys (only `AnyAny` and `Groups`).
    pub others: Vec<(Value, Value)>,
    extent: Extent,
}

impl Map {
    pub(crate) fn new(kind: MapKind) -> Self {
        Self::of(kind, BTreeMap::new())
    }

    pub(crate) fn of(kind: MapKind, entries: BTreeMap<Arc<str>, Value>) -> Self {
        let mut extent = Extent::default();
        entries.values().for_each(|value| extent.hold(value));
        Self { kind, entries, others: Vec::new(), extent }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.others.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Value, &Value)> {
        let texts = self.entries.iter().map(|(k, v)| (Value::Str(k.clone()), v));
        self.others.iter().map(|(k, v)| (k.clone(), v)).chain(texts)
    }

    pub(crate) fn get(&self, key: &Value) -> Option<&Value> {
        match key {
            Value::Str(key) => self.entries.get(key),
            _ => self.others.iter().find(|(k, _)| k == key).map(|(_, v)| v),
        }
    }

    pub(crate) fn insert(&mut self, key: Value, value: Value) {
        self.extent.hold(&value);
        match key {
            Value::Str(key) => drop(self.entries.insert(key, value)),
            key => match self.others.iter_mut().find(|(k, _)| *k == key) {
                Some(entry) => entry.1 = value,
                None => {
                    self.others.push((key, value));
                    self.others.sort_by(|(a, _), (b, _)| Self::key_order(a, b));
                }
            },
        }
    }

    /// fmt prints keys of one type in their order; of different types the order is by chance, here that of insertion.
    fn key_order(a: &Value, b: &Value) -> std::cmp::Ordering {
        match (a, b) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) | (Value::Int64(a), Value::Int64(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            _ => std::cmp::Ordering::Equal,
        }
    }
}

impl Value {
    /// A text.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// A []interface {}.
    pub fn array(items: Vec<Value>) -> Self {
        Self::slice(Elem::Any, items)
    }

    pub(crate) fn slice(elem: Elem, items: Vec<Value>) -> Self {
        Self::Array(Arc::new(Array::new(elem, items)))
    }

    /// A []string.
    pub fn strs(items: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Self::slice(Elem::Str, items.into_iter().map(Self::str).collect())
    }

    pub(crate) fn nil_slice(elem: Elem) -> Self {
        Self::Array(Arc::new(Array { is_nil: true, ..Array::new(elem, Vec::new()) }))
    }

    /// A map[string]interface {}.
    pub fn map(entries: impl IntoIterator<Item = (impl Into<Arc<str>>, Value)>) -> Self {
        Self::map_of(MapKind::StrAny, entries)
    }

    /// A struct value of the Go type `name`: expressions may only name its fields (`argo: TaskResults` in depends).
    pub fn structure(name: &'static str, fields: impl IntoIterator<Item = (impl Into<Arc<str>>, Value)>) -> Self {
        Self::map_of(MapKind::Struct(name), fields)
    }

    pub(crate) fn map_of(kind: MapKind, entries: impl IntoIterator<Item = (impl Into<Arc<str>>, Value)>) -> Self {
        let entries = entries.into_iter().map(|(k, v)| (k.into(), v)).collect();
        Self::Map(Arc::new(Map::of(kind, entries)))
    }

    /// The value of a decoded JSON document: numbers are floats, lists []interface {}, objects map[string]interface {}.
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::str(text.as_str()),
            serde_json::Value::Array(items) => Self::array(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(fields) => {
                Self::map(fields.iter().map(|(k, v)| (k.as_str(), Self::from_json(v))))
            }
        }
    }

    /// The value as JSON, by way of `json.Marshal`.
    ///
    /// # Errors
    /// For what encoding/json refuses: functions, NaN, maps with keys of any type.
    pub fn to_json(&self) -> Result<serde_json::Value, crate::go::MarshalError> {
        let text = crate::go::marshal(self)?;
        serde_json::from_str(&text).map_err(|e| crate::go::MarshalError::Value(e.to_string()))
    }

    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number of any integer value.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) | Self::Int64(value) => Some(*value),
            Self::Byte(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    /// Nil, or a nil slice.
    pub fn is_nil(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::Array(array) => array.is_nil,
            _ => false,
        }
    }

    /// `%T`.
    pub fn go_type(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Int64(_) => "int64".to_owned(),
            Self::Byte(_) => "uint8".to_owned(),
            Self::Float(_) => "float64".to_owned(),
            Self::Str(_) => "string".to_owned(),
            Self::Bytes(_) => "[]uint8".to_owned(),
            Self::Array(array) => array.elem.slice_type().to_owned(),
            Self::Map(map) => map.kind.go_type().to_owned(),
            Self::Func(function) => function.go_type(),
            Self::Time(_) => "time.Time".to_owned(),
            Self::Duration(_) => "time.Duration".to_owned(),
            Self::Enum(kind, _) => kind.go_type().to_owned(),
            Self::Location(_) => "*time.Location".to_owned(),
        }
    }

    pub(crate) fn extent(&self) -> Extent {
        match self {
            Self::Array(array) => array.extent,
            Self::Map(map) => map.extent,
            Self::Str(text) => Extent { depth: 0, size: u32::try_from(1 + text.len() / 64).unwrap_or(u32::MAX) },
            Self::Bytes(bytes) => Extent { depth: 0, size: u32::try_from(1 + bytes.len() / 16).unwrap_or(u32::MAX) },
            _ => Extent { depth: 0, size: 1 },
        }
    }

    /// Bytes that the value itself takes, parts not counted: what an operation that makes or reads it costs.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Array(array) => array.items.len() * 16,
            Self::Map(map) => map.len() * 16,
            _ => 0,
        }
    }
}

impl MapKind {
    pub(crate) fn go_type(self) -> &'static str {
        match self {
            Self::StrAny => "map[string]interface {}",
            Self::StrStr => "map[string]string",
            Self::AnyAny => "map[interface {}]interface {}",
            Self::Groups => "map[interface {}][]interface {}",
            Self::Struct(name) => name,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::str(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::str(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// `%v`.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::go::display_value(self))
    }
}
